/* SPDX-License-Identifier: Apache-2.0 */
/* Open files: each has a handle, which stands for one OPEN that was answered. */
#include <errno.h>
#include <string.h>

#include "fs/nodes_impl.h"

uint64_t handle_fh(uint32_t slot, const struct handle *h)
{
	return (uint64_t)h->generation << 32 | slot;
}

struct handle *handle_at(const struct nodes *n, uint32_t slot)
{
	struct handle *h;

	if (slot == 0 || slot > UINT32_MAX / SLOT_GRANULES)
		return NULL;
	h = arena_at(n->arena, ARENA_HANDLE, slot * SLOT_GRANULES);
	return h && h->kind > HANDLE_FREE && h->kind < HANDLE_KIND_COUNT ? h : NULL;
}

static struct handle *handle_of(const struct nodes *n, uint64_t fh, enum handle_kind kind)
{
	struct handle *h = handle_at(n, (uint32_t)fh);

	return h && h->kind == kind && h->generation == fh >> 32 ? h : NULL;
}

static int handle_make(struct nodes *n, const struct handle *as, uint64_t *ret_fh)
{
	uint32_t block;
	int r = arena_get(n->arena, ARENA_HANDLE, &block);

	if (r < 0)
		return r;
	struct handle *h = arena_at(n->arena, ARENA_HANDLE, block);
	/* What an earlier one left there does not count: its kind was taken away first. */
	memcpy(&h->generation, &as->generation, sizeof(*h) - offsetof(struct handle, generation));
	h->generation = ++n->table->generation;
	h->unique = as->unique & ~NODE_UNIQUE_RESENT;
	__atomic_store_n(&h->kind, as->kind, __ATOMIC_RELEASE);
	n->table->handles++;
	*ret_fh = handle_fh(block / SLOT_GRANULES, h);
	return 0;
}

static void handle_free(struct nodes *n, uint64_t fh)
{
	struct handle *h = handle_at(n, (uint32_t)fh);

	__atomic_store_n(&h->kind, HANDLE_FREE, __ATOMIC_RELEASE);
	n->table->handles--;
	arena_put(n->arena, ARENA_HANDLE, (uint32_t)fh * SLOT_GRANULES);
}

static void say(uint64_t fh, uint64_t id, const struct record *rec, struct node_open *ret)
{
	*ret = (struct node_open){.fh = fh,
				  .node = id,
				  .mode = rec->open_mode,
				  .backing_id = rec->backing_id,
				  .opens = rec->opens};
}

static struct handle handle_as(enum handle_kind kind, uint64_t unique, const struct digest *d)
{
	struct handle as = {.kind = kind, .unique = unique, .digest_alg = d->alg};

	memcpy(as.digest, d->bytes, sizeof(as.digest));
	return as;
}

/* One open more, of a record whose mode stands. */
static int open_one(struct nodes *n, uint64_t id, struct record *rec, uint64_t unique,
		    const struct node_served *served, struct node_open *ret)
{
	struct handle as = handle_as(HANDLE_CONTENT, unique, &served->digest);
	uint64_t fh;

	as.node = id;
	as.at = served->at;
	int r = handle_make(n, &as, &fh);

	if (r < 0)
		return r;
	rec->opens++;
	say(fh, id, rec, ret);
	return 0;
}

int node_open_get(struct nodes *n, uint64_t id, uint64_t unique, const struct node_served *served,
		  struct node_open *ret)
{
	int r = -ESTALE;

	lock_take(&n->mu);
	struct record *rec = record_of(n, id);
	if (rec)
		r = rec->opens == 0 ? -ENOENT : open_one(n, id, rec, unique, served, ret);
	lock_drop(&n->mu);
	return r;
}

int node_open_set(struct nodes *n, uint64_t id, uint64_t unique, const struct node_served *served,
		  enum node_open_mode mode, int32_t backing_id, struct node_open *ret)
{
	int r = -ESTALE;

	lock_take(&n->mu);
	struct record *rec = record_of(n, id);
	if (rec && rec->opens > 0)
		r = -EBUSY;
	if (rec && rec->opens == 0) {
		rec->open_mode = (uint8_t)mode;
		rec->backing_id = backing_id;
		if (backing_id > n->table->backing_high)
			n->table->backing_high = backing_id;
		r = open_one(n, id, rec, unique, served, ret);
	}
	lock_drop(&n->mu);
	return r;
}

static int put(struct nodes *n, uint64_t fh, struct node_open *ret) REQUIRES(n->mu)
{
	const struct handle *h = handle_of(n, fh, HANDLE_CONTENT);
	struct record *rec = h ? record_of(n, h->node) : NULL;

	if (!rec || rec->opens == 0)
		return -ESTALE;
	uint64_t id = h->node;
	handle_free(n, fh);
	rec->opens--;
	say(fh, id, rec, ret);
	record_release(n, (uint32_t)id);
	return 0;
}

int node_open_put(struct nodes *n, uint64_t fh, struct node_open *ret)
{
	lock_take(&n->mu);
	int r = put(n, fh, ret);
	lock_drop(&n->mu);
	return r;
}

void node_open_spoil(struct nodes *n, uint64_t id)
{
	lock_take(&n->mu);
	struct record *rec = record_of(n, id);
	if (rec && rec->opens > 0)
		rec->open_mode = NODE_OPEN_SPOILED;
	lock_drop(&n->mu);
}

bool node_open_is_spoiled(struct nodes *n, uint64_t id)
{
	lock_take(&n->mu);
	const struct record *rec = record_of(n, id);
	bool spoiled = rec && rec->opens > 0 && rec->open_mode == NODE_OPEN_SPOILED;
	lock_drop(&n->mu);
	return spoiled;
}

int node_open_undo(struct nodes *n, uint64_t unique, struct node_open *ret)
{
	int r = -ENOENT;

	if ((unique & NODE_UNIQUE_RESENT) == 0)
		return r;
	lock_take(&n->mu);
	uint64_t fh = befores_take(&n->opened, unique & ~NODE_UNIQUE_RESENT);
	if (handle_of(n, fh, HANDLE_MADE))
		handle_free(n, fh);
	else if (fh != 0)
		r = put(n, fh, ret);
	lock_drop(&n->mu);
	return r;
}

void nodes_each_open(struct nodes *n, node_open_fn fn, void *ctx)
{
	uint32_t block = 0;

	lock_take(&n->mu);
	while ((block = arena_next(n->arena, ARENA_HANDLE, block)) != 0) {
		uint32_t slot = block / SLOT_GRANULES;
		const struct handle *h = handle_at(n, slot);
		const struct record *rec =
		    h && h->kind == HANDLE_CONTENT ? record_of(n, h->node) : NULL;
		struct node node;
		struct node_open open = {.fh = h ? handle_fh(slot, h) : 0};
		struct node_served served;

		if (!h || (h->kind == HANDLE_CONTENT && !rec))
			continue;
		digest_restore(h->digest_alg, h->digest, &served.digest);
		served.at = h->at;
		if (rec && record_copy(n, (uint32_t)h->node, rec, &node) < 0)
			continue;
		if (rec)
			say(open.fh, h->node, rec, &open);
		fn(ctx, rec ? &node : NULL, &open, &served);
	}
	lock_drop(&n->mu);
}

int32_t nodes_backing_high(struct nodes *n)
{
	lock_take(&n->mu);
	int32_t high = n->table->backing_high;
	lock_drop(&n->mu);
	return high;
}

int node_made_open(struct nodes *n, uint64_t unique, const struct digest *d, uint64_t *ret_fh)
{
	struct handle as = handle_as(HANDLE_MADE, unique, d);

	lock_take(&n->mu);
	int r = handle_make(n, &as, ret_fh);
	lock_drop(&n->mu);
	return r;
}

int node_made_read(struct nodes *n, uint64_t fh, struct digest *ret)
{
	int r = -ESTALE;

	lock_take(&n->mu);
	const struct handle *h = handle_of(n, fh, HANDLE_MADE);
	if (h) {
		digest_restore(h->digest_alg, h->digest, ret);
		r = digest_is_set(ret) ? 0 : -ESTALE;
	}
	lock_drop(&n->mu);
	return r;
}

void node_made_close(struct nodes *n, uint64_t fh)
{
	lock_take(&n->mu);
	if (handle_of(n, fh, HANDLE_MADE))
		handle_free(n, fh);
	lock_drop(&n->mu);
}
