/* SPDX-License-Identifier: Apache-2.0 */
/* A word followed by '=' is a parameter of the scheme before it; any other
 * word begins a new challenge. The token68 after a scheme ("Negotiate YII=")
 * is read as one of the two; neither is of a scheme or key that we know. */
#include "registry/challenge.h"

#include <string.h>
#include <strings.h>

struct cursor {
	const char *p, *end;
};

static bool is_token(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* Unquoted values in the wild hold more than tokens: URLs, above all. */
static bool is_loose(char c)
{
	return is_token(c) || (c != '\0' && strchr(":/?@[]()<>{}\\=", c) != NULL);
}

static void skip_blanks(struct cursor *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t'))
		c->p++;
}

static void take_quoted(struct cursor *c, char *out, size_t room)
{
	size_t n = 0;
	bool fits = true;

	for (c->p++; c->p < c->end && *c->p != '"'; c->p++) {
		if (*c->p == '\\' && c->p + 1 < c->end)
			c->p++;
		if (n + 1 < room && (unsigned char)*c->p >= 0x20 && *c->p != 0x7f)
			out[n++] = *c->p;
		else
			fits = false;
	}
	if (c->p < c->end)
		c->p++;
	out[fits ? n : 0] = '\0';
}

static void take_bare(struct cursor *c, char *out, size_t room)
{
	const char *start = c->p;
	size_t n;

	while (c->p < c->end && is_loose(*c->p))
		c->p++;
	n = (size_t)(c->p - start);
	if (n >= room)
		n = 0;
	memcpy(out, start, n);
	out[n] = '\0';
}

static void set_first(char *field, size_t room, const char *value)
{
	size_t n = strlen(value);

	if (field[0] == '\0' && n < room)
		memcpy(field, value, n + 1);
}

static bool word_is(const char *word, size_t len, const char *s)
{
	return len == strlen(s) && strncasecmp(word, s, len) == 0;
}

static void set_param(struct challenge *one, const char *key, size_t len, const char *value)
{
	if (word_is(key, len, "realm"))
		set_first(one->realm, sizeof(one->realm), value);
	else if (word_is(key, len, "service"))
		set_first(one->service, sizeof(one->service), value);
	else if (word_is(key, len, "scope"))
		set_first(one->scope, sizeof(one->scope), value);
	else if (word_is(key, len, "error"))
		set_first(one->error, sizeof(one->error), value);
}

static void keep_bearer(const struct challenge *one, struct challenge *ret)
{
	bool basic = ret->basic;

	if (ret->bearer || !one->bearer || one->realm[0] == '\0')
		return;
	*ret = *one;
	ret->basic = basic;
}

void challenge_parse(const char *s, size_t len, struct challenge *ret)
{
	struct cursor c = {s, s + len};
	struct challenge one = {0};
	char value[CHALLENGE_VALUE_MAX];

	*ret = (struct challenge){0};
	while (c.p < c.end) {
		const char *word = c.p;
		size_t word_len;

		while (c.p < c.end && is_token(*c.p))
			c.p++;
		word_len = (size_t)(c.p - word);
		if (word_len == 0) {
			if (*c.p == '"')
				take_quoted(&c, value, sizeof(value));
			else
				c.p++;
			continue;
		}
		skip_blanks(&c);
		if (c.p < c.end && *c.p == '=') {
			c.p++;
			skip_blanks(&c);
			if (c.p < c.end && *c.p == '"')
				take_quoted(&c, value, sizeof(value));
			else
				take_bare(&c, value, sizeof(value));
			set_param(&one, word, word_len, value);
			continue;
		}
		keep_bearer(&one, ret);
		one = (struct challenge){.bearer = word_is(word, word_len, "Bearer")};
		ret->basic |= word_is(word, word_len, "Basic");
	}
	keep_bearer(&one, ret);
}
