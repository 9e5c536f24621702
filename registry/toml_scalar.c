/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "registry/toml_impl.h"

#define WORD_MAX 80 /* of a number: bytes */

size_t toml_newline(const char *s)
{
	return s[0] == '\n' ? 1 : s[0] == '\r' && s[1] == '\n' ? 2 : 0;
}

/* ---- strings ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static size_t put_utf8(uint32_t c, char *out)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

static int take_unicode(struct toml_parser *p, int digits, char *out, size_t *len)
{
	uint32_t c = 0;

	for (int i = 0; i < digits; i++) {
		int digit = hex_digit(*p->at);

		if (digit < 0)
			return toml_bad(p, "\\u and \\U take 4 and 8 hexadecimal digits");
		c = c << 4 | (uint32_t)digit;
		p->at++;
	}
	if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return toml_bad(p, "an escape for no character");
	*len += put_utf8(c, out + *len);
	return 0;
}

/* Behind the backslash. What comes out is never longer than what stands there. */
static int take_escape(struct toml_parser *p, char *out, size_t *len)
{
	static const char names[] = "btnfr\"\\", values[] = "\b\t\n\f\r\"\\";
	char c = *p->at++;
	const char *found = c ? strchr(names, c) : NULL;

	if (c == 'u' || c == 'U')
		return take_unicode(p, c == 'u' ? 4 : 8, out, len);
	if (!found)
		return toml_bad(p, "an unknown escape in a string");
	out[(*len)++] = values[found - names];
	return 0;
}

/* A backslash at the end of a line: all blanks up to the next text go. */
static bool skip_joined(struct toml_parser *p)
{
	const char *s = p->at + 1;
	size_t n;

	s += strspn(s, " \t");
	if (!toml_newline(s))
		return false;
	for (;; s += n) {
		n = toml_newline(s);
		p->line += n > 0;
		if (n == 0)
			n = strspn(s, " \t");
		if (n == 0)
			break;
	}
	p->at = s;
	return true;
}

static int take_char(struct toml_parser *p, bool basic, bool several, char *out, size_t *len)
{
	size_t newline = toml_newline(p->at);

	if (newline && several) {
		p->line++;
		p->at += newline;
		out[(*len)++] = '\n';
		return 0;
	}
	if (newline)
		return toml_bad(p, "a string that does not end");
	if (basic && several && *p->at == '\\' && skip_joined(p))
		return 0;
	if (basic && *p->at == '\\') {
		p->at++;
		return take_escape(p, out, len);
	}
	out[(*len)++] = *p->at++;
	return 0;
}

/* Up to two quotes may stand right before the three that end it. */
static size_t closing(const char *s, char quote, bool several)
{
	size_t n = 0;

	while (n < 5 && s[n] == quote)
		n++;
	return !several ? n > 0 : n >= 3 ? n : 0;
}

int toml_string(struct toml_parser *p, bool several, char **ret)
{
	const char quote = *p->at;
	AUTO_FREE char *out = NULL;
	size_t len = 0, n;

	if (several && p->at[1] == quote && p->at[2] == quote) {
		p->at += 3;
		n = toml_newline(p->at);
		p->line += n > 0;
		p->at += n;
	} else {
		several = false;
		p->at++;
	}
	out = malloc((size_t)(p->end - p->at) + 1);
	if (!out)
		return err_set(p->err, -ENOMEM, "out of memory");
	while ((n = closing(p->at, quote, several)) == 0) {
		int r;

		if (p->at == p->end)
			return toml_bad(p, "a string that does not end");
		r = take_char(p, quote == '"', several, out, &len);
		if (r < 0)
			return r;
	}
	p->at += n;
	for (n -= several ? 3 : 1; n > 0; n--)
		out[len++] = quote;
	out[len] = '\0';
	*ret = realloc(out, len + 1);
	if (!*ret)
		return err_set(p->err, -ENOMEM, "out of memory");
	out = NULL;
	return 0;
}

/* ---- numbers ---- */

/* Digits of the base, with an underscore between two of them at most. */
static bool take_digits(const char *s, unsigned base, bool negative, int64_t *ret)
{
	int64_t n = 0;

	for (bool digit = false;; s++) {
		int value = hex_digit(*s);

		if (*s == '_' && digit) {
			digit = false;
			continue;
		}
		if (!*s && digit)
			break;
		if (value < 0 || (unsigned)value >= base)
			return false;
		digit = true;
		if (__builtin_mul_overflow(n, (int64_t)base, &n) ||
		    (negative ? __builtin_sub_overflow(n, (int64_t)value, &n)
			      : __builtin_add_overflow(n, (int64_t)value, &n)))
			return false;
	}
	*ret = n;
	return true;
}

static bool take_integer(const char *s, int64_t *ret)
{
	bool sign = *s == '+' || *s == '-';

	if (!sign && s[0] == '0' && s[1] == 'x')
		return take_digits(s + 2, 16, false, ret);
	if (!sign && s[0] == '0' && s[1] == 'o')
		return take_digits(s + 2, 8, false, ret);
	if (!sign && s[0] == '0' && s[1] == 'b')
		return take_digits(s + 2, 2, false, ret);
	if (s[sign] == '0' && s[sign + 1])
		return false;
	return take_digits(s + sign, 10, *s == '-', ret);
}

int toml_word(struct toml_parser *p, struct toml *ret)
{
	size_t n = strcspn(p->at, " \t\r\n,]}#");
	char word[WORD_MAX];

	if (n == 0)
		return toml_bad(p, "a value is missing");
	if (n >= sizeof(word))
		return toml_bad(p, "no value");
	memcpy(word, p->at, n);
	word[n] = '\0';
	ret->boolean = strcmp(word, "true") == 0;
	if (ret->boolean || strcmp(word, "false") == 0)
		ret->kind = TOML_BOOLEAN;
	else if (take_integer(word, &ret->integer))
		ret->kind = TOML_INTEGER;
	else if (strchr("+-0123456789in", *word))
		return toml_bad(p, "no integer; dates and other numbers are not read here");
	else
		return toml_bad(p, "no value: text needs quotes");
	p->at += n;
	return 0;
}
