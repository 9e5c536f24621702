/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/hashed.h"

#include <string.h>

#include "cache/store_impl.h"

#define SLOTS 4096u
#define TRIES 8u /* slots that a digest may stand in */

struct hashed_slot {
	uint32_t valid;
	uint32_t unused;
	struct digest digest;
	uint64_t dev, ino, size;
	int64_t mtime_s, mtime_ns;
};

_Static_assert(SLOTS * sizeof(struct hashed_slot) <= STORE_HASHED_LEN, "the table");

void hashed_init(struct hashed *h)
{
	lock_init(&h->lock);
	h->slots = NULL;
}

void hashed_release(struct hashed *h)
{
	lock_release(&h->lock);
}

void hashed_use(struct hashed *h, void *memory)
{
	lock_take(&h->lock);
	h->slots = memory;
	lock_drop(&h->lock);
}

/* The k-th slot that a digest may stand in: digests are random already. */
static struct hashed_slot *slot_of(struct hashed *h, const struct digest *d, uint32_t k)
    REQUIRES(h->lock)
{
	uint32_t first;
	memcpy(&first, d->bytes, sizeof(first));
	return &h->slots[(first + k) % SLOTS];
}

static struct hashed_slot *find(struct hashed *h, const struct digest *d) REQUIRES(h->lock)
{
	for (uint32_t k = 0; h->slots != NULL && k < TRIES; k++) {
		struct hashed_slot *s = slot_of(h, d, k);
		if (s->valid != 0 && digest_equal(&s->digest, d))
			return s;
	}
	return NULL;
}

/* Where a new one goes: over any other if need be. */
static struct hashed_slot *place(struct hashed *h, const struct digest *d) REQUIRES(h->lock)
{
	struct hashed_slot *s = find(h, d);
	for (uint32_t k = 0; s == NULL && k < TRIES; k++) {
		if (slot_of(h, d, k)->valid == 0)
			s = slot_of(h, d, k);
	}
	return s != NULL ? s : slot_of(h, d, d->bytes[sizeof(uint32_t)] % TRIES);
}

static void fill(struct hashed_slot *s, const struct digest *d, const struct file_id *id)
{
	__atomic_store_n(&s->valid, 0, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	s->digest = *d;
	s->dev = id->dev;
	s->ino = id->ino;
	s->size = id->size;
	s->mtime_s = id->mtime.tv_sec;
	s->mtime_ns = id->mtime.tv_nsec;
	__atomic_store_n(&s->valid, 1, __ATOMIC_RELEASE);
}

void hashed_put(struct hashed *h, const struct digest *d, const struct file_id *id)
{
	lock_take(&h->lock);
	struct hashed_slot *s = h->slots != NULL ? place(h, d) : NULL;
	if (s != NULL)
		fill(s, d, id);
	lock_drop(&h->lock);
}
bool hashed_find(struct hashed *h, const struct digest *d, struct file_id *ret)
{
	lock_take(&h->lock);
	const struct hashed_slot *s = find(h, d);
	if (s != NULL)
		*ret = (struct file_id){
		    .dev = (dev_t)s->dev,
		    .ino = (ino_t)s->ino,
		    .size = s->size,
		    .mtime = {.tv_sec = (time_t)s->mtime_s, .tv_nsec = (long)s->mtime_ns}};
	lock_drop(&h->lock);
	return s != NULL;
}
