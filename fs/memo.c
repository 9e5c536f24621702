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
	char *key;
	char bytes[]; /* the value, then the key */
};

struct memo {
	struct memo_type type;
	struct lock lock;
	struct entry *table; /* guarded by lock */
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

/* Takes it out. */
static struct entry *take(struct memo *m, const void *key, size_t key_len) REQUIRES(m->lock)
{
	struct entry *e;
	HASH_FIND(hh, m->table, key, key_len, e);
	if (e)
		HASH_DEL(m->table, e);
	return e;
}

/* Puts it in as the youngest; false: no memory. */
static bool insert(struct memo *m, struct entry *e) REQUIRES(m->lock)
{
	HASH_ADD_KEYPTR(hh, m->table, e->key, e->key_len, e);
	return e->hh.tbl != NULL;
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
	if (m->type.retain)
		m->type.retain(e->bytes);

	struct entry *lost = NULL, *oldest = NULL;
	lock_take(&m->lock);
	struct entry *before = take(m, key, key_len);
	if (!before && HASH_COUNT(m->table) >= m->type.max) {
		oldest = m->table;
		HASH_DEL(m->table, oldest);
	}
	if (!insert(m, e))
		lost = e;
	lock_drop(&m->lock);
	entry_free(m, before);
	entry_free(m, oldest);
	entry_free(m, lost);
}

void memo_drop(struct memo *m, const void *key, size_t key_len)
{
	lock_take(&m->lock);
	struct entry *e = take(m, key, key_len);
	lock_drop(&m->lock);
	entry_free(m, e);
}
