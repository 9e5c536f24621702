/* SPDX-License-Identifier: Apache-2.0 */
/* suggest — the word that was probably meant. Layer: fs/cli. */
#pragma once

#include <stddef.h>

struct suggest {
	const char *written; /* borrowed */
	const char *best;    /* borrowed; NULL: nothing near */
	size_t distance;
};

void suggest_init(struct suggest *s, const char *written);
void suggest_add(struct suggest *s, const char *candidate);
/* NULL: nothing near enough to be worth a question. */
const char *suggest_found(const struct suggest *s);
