/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/config_lines.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/macros.h"

#define BLANKS    " \t"
#define KEY_BYTES "abcdefghijklmnopqrstuvwxyz0123456789-_"

void config_lines_init(struct config_lines *l, char *text, size_t len)
{
	*l = (struct config_lines){.rest = text + byte_order_mark(text, len), .end = text + len};
}

/* The next line without its end; NULL: there is none. */
static char *cut_line(struct config_lines *l, size_t *ret_len)
{
	char *line = l->rest;
	if (line == l->end)
		return NULL;
	size_t left = (size_t)(l->end - line);
	char *newline = memchr(line, '\n', left);
	size_t len = newline != NULL ? (size_t)(newline - line) : left;
	l->rest = newline != NULL ? newline + 1 : l->end;
	l->number++;
	if (len > 0 && line[len - 1] == '\r')
		len--;
	line[len] = '\0';
	*ret_len = len;
	return line;
}

static bool is_text(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)line[i];
		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static char *skip_blanks(char *s)
{
	return s + strspn(s, BLANKS);
}

static bool is_end(const char *s)
{
	return *s == '\0' || *s == '#';
}

static int read_quoted(char *value, struct config_lines *l, struct err *err)
{
	char *quote = strchr(value + 1, '"');
	if (quote == NULL)
		return err_set(err, -EINVAL, "there is no '\"' at the end of the value");
	if (!is_end(skip_blanks(quote + 1)))
		return err_set(err, -EINVAL, "there is more after the value that ends in '\"'");
	*quote = '\0';
	l->value = value + 1;
	return 1;
}

/* Up to a comment, or the end. */
static void read_plain(char *value, struct config_lines *l)
{
	char *end = value;
	for (char *p = value; *p != '\0'; p++) {
		bool blank = strchr(BLANKS, *p) != NULL;
		if (*p == '#' && (p == value || strchr(BLANKS, p[-1]) != NULL))
			break;
		if (!blank)
			end = p + 1;
	}
	*end = '\0';
	l->value = value;
}

static int read_line(char *line, struct config_lines *l, struct err *err)
{
	size_t len = strspn(line, KEY_BYTES);
	char *after = skip_blanks(line + len);
	l->key = line;
	l->value = NULL;
	if (len == 0 || (line[len] != '\0' && line[len] != '=' && line[len] != '#' &&
			 strchr(BLANKS, line[len]) == NULL))
		return err_set(err, -EINVAL, "'%.40s' is no option; write a line as option = value",
			       line);
	if (!is_end(after) && *after != '=')
		return err_set(err, -EINVAL, "no '=' after '%.*s'; write a line as option = value",
			       (int)len, line);
	char *value = *after == '=' ? skip_blanks(after + 1) : NULL;
	line[len] = '\0';
	if (value == NULL)
		return 1;
	if (*value == '"')
		return read_quoted(value, l, err);
	read_plain(value, l);
	return 1;
}

int config_lines_next(struct config_lines *l, struct err *err)
{
	size_t len;
	for (char *line = cut_line(l, &len); line != NULL; line = cut_line(l, &len)) {
		if (!is_text(line, len))
			return err_set(err, -EINVAL, "there is a control character in this line");
		line = skip_blanks(line);
		if (!is_end(line))
			return read_line(line, l, err);
	}
	return 0;
}
