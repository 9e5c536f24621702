/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/layers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/lock.h"
#include "fs/flight.h"
#include "fs/memo.h"
#include "fs/rootfs.h"
#include "fs/small_members.h"
#include "fs/unpacked.h"

struct claim {
	struct digest layer;
	LIST_ENTRY(claim) entry;
};

/* As much of the text as a memo takes. */
struct failed {
	int64_t until_ms;
	int code;
	char text[MEMO_VALUE_MAX - sizeof(int) - sizeof(int64_t)];
};

struct layers {
	struct memo *unpacked; /* struct unpacked *, by layer */
	struct memo *members;  /* struct small_members *, by layer */
	struct memo *rootfs;   /* struct rootfs *, by manifest */
	struct memo *diff_ids; /* true, by layer and diff id */
	struct memo *failed;   /* struct failed, by want */
	struct lock lock;
	struct cond given_back;
	LIST_HEAD(, claim) claims; /* guarded by lock */
};

static size_t unpacked_bytes(const void *value)
{
	const struct unpacked *u = *(struct unpacked *const *)value;
	return sizeof(*u) + tar_index_bytes(u->index);
}

static void unpacked_retain(void *value)
{
	unpacked_ref(*(struct unpacked **)value);
}

static void unpacked_release(void *value)
{
	unpacked_unref(*(struct unpacked **)value);
}

static size_t members_bytes(const void *value)
{
	return small_members_bytes(*(struct small_members *const *)value);
}

static void members_retain(void *value)
{
	small_members_ref(*(struct small_members **)value);
}

static void members_release(void *value)
{
	small_members_unref(*(struct small_members **)value);
}

static size_t tree_bytes(const void *value)
{
	return rootfs_bytes(*(struct rootfs *const *)value);
}

static void tree_retain(void *value)
{
	rootfs_ref(*(struct rootfs **)value);
}

static void tree_release(void *value)
{
	rootfs_unref(*(struct rootfs **)value);
}

static int new_memos(struct layers *l)
{
	static const struct memo_type unpacked = {.max = LAYERS_MAX,
						  .value_size = sizeof(struct unpacked *),
						  .bytes_max = LAYERS_BYTES,
						  .bytes = unpacked_bytes,
						  .retain = unpacked_retain,
						  .release = unpacked_release};
	static const struct memo_type members = {.max = LAYERS_MAX,
						 .value_size = sizeof(struct small_members *),
						 .bytes_max = MEMBERS_BYTES,
						 .bytes = members_bytes,
						 .retain = members_retain,
						 .release = members_release};
	static const struct memo_type rootfs = {.max = ROOTFS_MAX,
						.value_size = sizeof(struct rootfs *),
						.bytes_max = ROOTFS_BYTES,
						.bytes = tree_bytes,
						.retain = tree_retain,
						.release = tree_release};
	static const struct memo_type diff_ids = {.max = LAYERS_DIFF_IDS_MAX,
						  .value_size = sizeof(bool)};
	static const struct memo_type failed = {.max = LAYERS_FAILURES_MAX,
						.value_size = sizeof(struct failed)};
	return memo_new(&unpacked, &l->unpacked) || memo_new(&members, &l->members) ||
		       memo_new(&rootfs, &l->rootfs) || memo_new(&diff_ids, &l->diff_ids) ||
		       memo_new(&failed, &l->failed)
		   ? -ENOMEM
		   : 0;
}

int layers_new(struct layers **ret)
{
	struct layers *l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	lock_init(&l->lock);
	cond_init(&l->given_back);
	LIST_INIT(&l->claims);
	if (new_memos(l)) {
		layers_free(l);
		return -ENOMEM;
	}
	*ret = l;
	return 0;
}

void layers_free(struct layers *l)
{
	if (!l)
		return;
	ASSERT(LIST_EMPTY(&l->claims));
	memo_free(l->unpacked);
	memo_free(l->members);
	memo_free(l->rootfs);
	memo_free(l->diff_ids);
	memo_free(l->failed);
	cond_release(&l->given_back);
	lock_release(&l->lock);
	free(l);
}

struct unpacked *layers_unpacked(struct layers *l, const struct digest *layer)
{
	struct unpacked *u;
	return memo_get(l->unpacked, layer->bytes, layer->len, &u) ? u : NULL;
}

struct rootfs *layers_rootfs(struct layers *l, const struct digest *manifest)
{
	struct rootfs *r;
	return memo_get(l->rootfs, manifest->bytes, manifest->len, &r) ? r : NULL;
}

struct small_members *layers_members(struct layers *l, const struct digest *layer)
{
	struct small_members *m;
	return memo_get(l->members, layer->bytes, layer->len, &m) ? m : NULL;
}

void layers_put_unpacked(struct layers *l, struct unpacked *u)
{
	struct small_members *m = layers_members(l, &u->layer);
	memo_put(l->unpacked, u->layer.bytes, u->layer.len, &u);
	bool known = m && digest_equal(&m->tar, &u->tar);
	small_members_unref(m);
	if (known || small_members_new(u, &m))
		return;
	memo_put(l->members, u->layer.bytes, u->layer.len, &m);
	small_members_unref(m);
}

void layers_put_rootfs(struct layers *l, const struct digest *manifest, struct rootfs *r)
{
	memo_put(l->rootfs, manifest->bytes, manifest->len, &r);
}

void layers_drop_unpacked(struct layers *l, const struct digest *layer)
{
	memo_drop(l->unpacked, layer->bytes, layer->len);
	memo_drop(l->members, layer->bytes, layer->len);
}

struct diff_id_key {
	uint8_t layer[DIGEST_BYTES_MAX], diff_id[DIGEST_BYTES_MAX];
};

/* Digests of one length are of one algorithm. */
static struct diff_id_key diff_id_key(const struct digest *layer, const struct digest *diff_id)
{
	struct diff_id_key key;
	memset(&key, 0, sizeof(key));
	memcpy(key.layer, layer->bytes, layer->len);
	memcpy(key.diff_id, diff_id->bytes, diff_id->len);
	return key;
}

bool layers_has_diff_id(struct layers *l, const struct digest *layer, const struct digest *diff_id)
{
	struct diff_id_key key = diff_id_key(layer, diff_id);
	bool has;
	return memo_get(l->diff_ids, &key, sizeof(key), &has);
}

void layers_put_diff_id(struct layers *l, const struct digest *layer, const struct digest *diff_id)
{
	struct diff_id_key key = diff_id_key(layer, diff_id);
	bool has = true;
	memo_put(l->diff_ids, &key, sizeof(key), &has);
}

/* Whoever wants it, from whatever repository. */
static struct want key_of(const struct want *w)
{
	struct want key;
	memset(&key, 0, sizeof(key));
	key.kind = w->kind;
	key.digest = w->digest;
	key.layer = w->layer;
	key.member = w->member;
	return key;
}

void layers_fail(struct layers *l, const struct want *w, int code, const struct err *err)
{
	struct want key = key_of(w);
	struct failed failed = {
	    .until_ms = code == -EFBIG ? clock_ms() + LAYERS_FAILED_MS : INT64_MAX, .code = code};
	if (code != -EPROTO && code != -EFBIG && code != -EBADMSG)
		return;
	snprintf(failed.text, sizeof(failed.text), "%s", err->text);
	memo_put(l->failed, &key, sizeof(key), &failed);
}

int layers_failed(struct layers *l, const struct want *w, struct err *err)
{
	struct want key = key_of(w);
	struct failed failed;
	if (!memo_get(l->failed, &key, sizeof(key), &failed) || clock_ms() >= failed.until_ms)
		return 0;
	return err_set(err, failed.code, "%s", failed.text);
}

static struct claim *find(struct layers *l, const struct digest *layer) REQUIRES(l->lock)
{
	struct claim *c;
	LIST_FOREACH (c, &l->claims, entry) {
		if (digest_equal(&c->layer, layer))
			return c;
	}
	return NULL;
}

int layers_claim(struct layers *l, const struct digest *layer)
{
	struct claim *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->layer = *layer;
	lock_take(&l->lock);
	while (find(l, layer))
		cond_wait(&l->given_back, &l->lock);
	LIST_INSERT_HEAD(&l->claims, c, entry);
	lock_drop(&l->lock);
	return 0;
}

void layers_unclaim(struct layers *l, const struct digest *layer)
{
	lock_take(&l->lock);
	struct claim *c = find(l, layer);
	LIST_REMOVE(c, entry);
	cond_broadcast(&l->given_back);
	lock_drop(&l->lock);
	free(c);
}
