/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/link.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct cursor {
	const char *p, *end;
};

struct text {
	const char *p;
	size_t len;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static void skip_blanks(struct cursor *c)
{
	while (c->p < c->end && is_blank(*c->p))
		c->p++;
}

static bool has_word(struct text list, const char *word)
{
	size_t i = 0, n = strlen(word);

	while (i < list.len) {
		size_t start;

		while (i < list.len && is_blank(list.p[i]))
			i++;
		start = i;
		while (i < list.len && !is_blank(list.p[i]))
			i++;
		if (i - start == n && strncasecmp(list.p + start, word, n) == 0)
			return true;
	}
	return false;
}

static struct text take_value(struct cursor *c)
{
	struct text v = {c->p, 0};

	if (c->p < c->end && *c->p == '"') {
		v.p = ++c->p;
		while (c->p < c->end && *c->p != '"')
			c->p += *c->p == '\\' && c->p + 1 < c->end ? 2 : 1;
		v.len = (size_t)(c->p - v.p);
		if (c->p < c->end)
			c->p++;
		return v;
	}
	while (c->p < c->end && *c->p != ';' && *c->p != ',' && !is_blank(*c->p))
		c->p++;
	v.len = (size_t)(c->p - v.p);
	return v;
}

/* The parameters of one link, up to the comma that ends it. The first rel
 * counts (RFC 8288 §3.3). */
static bool params_say_next(struct cursor *c)
{
	bool seen = false, next = false;

	while (c->p < c->end && *c->p != ',') {
		struct text key, value = {NULL, 0};

		while (c->p < c->end && (*c->p == ';' || is_blank(*c->p)))
			c->p++;
		key.p = c->p;
		while (c->p < c->end && !is_blank(*c->p) && !strchr("=;,", *c->p))
			c->p++;
		key.len = (size_t)(c->p - key.p);
		skip_blanks(c);
		if (c->p < c->end && *c->p == '=') {
			c->p++;
			skip_blanks(c);
			value = take_value(c);
		} else if (key.len == 0 && c->p < c->end && *c->p != ',' && *c->p != ';') {
			c->p++; /* a stray byte */
		}
		if (!seen && key.len == 3 && strncasecmp(key.p, "rel", 3) == 0) {
			seen = true;
			next = has_word(value, "next");
		}
	}
	return next;
}

int link_next(const char *s, size_t len, char **ret)
{
	struct cursor c = {s, s + len};

	while (c.p < c.end) {
		struct text target;

		c.p = memchr(c.p, '<', (size_t)(c.end - c.p));
		if (!c.p)
			return 0;
		target.p = ++c.p;
		c.p = memchr(c.p, '>', (size_t)(c.end - c.p));
		if (!c.p)
			return 0;
		target.len = (size_t)(c.p++ - target.p);
		if (!params_say_next(&c) || memchr(target.p, '\0', target.len))
			continue;
		*ret = dup_text(target.p, target.len);
		return *ret ? 1 : -ENOMEM;
	}
	return 0;
}

int link_resolve(const struct url *page, const char *target, struct url *ret)
{
	struct url there = {0};
	int r = url_resolve(page, target, &there);

	if (r < 0)
		return r;
	r = url_make(page->https, page->host, page->port, there.target, ret);
	url_release(&there);
	return r;
}
