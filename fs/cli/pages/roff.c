/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <string.h>

#include "fs/cli/pages/pages.h"

#define SOURCE_WIDTH 60 /* bytes before escapes */

/* A code point of valid UTF-8 (the tables are), and the bytes that it takes. */
static unsigned decode(const char *s, size_t len, size_t *ret_bytes)
{
	unsigned char c = (unsigned char)s[0];
	size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	unsigned code = c & (0xffu >> (n + 1));
	if (n > len)
		n = len;
	for (size_t i = 1; i < n; i++)
		code = (code << 6) | ((unsigned char)s[i] & 0x3f);
	*ret_bytes = n;
	return code;
}

/* A '-' that is meant to be typed. */
static bool is_typed(const char *s, size_t i, size_t len)
{
	size_t start = i, end = i;
	while (start > 0 && s[start - 1] != ' ')
		start--;
	while (end < len && s[end] != ' ')
		end++;
	return strchr("-`(", s[start]) != NULL || memchr(s + start, '/', end - start) != NULL ||
	       memchr(s + start, '.', end - start - (s[end - 1] == '.')) != NULL ||
	       memchr(s + start, '=', end - start) != NULL;
}

static const char *escape_of(char c)
{
	switch (c) {
	case '\\':
		return "\\e";
	case '~':
		return "\\(ti";
	case '^':
		return "\\(ha";
	case '\'':
		return "\\(aq";
	case '"':
		return "\\(dq";
	default:
		return NULL;
	}
}

/* A path or an option is not to be cut at the end of a line. */
static bool is_whole(const char *s, size_t len)
{
	size_t word = 0;
	while (word < len && s[word] != ' ')
		word++;
	return *s == '-' || memchr(s, '/', word) != NULL;
}

/* What would make a request of a line of text. */
static void guard(FILE *f, const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", f);
}

/* Lines of the page's source that are longer than most terminals are frowned upon. */
static void write_text(FILE *f, const char *s, size_t len, bool fill)
{
	size_t bytes = 1, start = 0;
	bool bold = false;
	if (len > 0)
		guard(f, s);
	for (size_t i = 0; i < len; i += bytes) {
		bytes = 1;
		if (fill && (i == 0 || s[i - 1] == ' ') && is_whole(s + i, len - i))
			fputs("\\%", f);
		if (fill && s[i] == ' ' && i - start + strcspn(s + i + 1, " \n") > SOURCE_WIDTH) {
			fputc('\n', f);
			guard(f, s + i + 1);
			start = i + 1;
			continue;
		}
		if ((unsigned char)s[i] >= 0x80) {
			unsigned code = decode(s + i, len - i, &bytes);
			if (code == 0x2026)
				fputs("...", f);
			else
				fprintf(f, "\\[u%04X]", code);
		} else if (s[i] == '`') {
			bold = !bold;
			fputs(bold ? "\\fB" : "\\fR", f);
		} else if (s[i] == '-') {
			fputs(bold || is_typed(s, i, len) ? "\\-" : "-", f);
		} else if (escape_of(s[i]) != NULL) {
			fputs(escape_of(s[i]), f);
		} else {
			fputc(s[i], f);
		}
	}
}

void roff_text(FILE *f, const char *s, size_t len)
{
	write_text(f, s, len, false);
}

void roff_fill(FILE *f, const char *s, size_t len)
{
	write_text(f, s, len, true);
	fputc('\n', f);
}

/* Every '-' can be copied out of it. */
void roff_verbatim(FILE *f, const char *text)
{
	fputs(".PP\n.RS 4\n.nf\n", f);
	while (*text != '\0') {
		size_t len = strcspn(text, "\n");
		const char *line = text + strspn(text, " ");
		size_t left = len - (size_t)(line - text);
		guard(f, line);
		for (size_t from = 0; from <= left; from++) {
			size_t part = 0;
			while (from + part < left && line[from + part] != '-')
				part++;
			roff_text(f, line + from, part);
			from += part;
			if (from < left)
				fputs("\\-", f);
		}
		fputc('\n', f);
		text += len + (text[len] == '\n');
	}
	fputs(".fi\n.RE\n", f);
}

/* "  NAME   what it is", or as it stands. */
static void write_entry(FILE *f, const char *line, size_t len)
{
	size_t from = strspn(line, " ");
	const char *gap = memmem(line + from, len - from, "  ", 2);
	if (gap == NULL) {
		fputs(".RS 4\n.nf\n", f);
		roff_text(f, line + from, len - from);
		fputs("\n.fi\n.RE\n", f);
		return;
	}
	size_t text = (size_t)(gap - line);
	while (text < len && line[text] == ' ')
		text++;
	fputs(".TP\n", f);
	roff_text(f, line + from, (size_t)(gap - line) - from);
	fputc('\n', f);
	roff_fill(f, line + text, len - text);
}

void roff_prose(FILE *f, const char *text)
{
	bool paragraph = false, entries = false;
	while (*text != '\0') {
		size_t len = strcspn(text, "\n");
		if (len == 0) {
			paragraph = true;
		} else if (*text == ' ') {
			write_entry(f, text, len);
			entries = true;
		} else {
			if (paragraph || entries)
				fputs(".PP\n", f);
			roff_fill(f, text, len);
			paragraph = entries = false;
		}
		text += len + (text[len] == '\n');
	}
}
