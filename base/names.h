/* SPDX-License-Identifier: Apache-2.0 */
/* names — a sorted list of strings without duplicates: tags, repositories.
 * Layer: base/. Built by names_add in any order, then names_sort once; read
 * only from then on, so that it may be shared between threads. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

struct names {
	char **v; /* each owned */
	size_t n;
	size_t room;
};

/* -ENOMEM. Copies s. */
NODISCARD int names_add(struct names *l, const char *s, size_t len);
void names_sort(struct names *l);                     /* by byte value; duplicates go */
bool names_has(const struct names *l, const char *s); /* of a sorted list */
void names_release(struct names *l);                  /* empties it */
