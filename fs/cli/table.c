/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/err.h"

#define GAP       2
#define WIDTH_MIN 8 /* what a flexible column keeps */

struct table {
	size_t n, rows, room;
	unsigned flexible;
	char **cells; /* n for each row, the heads first */
};

static size_t width_of(const char *s, size_t len)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++)
		n += ((unsigned char)s[i] & 0xC0) != 0x80;
	return n;
}

static const char *skip(const char *s, size_t columns)
{
	while (*s != '\0' && columns > 0) {
		s++;
		while (((unsigned char)*s & 0xC0) == 0x80)
			s++;
		columns--;
	}
	return s;
}

int table_add(struct table *t, const char *const *cells)
{
	if (t->rows == t->room) {
		size_t room = 2 * t->room + 8;
		char **v = reallocarray(t->cells, room * t->n, sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		t->cells = v;
		t->room = room;
	}
	char **row = &t->cells[t->rows * t->n];
	for (size_t i = 0; i < t->n; i++) {
		struct err text;
		(void)err_set(&text, 0, "%s", cells[i] != NULL ? cells[i] : "-");
		row[i] = strdup(text.text);
		if (row[i] != NULL)
			continue;
		while (i > 0)
			free(row[--i]);
		return -ENOMEM;
	}
	t->rows++;
	return 0;
}

struct table *table_new(const char *const *heads, size_t n, unsigned flexible)
{
	struct table *t = calloc(1, sizeof(*t));
	ASSERT(n > 0 && n <= TABLE_COLUMNS_MAX);
	if (t == NULL)
		return NULL;
	*t = (struct table){.n = n, .flexible = flexible};
	if (table_add(t, heads) == 0)
		return t;
	table_free(t);
	return NULL;
}

void table_free(struct table *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->rows * t->n; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}

/* What watch(1) and its like say of the terminal that they write to. */
static size_t told_width(void)
{
	const char *columns = getenv("COLUMNS");
	unsigned long n = columns != NULL ? strtoul(columns, NULL, 10) : 0;
	if (n == 0 || n > UINT16_MAX)
		return 0;
	return n < TABLE_WIDTH_MIN ? TABLE_WIDTH_MIN : n;
}

size_t table_watched_width(void)
{
	return isatty(STDOUT_FILENO) ? table_terminal_width() : told_width();
}

size_t table_terminal_width(void)
{
	struct winsize size;
	if (!isatty(STDOUT_FILENO))
		return 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col < TABLE_WIDTH_MIN)
		return TABLE_WIDTH_MIN;
	return size.ws_col;
}

static void show_cell(FILE *f, const char *s, size_t columns, bool last)
{
	size_t have = width_of(s, strlen(s));
	if (have > columns) {
		size_t head = (columns - 1) / 2;
		fwrite(s, 1, (size_t)(skip(s, head) - s), f);
		fputs("…", f);
		fputs(skip(s, have - (columns - 1 - head)), f);
		have = columns;
	} else {
		fputs(s, f);
	}
	if (!last)
		fprintf(f, "%*s", (int)(columns - have + GAP), "");
}

/* The widest of those that give way does, one column at a time. */
static void fit(const struct table *t, size_t widths[TABLE_COLUMNS_MAX], size_t limit)
{
	for (;;) {
		size_t sum = GAP * (t->n - 1);
		size_t *widest = NULL;
		for (size_t i = 0; i < t->n; i++) {
			sum += widths[i];
			if ((t->flexible >> i & 1) != 0 && (widest == NULL || widths[i] > *widest))
				widest = &widths[i];
		}
		if (sum <= limit || widest == NULL || *widest <= WIDTH_MIN)
			return;
		(*widest)--;
	}
}

void table_show(FILE *f, const struct table *t, size_t indent, size_t width)
{
	size_t widths[TABLE_COLUMNS_MAX] = {0};
	for (size_t k = 0; k < t->rows * t->n; k++) {
		size_t w = width_of(t->cells[k], strlen(t->cells[k]));
		widths[k % t->n] = w > widths[k % t->n] ? w : widths[k % t->n];
	}
	if (width > indent)
		fit(t, widths, width - indent);
	for (size_t r = 0; r < t->rows; r++) {
		fprintf(f, "%*s", (int)indent, "");
		for (size_t i = 0; i < t->n; i++)
			show_cell(f, t->cells[r * t->n + i], widths[i], i + 1 == t->n);
		fputc('\n', f);
	}
}

void table_put_line(FILE *f, const char *line, size_t len, size_t width)
{
	if (width == 0 || width_of(line, len) <= width) {
		fwrite(line, 1, len, f);
	} else {
		fwrite(line, 1, (size_t)(skip(line, width - 1) - line), f);
		fputs("…", f);
	}
	fputc('\n', f);
}

void table_put_last(FILE *f, const char *s, const char *more, size_t used, size_t width)
{
	size_t taken = used + width_of(more, strlen(more));
	size_t room = width > taken + WIDTH_MIN ? width - taken : WIDTH_MIN;
	show_cell(f, s, width == 0 ? SIZE_MAX : room, true);
	fputs(more, f);
	fputc('\n', f);
}
