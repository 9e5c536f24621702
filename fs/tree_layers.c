/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in layers: known, and to be opened, once they are here and unpacked. */
#include <errno.h>
#include <string.h>

#include "cache/store.h"
#include "fs/layers.h"
#include "fs/rootfs.h"
#include "fs/small_members.h"
#include "fs/tree.h"
#include "fs/unpacked.h"

/* A name in an archive is worth waiting for as long as an open is. */
static int want(struct op *op, const struct want *w)
{
	int r = layers_failed(op->site->layers, w, &op->err);
	if (r)
		return r;
	op->waiter.deadline_ms = op->start_ms + op->fs->o.timeout_ms;
	return op_want(op, w, 0);
}

static int want_of(struct op *op, const struct node *dir, enum want_kind kind,
		   const struct image *image, struct want *ret)
{
	char repo[REPOSITORY_MAX];
	int r = tree_repo(op, dir->id, repo);
	if (r)
		return r;
	*ret = tree_want(kind, repo);
	ret->digest = image->manifest->desc.digest;
	return 0;
}

int tree_rootfs(struct op *op, const struct node *dir, const struct image *image,
		struct rootfs **ret)
{
	struct want w;
	*ret = layers_rootfs(op->site->layers, &image->manifest->desc.digest);
	if (*ret)
		return 0;
	int r = want_of(op, dir, WANT_ROOTFS, image, &w);
	return r ? r : want(op, &w);
}

int tree_unpacked(struct op *op, const struct node *dir, const struct image *image, size_t layer,
		  struct unpacked **ret)
{
	struct want w;
	*ret = layers_unpacked(op->site->layers, &image->manifest->layers[layer].desc.digest);
	if (*ret)
		return 0;
	int r = want_of(op, dir, WANT_LAYER, image, &w);
	if (r)
		return r;
	w.layer = layer;
	return want(op, &w);
}

enum node_kind tree_member_kind(uint16_t mode)
{
	return mode == 0444 ? NODE_CONTENT : mode == 0555 ? NODE_CONTENT_WASM : NODE_CONTENT_MODE;
}

int tree_found_member(struct op *op, const struct node *dir, const struct image *image,
		      const struct tree_member *m, enum node_kind kind, struct found *ret)
{
	struct place place = {
	    .member = true, .manifest = image->manifest->desc.digest, .layer = m->layer};
	int r = tree_repo(op, dir->id, place.repo);
	if (r)
		return r;
	place_format(&place, ret->place);
	ret->digest = m->digest;
	ret->key = (struct node_key){.kind = kind,
				     .digest = &ret->digest,
				     .size = m->size,
				     .mode = kind == NODE_CONTENT_MODE ? m->mode : 0,
				     .place = ret->place};
	ret->entry_s = TREE_FOREVER_S;
	return 0;
}

/* ---- bytes ---- */

/* The layer's tar, if it is at hand; -ENOENT. New reference. */
static int tar_at_hand(struct op *op, const struct digest *tar, struct blob **ret)
{
	if (op->blob && digest_equal(blob_digest(op->blob), tar)) {
		*ret = blob_ref(op->blob);
		return 0;
	}
	return store_get(op->fs->store, tar, ret, NULL) ? -ENOENT : 0;
}

static int layer_of(struct op *op, const struct place *p, struct digest *ret)
{
	struct image *image = NULL;
	int r = tree_image_of(op, p->repo, &p->manifest, &image);
	if (r)
		return r;
	if (p->layer < image->manifest->layer_count)
		*ret = image->manifest->layers[p->layer].desc.digest;
	else
		r = -ESTALE;
	image_unref(image);
	return r;
}

int tree_member_at_hand(struct op *op, const struct node *node, const struct place *p,
			struct blob **ret, uint64_t *ret_at)
{
	struct digest layer;
	int r = layer_of(op, p, &layer);
	if (r)
		return r;
	struct small_members *m = layers_members(op->site->layers, &layer);
	r = m && small_members_find(m, &node->digest, node->size, ret_at)
		? tar_at_hand(op, &m->tar, ret)
		: -ENOENT;
	small_members_unref(m);
	return r;
}

int tree_member_bytes(struct op *op, const struct node *node, const struct place *p,
		      struct blob **ret, uint64_t *ret_at)
{
	int r = tree_member_at_hand(op, node, p, ret, ret_at);
	if (r != -ENOENT)
		return r;
	struct want w = tree_want(WANT_MEMBER, p->repo);
	w.digest = p->manifest;
	w.layer = p->layer;
	w.member = node->digest;
	w.size = node->size;
	return want(op, &w);
}
