/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest_set.h"

#include <errno.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	return digest_compare(a, b);
}

int digest_set_add(struct digest_set *s, const struct digest *d)
{
	if (s->n == s->room) {
		digest_set_settle(s);
		size_t room = 2 * s->n + 16;
		struct digest *v = reallocarray(s->v, room, sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		s->v = v;
		s->room = room;
	}
	s->v[s->n++] = *d;
	s->unsorted = true;
	return 0;
}

void digest_set_settle(struct digest_set *s)
{
	if (!s->unsorted)
		return;
	s->unsorted = false;
	qsort(s->v, s->n, sizeof(*s->v), compare);
	size_t n = 1;
	for (size_t i = 1; i < s->n; i++) {
		if (!digest_equal(&s->v[n - 1], &s->v[i]))
			s->v[n++] = s->v[i];
	}
	s->n = n;
}

bool digest_set_has(struct digest_set *s, const struct digest *d)
{
	digest_set_settle(s);
	return s->n > 0 && bsearch(d, s->v, s->n, sizeof(*s->v), compare) != NULL;
}

void digest_set_release(struct digest_set *s)
{
	free(s->v);
	*s = (struct digest_set){0};
}
