/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/dirlist.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/siphash.h"

#define DOTS 2 /* "." and ".." */

struct record {
	uint32_t name; /* offset in text */
	uint32_t type;
	uint64_t ino;
	uint64_t cookie;
};

struct dirlist {
	atomic_uint refs;
	struct record *v;
	size_t n, room;
	char *text;
	size_t text_len, text_room;
	bool unknown; /* DIRLIST_INO_UNKNOWN is in it */
};

int dirlist_new(struct dirlist **ret)
{
	*ret = calloc(1, sizeof(**ret));
	if (*ret)
		atomic_init(&(*ret)->refs, 1);
	return *ret ? 0 : -ENOMEM;
}

struct dirlist *dirlist_ref(struct dirlist *l)
{
	(void)atomic_fetch_add(&l->refs, 1);
	return l;
}

size_t dirlist_bytes(const struct dirlist *l)
{
	return sizeof(*l) + l->room * sizeof(*l->v) + l->text_room;
}

void dirlist_unref(struct dirlist *l)
{
	if (!l || atomic_fetch_sub(&l->refs, 1) > 1)
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
	l->v[l->n++] = (struct record){(uint32_t)l->text_len, type, ino, 0};
	memcpy(l->text + l->text_len, name, len);
	l->text[l->text_len + len] = '\0';
	l->text_len += len + 1;
	l->unknown |= ino == DIRLIST_INO_UNKNOWN;
	return 0;
}

/* The same in every process that serves a mount. Whoever finds two names of one hash gains
 * nothing: the second one's cookie is larger by one. */
static uint64_t name_cookie(const char *name)
{
	static const uint64_t key[2] = {UINT64_C(0x6f6369206e616d65), UINT64_C(0x206f7264657220ff)};
	uint64_t hash = siphash(key, name, strlen(name)) >> 2;

	return hash + DOTS + 1;
}

static int by_cookie(const void *a, const void *b, void *text)
{
	const struct record *x = a, *y = b;

	if (x->cookie != y->cookie)
		return x->cookie < y->cookie ? -1 : 1;
	return strcmp((const char *)text + x->name, (const char *)text + y->name);
}

int dirlist_done(struct dirlist *l, uint64_t ino, uint64_t parent_ino)
{
	size_t kept = 0;
	for (size_t i = 0; i < l->n; i++)
		l->v[i].cookie = name_cookie(l->text + l->v[i].name);
	if (l->n > 0)
		qsort_r(l->v, l->n, sizeof(l->v[0]), by_cookie, l->text);
	for (size_t i = 0; i < l->n; i++) {
		if (kept == 0 || by_cookie(&l->v[kept - 1], &l->v[i], l->text) != 0)
			l->v[kept++] = l->v[i];
	}
	l->n = kept;
	for (size_t i = 1; i < kept; i++) {
		if (l->v[i].cookie <= l->v[i - 1].cookie)
			l->v[i].cookie = l->v[i - 1].cookie + 1;
	}
	if (dirlist_add(l, ".", 1, ino, S_IFDIR) || dirlist_add(l, "..", 2, parent_ino, S_IFDIR))
		return -ENOMEM;
	struct record dots[DOTS] = {l->v[kept], l->v[kept + 1]};
	memmove(l->v + DOTS, l->v, kept * sizeof(l->v[0]));
	for (size_t i = 0; i < DOTS; i++) {
		l->v[i] = dots[i];
		l->v[i].cookie = i + 1;
	}
	return 0;
}

bool dirlist_has_unknown(const struct dirlist *l)
{
	return l->unknown;
}

size_t dirlist_after(const struct dirlist *l, uint64_t cookie)
{
	size_t low = 0, high = l->n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (l->v[mid].cookie > cookie)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

size_t dirlist_count(const struct dirlist *l)
{
	return l->n;
}

struct dirlist_entry dirlist_at(const struct dirlist *l, size_t i)
{
	return (struct dirlist_entry){l->text + l->v[i].name, l->v[i].ino, l->v[i].cookie,
				      l->v[i].type};
}
