/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a table whole again that a process left at any instruction: from the records and
 * handles in use, all the rest (fs/nodes_impl.h). Bytes there are not trusted more than
 * elsewhere: what does not fit together is dropped, and the kernel gets ESTALE for it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/nodes_impl.h"

static int by_unique(const void *a, const void *b)
{
	const struct before *x = a, *y = b;

	return x->unique < y->unique ? -1 : x->unique > y->unique;
}

uint64_t befores_take(struct befores *b, uint64_t unique)
{
	struct before key = {.unique = unique};
	struct before *found =
	    b->n > 0 ? bsearch(&key, b->v, b->n, sizeof(*b->v), by_unique) : NULL;
	uint64_t what = found ? found->what : 0;

	if (found)
		found->what = 0;
	return what;
}

void befores_release(struct befores *b)
{
	free(b->v);
	*b = (struct befores){0};
}

static uint32_t next_slot(const struct nodes *n, enum arena_class class, uint32_t slot)
{
	return arena_next(n->arena, class, slot * SLOT_GRANULES) / SLOT_GRANULES;
}

/* Blocks of records that count, with nothing yet that follows from others. */
static void repair_records(struct nodes *n)
{
	struct table *t = n->table;

	t->nodes = 0;
	t->lookups = 0;
	for (uint32_t slot = 0; (slot = next_slot(n, ARENA_RECORD, slot)) != 0;) {
		struct record *rec = record_at(n, slot);

		if (!rec || !record_text(n, rec)) {
			if (rec)
				__atomic_store_n(&rec->kind, NODE_FREE, __ATOMIC_RELEASE);
			arena_put(n->arena, ARENA_RECORD, slot * SLOT_GRANULES);
			continue;
		}
		rec->children = rec->opens = rec->next = 0;
		t->lookups += rec->lookups;
		t->nodes++;
	}
}

static void drop_handle(struct nodes *n, uint32_t slot)
{
	struct handle *h = handle_at(n, slot);

	if (h)
		__atomic_store_n(&h->kind, HANDLE_FREE, __ATOMIC_RELEASE);
	arena_put(n->arena, ARENA_HANDLE, slot * SLOT_GRANULES);
}

static void repair_handles(struct nodes *n)
{
	n->table->handles = 0;
	for (uint32_t slot = 0; (slot = next_slot(n, ARENA_HANDLE, slot)) != 0;) {
		const struct handle *h = handle_at(n, slot);
		struct record *rec = h && h->kind == HANDLE_CONTENT ? record_of(n, h->node) : NULL;

		if (!h || (h->kind == HANDLE_CONTENT && !rec)) {
			drop_handle(n, slot);
			continue;
		}
		if (rec)
			rec->opens++;
		n->table->handles++;
	}
}

static int repair_index(struct nodes *n)
{
	int r = index_reset(n, n->table->nodes);

	for (uint32_t slot = 0; r == 0 && (slot = next_slot(n, ARENA_RECORD, slot)) != 0;) {
		struct record *rec = record_at(n, slot);
		struct record *parent = rec ? record_at(n, rec->parent) : NULL;

		if (rec && parent && !node_kind_is_content(rec->kind))
			parent->children++;
		if (rec && slot != ROOT_SLOT && (rec->flags & RECORD_DETACHED) == 0)
			index_insert(n, slot, rec);
	}
	return r;
}

/* Made, and never counted: or freed, but for the last stores. */
static void release_unheld(struct nodes *n)
{
	for (uint32_t slot = 0; (slot = next_slot(n, ARENA_RECORD, slot)) != 0;)
		record_release(n, slot);
}

/* Frees the blocks of texts that no record names. */
static int repair_texts(struct nodes *n)
{
	size_t bytes = (size_t)ARENA_PAGES * (ARENA_PAGE / ARENA_GRANULE) / 8;
	AUTO_FREE unsigned char *named = calloc(1, bytes);

	if (!named)
		return -ENOMEM;
	for (uint32_t slot = 0; (slot = next_slot(n, ARENA_RECORD, slot)) != 0;) {
		const struct record *rec = record_at(n, slot);

		if (rec && rec->text / 8 < bytes)
			named[rec->text / 8] |= (unsigned char)(1u << rec->text % 8);
	}
	for (enum arena_class class = ARENA_TEXT_32; class <= ARENA_TEXT_4K; class ++)
		for (uint32_t block = 0; (block = arena_next(n->arena, class, block)) != 0;)
			if ((named[block / 8] >> block % 8 & 1) == 0)
				arena_put(n->arena, class, block);
	return 0;
}

static int remember_opened(struct nodes *n)
{
	struct befores *b = &n->opened;

	b->v = calloc(n->table->handles + 1, sizeof(*b->v));
	if (!b->v)
		return -ENOMEM;
	for (uint32_t slot = 0; (slot = next_slot(n, ARENA_HANDLE, slot)) != 0;) {
		const struct handle *h = handle_at(n, slot);

		if (h && b->n < n->table->handles)
			b->v[b->n++] = (struct before){h->unique, handle_fh(slot, h)};
	}
	qsort(b->v, b->n, sizeof(*b->v), by_unique);
	return 0;
}

static int remember_counted(struct nodes *n)
{
	struct befores *b = &n->counted;

	b->v = calloc(COUNTED_MAX, sizeof(*b->v));
	if (!b->v)
		return -ENOMEM;
	for (size_t i = 0; i < COUNTED_MAX; i++) {
		struct counted *c = &n->table->counted[i];

		if (c->unique != 0)
			b->v[b->n++] = (struct before){c->unique, c->id};
		__atomic_store_n(&c->unique, 0, __ATOMIC_RELEASE);
	}
	qsort(b->v, b->n, sizeof(*b->v), by_unique);
	return 0;
}

int nodes_repair(struct nodes *n)
{
	lock_take(&n->mu);
	arena_repair(n->arena);
	repair_records(n);
	repair_handles(n);
	int r = repair_index(n);
	if (r == 0) {
		release_unheld(n);
		r = repair_texts(n);
	}
	if (r == 0)
		r = remember_opened(n);
	if (r == 0)
		r = remember_counted(n);
	lock_drop(&n->mu);
	return r;
}
