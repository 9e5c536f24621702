/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/content_range.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

struct cursor {
	const char *p, *end;
};

static bool take(struct cursor *c, char ch)
{
	if (c->p == c->end || *c->p != ch)
		return false;
	c->p++;
	return true;
}

static void skip_blanks(struct cursor *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t'))
		c->p++;
}

static bool take_number(struct cursor *c, uint64_t *ret)
{
	const char *start = c->p;
	uint64_t v = 0;

	for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
		if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*c->p - '0'), &v))
			return false;
	*ret = v;
	return c->p > start;
}

int content_range_parse(const char *s, size_t len, struct content_range *ret)
{
	struct cursor c = {s, s + len};
	struct content_range r = {0};

	skip_blanks(&c);
	if (c.end - c.p < 6 || strncasecmp(c.p, "bytes", 5) != 0)
		return -EINVAL;
	c.p += 5;
	if (*c.p != ' ' && *c.p != '\t')
		return -EINVAL;
	skip_blanks(&c);
	if (!take(&c, '*')) {
		r.satisfied = true;
		if (!take_number(&c, &r.first) || !take(&c, '-') || !take_number(&c, &r.last) ||
		    r.last < r.first)
			return -EINVAL;
	}
	if (!take(&c, '/'))
		return -EINVAL;
	if (!take(&c, '*')) {
		r.has_total = true;
		if (!take_number(&c, &r.total) || (r.satisfied && r.last >= r.total))
			return -EINVAL;
	}
	skip_blanks(&c);
	if (c.p != c.end || (!r.satisfied && !r.has_total))
		return -EINVAL;
	*ret = r;
	return 0;
}
