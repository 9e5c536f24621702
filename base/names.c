/* SPDX-License-Identifier: Apache-2.0 */
#include "base/names.h"

#include <errno.h>
#include <string.h>

#define FIRST_ROOM 16

static int make_room(struct names *l)
{
	if (l->n < l->room)
		return 0;
	size_t room = l->room == 0 ? FIRST_ROOM : l->room * 2;
	char **v = reallocarray(l->v, room, sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	l->v = v;
	l->room = room;
	return 0;
}

int names_add(struct names *l, const char *s, size_t len)
{
	int rc = make_room(l);
	if (rc < 0)
		return rc;
	char *copy = malloc(len + 1);
	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, s, len);
	copy[len] = '\0';
	l->v[l->n++] = copy;
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void names_sort(struct names *l)
{
	if (l->n < 2)
		return;
	qsort(l->v, l->n, sizeof(*l->v), compare);
	size_t kept = 1;
	for (size_t i = 1; i < l->n; i++) {
		if (strcmp(l->v[i], l->v[kept - 1]) == 0)
			free(l->v[i]);
		else
			l->v[kept++] = l->v[i];
	}
	l->n = kept;
}

bool names_has(const struct names *l, const char *s)
{
	if (l->n == 0)
		return false;
	return bsearch(&s, l->v, l->n, sizeof(*l->v), compare) != NULL;
}

void names_release(struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
	*l = (struct names){0};
}
