/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/nodes_impl.h"

bool node_kind_is_content(enum node_kind kind)
{
	return kind == NODE_CONTENT || kind == NODE_CONTENT_WASM || kind == NODE_CONTENT_MODE ||
	       kind == NODE_MAIN_WASM;
}

uint64_t record_id(uint32_t slot, const struct record *rec)
{
	return (uint64_t)rec->generation << 32 | slot;
}

struct record *record_at(const struct nodes *n, uint32_t slot)
{
	struct record *rec;

	if (slot == 0 || slot > UINT32_MAX / SLOT_GRANULES)
		return NULL;
	rec = arena_at(n->arena, ARENA_RECORD, slot * SLOT_GRANULES);
	return rec && rec->kind > NODE_FREE && rec->kind < NODE_KIND_COUNT ? rec : NULL;
}

struct record *record_of(const struct nodes *n, uint64_t id)
{
	struct record *rec = record_at(n, (uint32_t)id);

	return rec && rec->generation == id >> 32 ? rec : NULL;
}

const char *record_text(const struct nodes *n, const struct record *rec)
{
	if (rec->text_len == 0)
		return "";
	return arena_at(n->arena, arena_text_class(rec->text_len), rec->text);
}

/* Not set: it is none. */
void digest_restore(uint8_t alg, const uint8_t *bytes, struct digest *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (alg != DIGEST_SHA256 && alg != DIGEST_SHA512)
		return;
	ret->alg = alg;
	ret->len = alg == DIGEST_SHA256 ? 32 : 64;
	memcpy(ret->bytes, bytes, ret->len);
}

void record_digest(const struct record *rec, struct digest *ret)
{
	digest_restore(rec->digest_alg, rec->digest, ret);
}

int record_copy(const struct nodes *n, uint32_t slot, const struct record *rec, struct node *ret)
{
	const char *text = record_text(n, rec);
	size_t len = node_kind_is_content(rec->kind) ? 0 : rec->text_len;

	if (!text || len >= sizeof(ret->name))
		return -ESTALE;
	const struct record *parent = record_at(n, rec->parent);
	*ret = (struct node){
	    .id = record_id(slot, rec),
	    .parent = parent ? record_id(rec->parent, parent) : 0,
	    .kind = rec->kind,
	    .size = rec->size,
	    .mode = rec->mode,
	    .several = (rec->flags & RECORD_SEVERAL) != 0,
	};
	record_digest(rec, &ret->digest);
	memcpy(ret->name, text, len);
	return 0;
}

/* What is kept of where content was found. */
static int content_text(const struct node_key *key, char ret[NODE_REPO_MAX])
{
	const char *host = key->host ? key->host : "";
	int len = snprintf(ret, NODE_REPO_MAX, "%s%s%s", host,
			   host[0] ? (char[]){TEXT_HOST_END, 0} : "", key->place ? key->place : "");
	return len < NODE_REPO_MAX ? 0 : -ENAMETOOLONG;
}

static int check_key(const struct nodes *n, const struct node_key *key)
{
	ASSERT(key->kind > NODE_ROOT && key->kind < NODE_KIND_COUNT);
	if (node_kind_is_content(key->kind)) {
		ASSERT(key->digest && digest_is_set(key->digest));
		char text[NODE_REPO_MAX];

		return content_text(key, text);
	}
	ASSERT(key->name);
	if (key->name_len > NAME_MAX)
		return -ENAMETOOLONG;
	return record_of(n, key->parent) ? 0 : -ESTALE;
}

static int text_store(struct nodes *n, const char *text, size_t len, uint32_t *ret)
{
	enum arena_class class = arena_text_class(len);
	int r;

	*ret = 0;
	if (len == 0)
		return 0;
	r = arena_get(n->arena, class, ret);
	if (r == 0)
		memcpy(arena_at(n->arena, class, *ret), text, len);
	return r;
}

/* Both in one store: a process that takes over must not find the one without the other. */
static void record_set_text(struct record *rec, uint32_t text, uint16_t len)
{
	struct {
		uint32_t text;
		uint16_t len;
		uint8_t alg, flags;
	} word = {text, len, rec->digest_alg, rec->flags};
	uint64_t as_one;

	memcpy(&as_one, &word, sizeof(as_one));
	__atomic_store_n((uint64_t *)(void *)&rec->text, as_one, __ATOMIC_RELEASE);
}

/* Where content was found last. Without memory, the one before
 * it stays: it was true too. */
static void update_place(struct nodes *n, struct record *rec, const struct node_key *key)
{
	char place[NODE_REPO_MAX];

	if (content_text(key, place) < 0)
		return;
	const char *old = record_text(n, rec);
	size_t len = strlen(place);
	uint32_t old_text = rec->text, text;
	uint16_t old_len = rec->text_len;

	if (old && old_len == len && memcmp(old, place, len) == 0)
		return;
	if (text_store(n, place, len, &text) < 0)
		return;
	/* Host and repository: the first word. */
	size_t word = strcspn(place, " ");
	if (old && old_len > 0 &&
	    (old_len < word || memcmp(old, place, word) != 0 ||
	     (old_len > word && old[word] != ' ')))
		rec->flags |= RECORD_SEVERAL;
	record_set_text(rec, text, (uint16_t)len);
	arena_put(n->arena, arena_text_class(old_len), old_text);
}

/* A block for a record, its slot, and the name's block. */
static int get_blocks(struct nodes *n, const char *text, size_t len, uint32_t *ret_slot,
		      uint32_t *ret_text)
{
	uint32_t block;
	int r = text_store(n, text, len, ret_text);

	if (r < 0)
		return r;
	r = arena_get(n->arena, ARENA_RECORD, &block);
	if (r < 0) {
		arena_put(n->arena, arena_text_class(len), *ret_text);
		return r;
	}
	*ret_slot = block / SLOT_GRANULES;
	return 0;
}

static int make(struct nodes *n, const struct node_key *key, uint32_t hash, uint32_t *ret)
{
	bool content = node_kind_is_content(key->kind);
	char where[NODE_REPO_MAX];
	const char *text = content ? where : key->name;
	uint32_t slot, block;
	struct record *parent = content ? NULL : record_of(n, key->parent);
	int r;

	if (n->table->nodes >= NODES_MAX)
		return -ENFILE;
	r = content ? content_text(key, where) : 0;
	if (r < 0)
		return r;
	size_t len = content ? strlen(text) : key->name_len;
	r = get_blocks(n, text, len, &slot, &block);
	if (r < 0)
		return r;
	struct record *rec = arena_at(n->arena, ARENA_RECORD, slot * SLOT_GRANULES);
	memset(rec, 0, sizeof(*rec));
	rec->generation = ++n->table->generation;
	rec->size = content ? key->size : 0;
	rec->mode = content ? key->mode : 0;
	rec->parent = content ? 0 : (uint32_t)key->parent;
	rec->hash = hash;
	rec->text = block;
	rec->text_len = (uint16_t)len;
	if (key->digest) {
		rec->digest_alg = key->digest->alg;
		memcpy(rec->digest, key->digest->bytes, sizeof(rec->digest));
	}
	__atomic_store_n(&rec->kind, key->kind, __ATOMIC_RELEASE);
	if (parent)
		parent->children++;
	n->table->nodes++;
	index_insert(n, slot, rec);
	*ret = slot;
	return 0;
}

static void discard(struct nodes *n, uint32_t slot, struct record *rec)
{
	enum arena_class text_class = arena_text_class(rec->text_len);
	uint32_t text = rec->text;
	struct record *parent = record_at(n, rec->parent);

	if ((rec->flags & RECORD_DETACHED) == 0)
		index_remove(n, slot, rec);
	__atomic_store_n(&rec->kind, NODE_FREE, __ATOMIC_RELEASE);
	if (parent && parent->children > 0)
		parent->children--;
	n->table->nodes--;
	arena_put(n->arena, text_class, text);
	arena_put(n->arena, ARENA_RECORD, slot * SLOT_GRANULES);
}

void record_release(struct nodes *n, uint32_t slot)
{
	struct record *rec;

	while (slot != ROOT_SLOT && (rec = record_at(n, slot)) && rec->lookups == 0 &&
	       rec->children == 0 && rec->opens == 0) {
		uint32_t parent = rec->parent;

		discard(n, slot, rec);
		slot = parent;
	}
}

/* Counted first, remembered then: a process that ends in between leaves a count too
 * high, never one too low. */
static void count_lookup(struct nodes *n, uint32_t slot, uint64_t unique)
{
	struct record *rec = record_at(n, slot);
	struct counted *free_one = NULL;

	__atomic_store_n(&rec->lookups, rec->lookups + 1, __ATOMIC_RELEASE);
	n->table->lookups++;
	for (size_t i = 0; unique != 0 && !free_one && i < COUNTED_MAX; i++)
		if (n->table->counted[i].unique == 0)
			free_one = &n->table->counted[i];
	if (!free_one)
		return;
	free_one->id = record_id(slot, rec);
	__atomic_store_n(&free_one->unique, unique & ~NODE_UNIQUE_RESENT, __ATOMIC_RELEASE);
}

static void uncount(struct nodes *n, uint64_t id, uint64_t count)
{
	struct record *rec = record_of(n, id);

	if (!rec || (uint32_t)id == ROOT_SLOT)
		return;
	/* Counts may have drifted: what was in flight when a process died. */
	uint64_t less = count < rec->lookups ? count : rec->lookups;

	rec->lookups -= less;
	n->table->lookups -= less;
	record_release(n, (uint32_t)id);
}

/* What the process before counted for this very request did not arrive. */
static void take_back(struct nodes *n, uint64_t unique)
{
	if ((unique & NODE_UNIQUE_RESENT) == 0)
		return;
	uint64_t id = befores_take(&n->counted, unique & ~NODE_UNIQUE_RESENT);
	if (id != 0)
		uncount(n, id, 1);
}

int node_get(struct nodes *n, const struct node_key *key, uint64_t unique, struct node *ret)
{
	uint32_t hash, slot;
	int r;

	lock_take(&n->mu);
	r = check_key(n, key);
	if (r < 0)
		goto out;
	hash = index_hash(n, key);
	slot = index_find(n, key, hash);
	if (slot == 0)
		r = make(n, key, hash, &slot);
	else if (key->place && node_kind_is_content(key->kind))
		update_place(n, record_at(n, slot), key);
	if (r < 0)
		goto out;
	r = record_copy(n, slot, record_at(n, slot), ret);
	if (r == 0)
		count_lookup(n, slot, unique);
	/* Not before: the node might go with it, and come again as another one. */
	take_back(n, unique);
out:
	lock_drop(&n->mu);
	return r;
}

void node_answered(struct nodes *n, uint64_t unique)
{
	lock_take(&n->mu);
	for (size_t i = 0; i < COUNTED_MAX; i++) {
		struct counted *c = &n->table->counted[i];

		if (c->unique == (unique & ~NODE_UNIQUE_RESENT))
			__atomic_store_n(&c->unique, 0, __ATOMIC_RELEASE);
	}
	lock_drop(&n->mu);
}

int node_find(struct nodes *n, const struct node_key *key, struct node *ret)
{
	uint32_t slot;
	int r;

	lock_take(&n->mu);
	r = check_key(n, key);
	if (r == 0) {
		slot = index_find(n, key, index_hash(n, key));
		r = slot == 0 ? -ENOENT : record_copy(n, slot, record_at(n, slot), ret);
	}
	lock_drop(&n->mu);
	return r == -ESTALE ? -ENOENT : r;
}

void node_forget(struct nodes *n, uint64_t id, uint64_t count)
{
	lock_take(&n->mu);
	uncount(n, id, count);
	lock_drop(&n->mu);
}

void node_detach(struct nodes *n, uint64_t id)
{
	struct record *rec;

	lock_take(&n->mu);
	rec = record_of(n, id);
	if (rec && (uint32_t)id != ROOT_SLOT && (rec->flags & RECORD_DETACHED) == 0) {
		rec->flags |= RECORD_DETACHED;
		index_remove(n, (uint32_t)id, rec);
	}
	lock_drop(&n->mu);
}

int node_bind(struct nodes *n, uint64_t id, const struct digest *d)
{
	struct digest bound;
	struct record *rec;
	int r = 0;

	lock_take(&n->mu);
	rec = record_of(n, id);
	if (!rec) {
		r = -ESTALE;
	} else if (rec->kind != NODE_TAG) {
		r = -EINVAL;
	} else if (rec->digest_alg == 0) {
		memcpy(rec->digest, d->bytes, sizeof(rec->digest));
		__atomic_store_n(&rec->digest_alg, d->alg, __ATOMIC_RELEASE);
	} else {
		record_digest(rec, &bound);
		r = digest_equal(&bound, d) ? 0 : -EEXIST;
	}
	lock_drop(&n->mu);
	return r;
}

int node_read(struct nodes *n, uint64_t id, struct node *ret)
{
	const struct record *rec;
	int r;

	lock_take(&n->mu);
	rec = record_of(n, id);
	r = rec ? record_copy(n, (uint32_t)id, rec, ret) : -ESTALE;
	lock_drop(&n->mu);
	return r;
}

void nodes_usage(struct nodes *n, struct nodes_usage *ret)
{
	lock_take(&n->mu);
	ret->nodes = n->table->nodes;
	ret->lookups = n->table->lookups;
	ret->handles = n->table->handles;
	ret->bytes = arena_bytes(n->arena);
	lock_drop(&n->mu);
}

static int nodes_wrap(struct arena *arena, struct nodes **ret, struct err *err)
{
	struct nodes *n = calloc(1, sizeof(*n));

	if (!n) {
		arena_free(arena);
		return err_set(err, -ENOMEM, "no memory for the table of nodes");
	}
	lock_init(&n->mu);
	n->arena = arena;
	n->table = arena_user(arena);
	*ret = n;
	return 0;
}

/* Block 0, and so slot 0, is none; the root's is 1, as the kernel wants it. */
static int make_root(struct nodes *n)
{
	uint32_t zero = 0, root = 0;
	int r = index_init(n);

	if (r == 0)
		r = arena_get(n->arena, ARENA_RECORD, &zero);
	if (r == 0)
		r = arena_get(n->arena, ARENA_RECORD, &root);
	if (r < 0)
		return r;
	ASSERT(zero == 0 && root == ROOT_SLOT * SLOT_GRANULES);
	n->table->nodes = 1;
	struct record *rec = arena_at(n->arena, ARENA_RECORD, root);
	rec->kind = NODE_ROOT;
	return 0;
}

int nodes_new(struct nodes **ret, struct err *err)
{
	struct arena *arena = NULL;
	struct nodes *n = NULL;
	int r = arena_new(&arena, err);

	if (r == 0)
		r = nodes_wrap(arena, &n, err);
	if (r < 0)
		return r;
	r = make_root(n);
	if (r < 0) {
		nodes_free(n);
		return err_errno(err, r, "cannot start the table of nodes");
	}
	*ret = n;
	return 0;
}

int nodes_attach(int memfd, struct nodes **ret, struct err *err)
{
	struct arena *arena = NULL;
	struct nodes *n = NULL;
	int r = arena_attach(memfd, &arena, err);

	if (r == 0)
		r = nodes_wrap(arena, &n, err);
	if (r < 0)
		return r;
	const struct record *root = record_of(n, ROOT_SLOT);
	if (!index_is_valid(n) || !root || root->kind != NODE_ROOT) {
		nodes_free(n);
		return err_set(err, -EPROTO, "the table of nodes is broken");
	}
	r = nodes_repair(n);
	if (r < 0) {
		nodes_free(n);
		return err_errno(err, r, "the table of nodes cannot be repaired");
	}
	*ret = n;
	return 0;
}

int nodes_fd(const struct nodes *n)
{
	return arena_fd(n->arena);
}

void nodes_free(struct nodes *n)
{
	if (!n)
		return;
	befores_release(&n->opened);
	befores_release(&n->counted);
	arena_free(n->arena);
	lock_release(&n->mu);
	free(n);
}
