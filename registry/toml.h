/* SPDX-License-Identifier: Apache-2.0 */
/* toml — reads TOML 1.0 (toml.io), as far as hosts.toml and registries.conf go:
 * no dates and no floating-point numbers. Layer: registry/, internal; no I/O.
 *
 * Strict: what is written twice, or not as the grammar has it, is an error with
 * its line. Unlike in most readers tables keep the order of the file, which is
 * what hosts.toml is about. Ours because the distribution has none for C.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TOML_TEXT_MAX  (1u << 20) /* bytes */
#define TOML_NODES_MAX 8192       /* keys, tables and elements */
#define TOML_DEPTH_MAX 16         /* of a key's parts, and of values in values */

enum toml_kind { TOML_TABLE, TOML_ARRAY, TOML_STRING, TOML_INTEGER, TOML_BOOLEAN };

/* How a table or array came about, which says what may still be added. */
enum toml_origin {
	TOML_IMPLIED, /* a header names something below it */
	TOML_HEADER,  /* [table] */
	TOML_DOTTED,  /* by a dotted key */
	TOML_TABLES,  /* [[array of tables]] */
	TOML_CLOSED,  /* a value: {…}, […] */
};

struct toml {
	enum toml_kind kind;
	unsigned line;
	char *key;          /* in a table; else NULL */
	char *string;       /* STRING: without NUL inside */
	int64_t integer;    /* INTEGER */
	bool boolean;       /* BOOLEAN */
	struct toml *first; /* TABLE, ARRAY: what is in it, in the file's order */
	struct toml *next;  /* in what this is in */
	struct toml *last;  /* the parser's own, as is: */
	enum toml_origin how;
};

/* *ret is the root table. -EINVAL, -EFBIG: "line N: …". -ENOMEM. */
NODISCARD int toml_parse(const char *text, size_t len, struct toml **ret, struct err *err);
void toml_free(struct toml *root); /* NULL is fine */
/* Of a table; NULL if it has none. */
const struct toml *toml_get(const struct toml *table, const char *key);
/* *ret stays as it is where the table has no such key. -EINVAL: "line N: …". */
NODISCARD int toml_bool(const struct toml *table, const char *key, bool *ret, struct err *err);
const char *toml_kind_name(enum toml_kind kind); /* "a string" */
