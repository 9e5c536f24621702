/* SPDX-License-Identifier: Apache-2.0 */
/* table — aligned columns for a terminal. Layer: fs/cli. Cells may hold anything: they are made
 * one printable line here. Columns are counted in code points, which are mostly one wide. */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "base/macros.h"

#define TABLE_COLUMNS_MAX 8

struct table;

/* heads: n, at most TABLE_COLUMNS_MAX, borrowed. flexible: 1 << number of those that give way
 * where the table is too wide. NULL: no memory. */
struct table *table_new(const char *const *heads, size_t n, unsigned flexible);
/* The next row, of n cells; NULL is "-". -ENOMEM: it is left out. */
int table_add(struct table *t, const char *const *cells);
/* Each line after `indent` spaces, and no wider than `width`: the widest of the flexible columns
 * gives way, and is cut in the middle, because both ends tell something. 0: nothing is cut. */
void table_show(FILE *f, const struct table *t, size_t indent, size_t width);
void table_free(struct table *t); /* NULL is fine */

/* Of standard output, at least TABLE_WIDTH_MIN. 0: it is no terminal, so that whoever reads wants
 * everything. */
#define TABLE_WIDTH_MIN 80
size_t table_terminal_width(void);
/* The same; $COLUMNS, with which watch(1) tells it, counts too. */
size_t table_watched_width(void);
/* Ends a line of which `used` columns are there: with s, cut in its middle where there is too
 * little room, and `more`. */
void table_put_last(FILE *f, const char *s, const char *more, size_t used, size_t width);

/* One line of text, cut at its end. */
void table_put_line(FILE *f, const char *line, size_t len, size_t width);
