/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define REPLACEMENT '?'

/* Length of the UTF-8 sequence at s (Unicode table 3-7), 0 if it is none. */
static size_t utf8_len(const unsigned char *s)
{
	unsigned char low = 0x80, high = 0xBF;
	size_t n;

	if (s[0] >= 0xC2 && s[0] <= 0xDF) {
		n = 2;
	} else if (s[0] >= 0xE0 && s[0] <= 0xEF) {
		n = 3;
		low = s[0] == 0xE0 ? 0xA0 : low;
		high = s[0] == 0xED ? 0x9F : high;
	} else if (s[0] >= 0xF0 && s[0] <= 0xF4) {
		n = 4;
		low = s[0] == 0xF0 ? 0x90 : low;
		high = s[0] == 0xF4 ? 0x8F : high;
	} else {
		return 0;
	}
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++) {
		if (s[i] < 0x80 || s[i] > 0xBF)
			return 0;
	}
	return n;
}

/* C1 controls (U+0080–U+009F), the line and paragraph separators, and the
 * marks that reverse what follows them on a terminal. */
static bool is_control(const unsigned char *s, size_t n)
{
	if (n == 2)
		return s[0] == 0xC2 && s[1] < 0xA0;
	if (n == 3 && s[0] == 0xE2 && s[1] == 0x80)
		return s[2] >= 0xA8 && s[2] <= 0xAE;
	return n == 3 && s[0] == 0xE2 && s[1] == 0x81 && s[2] >= 0xA6 && s[2] <= 0xA9;
}

/* A text that was cut may end inside a sequence; its head becomes '?' too. */
static void make_printable(char *text)
{
	unsigned char *s = (unsigned char *)text;
	while (*s != '\0') {
		if (*s < 0x80) {
			if (*s < 0x20 || *s == 0x7F)
				*s = REPLACEMENT;
			s++;
			continue;
		}
		size_t n = utf8_len(s);
		if (n == 0 || is_control(s, n)) {
			n = n == 0 ? 1 : n;
			memset(s, REPLACEMENT, n);
		}
		s += n;
	}
}

static void format(char out[ERR_TEXT_MAX], const char *fmt, va_list args) PRINTF(2, 0);
static void format(char out[ERR_TEXT_MAX], const char *fmt, va_list args)
{
	if (vsnprintf(out, ERR_TEXT_MAX, fmt, args) < 0)
		out[0] = '\0';
}

/* Appends what fits. */
static void append(char out[ERR_TEXT_MAX], const char *s)
{
	size_t have = strlen(out);
	size_t n = strlen(s);
	if (n > ERR_TEXT_MAX - 1 - have)
		n = ERR_TEXT_MAX - 1 - have;
	memcpy(out + have, s, n);
	out[have + n] = '\0';
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	if (err == NULL)
		return code;
	char text[ERR_TEXT_MAX];
	va_list args;
	va_start(args, fmt);
	format(text, fmt, args);
	va_end(args);
	make_printable(text);
	memcpy(err->text, text, strlen(text) + 1);
	return code;
}

int err_wrap(struct err *err, int code, const char *fmt, ...)
{
	if (err == NULL)
		return code;
	char text[ERR_TEXT_MAX];
	va_list args;
	va_start(args, fmt);
	format(text, fmt, args);
	va_end(args);
	append(text, ": ");
	append(text, err->text);
	make_printable(text);
	memcpy(err->text, text, strlen(text) + 1);
	return code;
}

int err_errno(struct err *err, int code, const char *fmt, ...)
{
	if (err == NULL)
		return code;
	char text[ERR_TEXT_MAX];
	char reason[128];
	va_list args;
	va_start(args, fmt);
	format(text, fmt, args);
	va_end(args);
	append(text, ": ");
	append(text, strerror_r(-code, reason, sizeof(reason)));
	make_printable(text);
	memcpy(err->text, text, strlen(text) + 1);
	return code;
}
