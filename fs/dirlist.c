/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/dirlist.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

struct record {
	uint32_t name; /* offset in text */
	uint32_t type;
	uint64_t ino;
};

struct dirlist {
	struct record *v;
	size_t n, room;
	char *text;
	size_t text_len, text_room;
	bool unknown; /* DIRLIST_INO_UNKNOWN is in it */
};

int dirlist_new(struct dirlist **ret)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : -ENOMEM;
}

void dirlist_free(struct dirlist *l)
{
	if (!l)
		return;
	free(l->v);
	free(l->text);
	free(l);
}

static int make_room(struct dirlist *l, size_t len)
{
	if (l->n >= DIRLIST_MAX || l->text_len + len + 1 > UINT32_MAX)
		return -ENOMEM;
	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 16;
		struct record *v = reallocarray(l->v, room, sizeof(*v));
		if (!v)
			return -ENOMEM;
		l->v = v;
		l->room = room;
	}
	if (l->text_len + len + 1 > l->text_room) {
		size_t room = 2 * l->text_room + len + 64;
		char *text = realloc(l->text, room);
		if (!text)
			return -ENOMEM;
		l->text = text;
		l->text_room = room;
	}
	return 0;
}

int dirlist_add(struct dirlist *l, const char *name, size_t len, uint64_t ino, mode_t type)
{
	if (make_room(l, len))
		return -ENOMEM;
	l->v[l->n++] = (struct record){(uint32_t)l->text_len, type, ino};
	memcpy(l->text + l->text_len, name, len);
	l->text[l->text_len + len] = '\0';
	l->text_len += len + 1;
	l->unknown |= ino == DIRLIST_INO_UNKNOWN;
	return 0;
}

static int by_name(const void *a, const void *b, void *text)
{
	const struct record *x = a, *y = b;
	return strcmp((const char *)text + x->name, (const char *)text + y->name);
}

int dirlist_done(struct dirlist *l, uint64_t ino, uint64_t parent_ino)
{
	size_t kept = 0;
	if (l->n > 0)
		qsort_r(l->v, l->n, sizeof(l->v[0]), by_name, l->text);
	for (size_t i = 0; i < l->n; i++) {
		if (kept == 0 || by_name(&l->v[kept - 1], &l->v[i], l->text) != 0)
			l->v[kept++] = l->v[i];
	}
	l->n = kept;
	if (dirlist_add(l, ".", 1, ino, S_IFDIR) || dirlist_add(l, "..", 2, parent_ino, S_IFDIR))
		return -ENOMEM;
	struct record dots[2] = {l->v[kept], l->v[kept + 1]};
	memmove(l->v + 2, l->v, kept * sizeof(l->v[0]));
	memcpy(l->v, dots, sizeof(dots));
	return 0;
}

bool dirlist_has_unknown(const struct dirlist *l)
{
	return l->unknown;
}

size_t dirlist_count(const struct dirlist *l)
{
	return l->n;
}

struct dirlist_entry dirlist_at(const struct dirlist *l, size_t i)
{
	return (struct dirlist_entry){l->text + l->v[i].name, l->v[i].ino, l->v[i].type};
}
