/* SPDX-License-Identifier: Apache-2.0 */
/* toml_impl — what toml.c (tables, keys, arrays) and toml_scalar.c (strings,
 * numbers) share. Layer: registry/, internal to these two. */
#pragma once

#include "registry/toml.h"

struct toml_parser {
	const char *at, *end; /* what is left; *end is a NUL */
	unsigned line;
	unsigned nodes, depth;
	struct err *err;
};

/* -EINVAL with the line. */
int toml_bad(const struct toml_parser *p, const char *what);
/* At a quote. several: it may be one of three. New. */
NODISCARD int toml_string(struct toml_parser *p, bool several, char **ret);
/* At what is no string, array or table: true, false, or an integer. */
NODISCARD int toml_word(struct toml_parser *p, struct toml *ret);
/* Length of the newline at s, 0 if there is none. */
size_t toml_newline(const char *s);
