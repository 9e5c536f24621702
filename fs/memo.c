/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/memo.h"

#include <errno.h>
#include <string.h>

/* uthash's usual one falls through its switch, which clang warns of. */
#define HASH_FUNCTION HASH_OAT
#include <uthash.h>

#include "base/lock.h"

struct entry {
	UT_hash_handle hh; /* uthash keeps the order of insertion: the first is the oldest */
	size_t key_len;
	size_t weight;
	struct entry *gone; /* memo_drop_where: the next one that goes */
	char *key;
	char bytes[]; /* the value, then the key */
};

struct memo {
	struct memo_type type;
	struct lock lock;
	struct entry *table; /* guarded by lock */
	size_t weight;       /* guarded by lock: of all entries */
};

int memo_new(const struct memo_type *type, struct memo **ret)
{
	ASSERT(type->value_size <= MEMO_VALUE_MAX && type->max > 0);
	struct memo *m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->type = *type;
	lock_init(&m->lock);
	*ret = m;
	return 0;
}

static void entry_free(struct memo *m, struct entry *e)
{
	if (!e)
		return;
	if (m->type.release)
		m->type.release(e->bytes);
	free(e);
}

void memo_free(struct memo *m)
{
	if (!m)
		return;
	struct entry *e, *tmp;
	HASH_ITER(hh, m->table, e, tmp)
	{
		HASH_DEL(m->table, e);
		entry_free(m, e);
	}
	lock_release(&m->lock);
	free(m);
}

static void remove(struct memo *m, struct entry *e) REQUIRES(m->lock)
{
	HASH_DEL(m->table, e);
	m->weight -= e->weight;
}

static struct entry *take(struct memo *m, const void *key, size_t key_len) REQUIRES(m->lock)
{
	struct entry *e;
	HASH_FIND(hh, m->table, key, key_len, e);
	if (e)
		remove(m, e);
	return e;
}

/* Puts it in as the youngest; false: no memory. */
static bool insert(struct memo *m, struct entry *e) REQUIRES(m->lock)
{
	HASH_ADD_KEYPTR(hh, m->table, e->key, e->key_len, e);
	if (!e->hh.tbl)
		return false;
	m->weight += e->weight;
	return true;
}

/* Of more than there may be, the oldest; never the youngest. */
static struct entry *surplus(struct memo *m) REQUIRES(m->lock)
{
	struct entry *oldest = m->table;
	unsigned n = HASH_COUNT(m->table);
	if (n < 2 || (n <= m->type.max && m->weight <= m->type.bytes_max))
		return NULL;
	remove(m, oldest);
	return oldest;
}

bool memo_get(struct memo *m, const void *key, size_t key_len, void *ret_value)
{
	struct entry *lost = NULL;
	lock_take(&m->lock);
	struct entry *e = take(m, key, key_len);
	if (e) {
		memcpy(ret_value, e->bytes, m->type.value_size);
		if (m->type.retain)
			m->type.retain(ret_value);
		if (!insert(m, e))
			lost = e;
	}
	lock_drop(&m->lock);
	entry_free(m, lost);
	return e != NULL;
}

static void trim(struct memo *m)
{
	struct entry *old;
	do {
		lock_take(&m->lock);
		old = surplus(m);
		lock_drop(&m->lock);
		entry_free(m, old);
	} while (old);
}

void memo_put(struct memo *m, const void *key, size_t key_len, const void *value)
{
	struct entry *e = calloc(1, sizeof(*e) + m->type.value_size + key_len);
	if (!e) {
		memo_drop(m, key, key_len);
		return;
	}
	memcpy(e->bytes, value, m->type.value_size);
	e->key = e->bytes + m->type.value_size;
	e->key_len = key_len;
	memcpy(e->key, key, key_len);
	e->weight = m->type.bytes ? m->type.bytes(value) : 0;
	if (m->type.retain)
		m->type.retain(e->bytes);

	lock_take(&m->lock);
	struct entry *before = take(m, key, key_len);
	bool kept = insert(m, e);
	lock_drop(&m->lock);
	entry_free(m, before);
	if (!kept)
		entry_free(m, e);
	trim(m);
}

void memo_drop(struct memo *m, const void *key, size_t key_len)
{
	lock_take(&m->lock);
	struct entry *e = take(m, key, key_len);
	lock_drop(&m->lock);
	entry_free(m, e);
}

void memo_drop_where(struct memo *m, memo_fn is, void *ctx)
{
	struct entry *e, *next, *gone = NULL;
	lock_take(&m->lock);
	HASH_ITER(hh, m->table, e, next)
	{
		if (!is(ctx, e->key, e->key_len, e->bytes))
			continue;
		remove(m, e);
		e->gone = gone;
		gone = e;
	}
	lock_drop(&m->lock);
	while (gone) {
		e = gone;
		gone = e->gone;
		entry_free(m, e);
	}
}
