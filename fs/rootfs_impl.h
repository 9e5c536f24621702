/* SPDX-License-Identifier: Apache-2.0 */
/* rootfs_impl — the tree while layers are put on it. Layer: fs/, internal to rootfs*.c.
 *
 *	rootfs_tree.c   its nodes: found, added, removed
 *	rootfs_merge.c  what a member of a layer does to it
 *	rootfs_links.c  where its symbolic links lead
 *	rootfs.c        the finished form
 *
 * Nodes are named by number; 0 is the top. Names are those of the indexes, which stay
 * where they are meanwhile.
 */
#pragma once

#include <stdbool.h>

#include "base/call.h"
#include "fs/rootfs.h"

#define NO_NODE UINT32_MAX

struct knot {
	const char *name;                /* NULL: a node that is free */
	const struct tar_member *member; /* what it is; NULL: a directory that had to be made */
	uint32_t name_len;
	uint32_t parent, child, next, prev; /* children in no order */
	uint32_t chain;                     /* of its bucket */
	uint32_t layer;                     /* the last that put it there, or something below it */
	uint32_t from;                      /* the layer whose member it is */
	uint32_t depth;
	uint8_t kind; /* enum tar_kind, without TAR_HARDLINK */
};

struct rootfs_tree {
	struct knot *v;
	size_t n, room;
	uint32_t free; /* by `next` */
	uint32_t *buckets;
	size_t n_buckets; /* a power of two */
	uint64_t key[2];
	uint64_t steps;
	struct call *call; /* whose work it is; may be NULL */
};

NODISCARD int rootfs_tree_init(struct rootfs_tree *t);
void rootfs_tree_release(struct rootfs_tree *t);
/* -EFBIG once too many components have been looked at; what ends the call. */
NODISCARD int rootfs_step(struct rootfs_tree *t, struct err *err);
uint32_t rootfs_tree_find(const struct rootfs_tree *t, uint32_t dir, const char *name, size_t len);
/* A new child, of no kind yet. */
NODISCARD int rootfs_tree_add(struct rootfs_tree *t, uint32_t dir, const char *name, size_t len,
			      uint32_t *ret, struct err *err);
/* With all that is below it. */
void rootfs_tree_drop(struct rootfs_tree *t, uint32_t node);

/* The links of a finished tree: *ret is the target that this one shall have. NULL: its
 * own. `room` has TAR_LINK_MAX bytes, for *ret. */
NODISCARD int rootfs_confine(struct rootfs_tree *t, uint32_t link, char *room, const char **ret,
			     struct err *err);

/* The members of one layer. */
NODISCARD int rootfs_apply(struct rootfs_tree *t, const struct tar_index *layer, uint32_t number,
			   bool whiteouts, struct err *err);

/* The next component of *at, which moves behind it and the '/'; false: none is left. */
struct component {
	const char *p;
	size_t len;
};
bool rootfs_component(const char **at, struct component *ret);
bool component_is(const struct component *c, const char *s);
