/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/small_members.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "fs/backing.h"
#include "fs/unpacked.h"

static int compare(const struct small_member *m, const uint8_t *sha256, uint64_t size)
{
	int r = memcmp(m->sha256, sha256, sizeof(m->sha256));
	return r != 0 ? r : (m->size > size) - (m->size < size);
}

/* In the order of the index, which is that of digests. */
static void take_all(struct small_members *ret, const struct tar_index *ix)
{
	for (size_t i = 0; i < ix->files; i++) {
		const struct tar_member *m = &ix->v[ix->by_digest[i]];
		struct digest d = tar_index_digest(m);
		uint64_t at;
		if (m->size > BACKING_MIN || !unpacked_in_one_piece(m, &at))
			continue;
		if (ret->n > 0 && compare(&ret->v[ret->n - 1], d.bytes, m->size) == 0)
			continue;
		struct small_member *new = &ret->v[ret->n++];
		memcpy(new->sha256, d.bytes, sizeof(new->sha256));
		new->size = m->size;
		new->at = at;
	}
}

int small_members_new(const struct unpacked *u, struct small_members **ret)
{
	ASSERT(tar_index_is_complete(u->index));
	struct small_members *m = malloc(sizeof(*m) + u->index->files * sizeof(m->v[0]));
	if (m == NULL)
		return -ENOMEM;
	m->layer = u->layer;
	m->tar = u->tar;
	m->n = 0;
	atomic_init(&m->refs, 1);
	take_all(m, u->index);
	/* Most layers hold much that is equal or large. */
	struct small_members *less = realloc(m, small_members_bytes(m));
	*ret = less != NULL ? less : m;
	return 0;
}

struct small_members *small_members_ref(struct small_members *m)
{
	atomic_fetch_add(&m->refs, 1);
	return m;
}

void small_members_unref(struct small_members *m)
{
	if (m != NULL && atomic_fetch_sub(&m->refs, 1) == 1)
		free(m);
}

size_t small_members_bytes(const struct small_members *m)
{
	return sizeof(*m) + m->n * sizeof(m->v[0]);
}

bool small_members_find(const struct small_members *m, const struct digest *d, uint64_t size,
			uint64_t *ret_at)
{
	size_t low = 0, high = m->n;
	if (d->alg != DIGEST_SHA256)
		return false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (compare(&m->v[mid], d->bytes, size) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == m->n || compare(&m->v[low], d->bytes, size) != 0)
		return false;
	*ret_at = m->v[low].at;
	return true;
}
