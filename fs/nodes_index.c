/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/random.h>

#include "fs/nodes_impl.h"
#include "fs/siphash.h"

#define CHAIN_MAX (1u << 16) /* no honest chain is as long */

static uint32_t bucket_of(const struct table *t, uint32_t hash)
{
	/* Of the two powers of two around it, the upper, where it is split already. */
	uint32_t low = 1u << (31 - __builtin_clz(t->buckets));
	uint32_t bucket = hash & (low * 2 - 1);

	return bucket < t->buckets ? bucket : hash & (low - 1);
}

static uint32_t *bucket_at(const struct nodes *n, uint32_t hash)
{
	return &arena_table(n->arena)[bucket_of(n->table, hash)];
}

static void index_add(struct nodes *n, uint32_t slot, struct record *rec)
{
	uint32_t *bucket = bucket_at(n, rec->hash);

	rec->next = *bucket;
	*bucket = slot;
}

/* Splits one bucket. Without memory for it, chains grow longer, no more. */
static void index_grow(struct nodes *n)
{
	struct table *t = n->table;
	uint32_t half = 1u << (31 - __builtin_clz(t->buckets));
	uint32_t *from = &arena_table(n->arena)[t->buckets - half];
	uint32_t slot = *from;
	struct record *rec;

	if (t->buckets >= NODES_MAX || arena_table_grow(n->arena, t->buckets + 1) < 0)
		return;
	t->buckets++;
	*from = 0;
	for (uint32_t i = 0; i < CHAIN_MAX && (rec = record_at(n, slot)); i++) {
		uint32_t next = rec->next;

		index_add(n, slot, rec);
		slot = next;
	}
}

/* Merges the last bucket into the one that it was split from. */
static void index_shrink(struct nodes *n)
{
	struct table *t = n->table;
	uint32_t *last = &arena_table(n->arena)[t->buckets - 1];
	uint32_t slot = *last;
	struct record *rec;

	if (t->buckets <= INDEX_BUCKETS_MIN)
		return;
	*last = 0;
	t->buckets--;
	for (uint32_t i = 0; i < CHAIN_MAX && (rec = record_at(n, slot)); i++) {
		uint32_t next = rec->next;

		index_add(n, slot, rec);
		slot = next;
	}
	if (t->buckets % (ARENA_PAGE / sizeof(*last)) == 0)
		arena_table_shrink(n->arena, t->buckets);
}

void index_insert(struct nodes *n, uint32_t slot, struct record *rec)
{
	index_add(n, slot, rec);
	n->table->indexed++;
	if (n->table->indexed > n->table->buckets)
		index_grow(n);
}

void index_remove(struct nodes *n, uint32_t slot, const struct record *rec)
{
	uint32_t *link = bucket_at(n, rec->hash);
	struct record *at;

	for (uint32_t i = 0; i < CHAIN_MAX && *link != slot; i++) {
		at = record_at(n, *link);
		if (!at)
			return;
		link = &at->next;
	}
	if (*link != slot)
		return;
	*link = rec->next;
	n->table->indexed--;
	/* Two for one, or the buckets would never catch up with the nodes. */
	for (int i = 0; i < 2 && n->table->indexed < n->table->buckets / 2; i++)
		index_shrink(n);
}

uint32_t index_hash(const struct nodes *n, const struct node_key *key)
{
	unsigned char bytes[16 + NAME_MAX + 1];
	size_t len = 0;
	uint32_t kind = key->kind;

	memcpy(bytes, &kind, sizeof(kind));
	len += sizeof(kind);
	if (node_kind_is_content(key->kind)) {
		memcpy(bytes + len, &key->size, sizeof(key->size));
		len += sizeof(key->size);
		memcpy(bytes + len, key->digest->bytes, key->digest->len);
		len += key->digest->len;
		memcpy(bytes + len, &key->mode, sizeof(key->mode));
		len += sizeof(key->mode);
	} else {
		memcpy(bytes + len, &key->parent, sizeof(key->parent));
		len += sizeof(key->parent);
		memcpy(bytes + len, key->name, key->name_len);
		len += key->name_len;
	}
	return (uint32_t)siphash(n->table->hash_key, bytes, len);
}

static bool key_equals(const struct nodes *n, const struct node_key *key, const struct record *rec)
{
	struct digest digest;

	if (rec->kind != key->kind)
		return false;
	if (node_kind_is_content(key->kind)) {
		record_digest(rec, &digest);
		return rec->size == key->size && rec->mode == key->mode &&
		       digest_equal(&digest, key->digest);
	}
	const char *text = record_text(n, rec);
	return text && rec->parent == (uint32_t)key->parent && rec->text_len == key->name_len &&
	       memcmp(text, key->name, key->name_len) == 0;
}

uint32_t index_find(const struct nodes *n, const struct node_key *key, uint32_t hash)
{
	uint32_t slot = *bucket_at(n, hash);
	const struct record *rec;

	for (uint32_t i = 0; i < CHAIN_MAX && (rec = record_at(n, slot)); i++) {
		if (rec->hash == hash && key_equals(n, key, rec))
			return slot;
		slot = rec->next;
	}
	return 0;
}

int index_init(struct nodes *n)
{
	struct table *t = n->table;
	int r = arena_table_grow(n->arena, INDEX_BUCKETS_MIN);

	if (r < 0)
		return r;
	t->buckets = INDEX_BUCKETS_MIN;
	return getrandom(t->hash_key, sizeof(t->hash_key), 0) < 0 ? -errno : 0;
}

int index_reset(struct nodes *n, uint32_t nodes)
{
	struct table *t = n->table;
	uint32_t buckets = nodes < INDEX_BUCKETS_MIN ? INDEX_BUCKETS_MIN : nodes;

	if (buckets > NODES_MAX)
		buckets = NODES_MAX;
	arena_table_shrink(n->arena, 0);
	for (uint32_t i = 1; i <= buckets; i += ARENA_PAGE / sizeof(uint32_t)) {
		int r = arena_table_grow(n->arena, i);

		if (r < 0)
			return r;
	}
	t->buckets = buckets;
	t->indexed = 0;
	return 0;
}

bool index_is_valid(const struct nodes *n)
{
	return n->table->buckets >= INDEX_BUCKETS_MIN && n->table->buckets <= NODES_MAX;
}
