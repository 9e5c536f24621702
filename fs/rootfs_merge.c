/* SPDX-License-Identifier: Apache-2.0 */
/* What a member of a layer does to the tree. */
#include <errno.h>
#include <string.h>

#include "fs/rootfs_impl.h"

#define WHITEOUT        ".wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define WHITEOUT_META   ".wh..wh."

struct layer {
	struct rootfs_tree *t;
	uint32_t number; /* of the layer; nodes say one more, so that 0 is none */
	unsigned hops;   /* links followed for this path */
	bool whiteouts;  /* they mean something */
};

/* It, and every directory that it lies in, is of this layer from now on. */
static void mark(const struct layer *l, uint32_t node)
{
	while (node != 0 && l->t->v[node].layer != l->number + 1) {
		l->t->v[node].layer = l->number + 1;
		node = l->t->v[node].parent;
	}
}

static int add_directory(const struct layer *l, uint32_t dir, const struct component *c,
			 uint32_t *ret, struct err *err)
{
	int rc = rootfs_tree_add(l->t, dir, c->p, c->len, ret, err);
	if (rc == 0)
		l->t->v[*ret].kind = TAR_DIR;
	return rc;
}

static int follow(struct layer *l, uint32_t link, bool make, uint32_t *ret, struct err *err);

/* The directory that a name in `dir` leads to. Made where it is missing, or, without
 * `make`, -ENOENT. */
static int enter(struct layer *l, uint32_t dir, const struct component *c, bool make, uint32_t *ret,
		 struct err *err)
{
	int rc = rootfs_step(l->t, err);
	if (rc < 0)
		return rc;
	uint32_t child = rootfs_tree_find(l->t, dir, c->p, c->len);
	if (child == NO_NODE)
		return make ? add_directory(l, dir, c, ret, err) : -ENOENT;
	if (l->t->v[child].kind == TAR_SYMLINK)
		return follow(l, child, make, ret, err);
	if (l->t->v[child].kind != TAR_DIR)
		return err_set(err, -ENOTDIR, "%.*s: no directory, and something lies in it",
			       (int)c->len, c->p);
	*ret = child;
	return 0;
}

/* As in a chroot: an absolute one starts at the top, and ".." stops there. */
static int follow(struct layer *l, uint32_t link, bool make, uint32_t *ret, struct err *err)
{
	const char *at = l->t->v[link].member->link;
	uint32_t dir = at[0] == '/' ? 0 : l->t->v[link].parent;
	struct component c;
	if (++l->hops > ROOTFS_HOPS_MAX)
		return err_set(err, -EPROTO, "%.200s: too many links on the way", at);
	while (rootfs_component(&at, &c)) {
		int rc = rootfs_step(l->t, err);
		if (rc == 0 && component_is(&c, ".."))
			dir = l->t->v[dir].parent;
		else if (rc == 0 && !component_is(&c, "."))
			rc = enter(l, dir, &c, make, &dir, err);
		if (rc < 0)
			return rc;
	}
	*ret = dir;
	return 0;
}

/* The directory that a path lies in, and its last component. */
static int enter_parent(struct layer *l, const char *path, bool make, uint32_t *ret_dir,
			struct component *ret_name, struct err *err)
{
	struct component next;
	uint32_t dir = 0;
	l->hops = 0;
	rootfs_component(&path, ret_name);
	while (rootfs_component(&path, &next)) {
		int rc = enter(l, dir, ret_name, make, &dir, err);
		if (rc < 0)
			return rc;
		*ret_name = next;
	}
	*ret_dir = dir;
	return 0;
}

/* ---- whiteouts ---- */

/* What this layer has not put there. Its depth is bounded by ROOTFS_DEPTH_MAX. */
static int clear_lower(const struct layer *l, uint32_t dir,
		       struct err *err) // NOLINT(misc-no-recursion)
{
	uint32_t next;
	int rc = 0;
	for (uint32_t at = l->t->v[dir].child; rc == 0 && at != NO_NODE; at = next) {
		next = l->t->v[at].next;
		rc = rootfs_step(l->t, err);
		if (rc == 0 && l->t->v[at].layer != l->number + 1)
			rootfs_tree_drop(l->t, at);
		else if (rc == 0)
			rc = clear_lower(l, at, err);
	}
	return rc;
}

static bool is_whiteout(const struct component *name)
{
	return name->len >= strlen(WHITEOUT) && memcmp(name->p, WHITEOUT, strlen(WHITEOUT)) == 0;
}

static int white_out(const struct layer *l, uint32_t dir, const struct component *name,
		     struct err *err)
{
	size_t skip = strlen(WHITEOUT), meta = strlen(WHITEOUT_META);
	if (component_is(name, WHITEOUT_OPAQUE))
		return clear_lower(l, dir, err);
	if (name->len >= meta && memcmp(name->p, WHITEOUT_META, meta) == 0)
		return 0;
	struct component target = {name->p + skip, name->len - skip};
	if (target.len == 0 || component_is(&target, ".") || component_is(&target, ".."))
		return err_set(err, -EPROTO, "%.*s: a whiteout of what it lies in", (int)name->len,
			       name->p);
	uint32_t node = rootfs_tree_find(l->t, dir, target.p, target.len);
	if (node == NO_NODE)
		return 0;
	if (l->t->v[node].layer == l->number + 1)
		return clear_lower(l, node, err);
	rootfs_tree_drop(l->t, node);
	return 0;
}

/* ---- members ---- */

/* What a hard link is another name of, at this moment. */
static int link_target(struct layer *l, const struct tar_member *m, struct knot *ret,
		       struct err *err)
{
	struct component name;
	uint32_t dir, node = NO_NODE;
	int rc = enter_parent(l, m->link, false, &dir, &name, err);
	if (rc == 0)
		node = rootfs_tree_find(l->t, dir, name.p, name.len);
	if (rc < 0 && rc != -ENOENT && rc != -ENOTDIR)
		return rc;
	if (node == NO_NODE)
		return err_set(err, -EPROTO, "%.200s: a hard link to %.200s, which is not there",
			       m->path, m->link);
	*ret = l->t->v[node];
	if (ret->kind == TAR_DIR)
		return err_set(err, -EPROTO, "%.200s: a hard link to a directory", m->path);
	return 0;
}

static int put(struct layer *l, uint32_t dir, const struct component *name,
	       const struct tar_member *m, struct err *err)
{
	struct knot what = {.kind = m->kind, .member = m, .from = l->number};
	uint32_t node = rootfs_tree_find(l->t, dir, name->p, name->len);
	int rc = m->kind == TAR_HARDLINK ? link_target(l, m, &what, err) : 0;
	if (rc < 0)
		return rc;
	bool merges = node != NO_NODE && what.kind == TAR_DIR && l->t->v[node].kind == TAR_DIR;
	if (node != NO_NODE && !merges)
		rootfs_tree_drop(l->t, node);
	if (!merges)
		rc = rootfs_tree_add(l->t, dir, name->p, name->len, &node, err);
	if (rc < 0)
		return rc;
	struct knot *k = &l->t->v[node];
	k->kind = what.kind;
	k->member = what.member;
	k->from = what.from;
	mark(l, node);
	return 0;
}

static int apply_one(struct layer *l, const struct tar_member *m, struct err *err)
{
	struct component name;
	uint32_t dir;
	const char *last = strrchr(m->path, '/');
	const struct component base = {last ? last + 1 : m->path,
				       strlen(last ? last + 1 : m->path)};
	bool whiteout = l->whiteouts && is_whiteout(&base);
	int rc = enter_parent(l, m->path, !whiteout, &dir, &name, err);
	/* Nothing lies below what is not there, or is no directory. */
	if (whiteout && (rc == -ENOENT || rc == -ENOTDIR))
		return 0;
	if (rc == -ENOTDIR)
		rc = -EPROTO;
	if (rc < 0)
		return rc;
	return whiteout ? white_out(l, dir, &name, err) : put(l, dir, &name, m, err);
}

int rootfs_apply(struct rootfs_tree *t, const struct tar_index *layer, uint32_t number,
		 bool whiteouts, struct err *err)
{
	struct layer l = {.t = t, .number = number, .whiteouts = whiteouts};
	for (size_t i = 0; i < layer->n; i++) {
		int rc = apply_one(&l, &layer->v[i], err);
		if (rc < 0)
			return err_wrap(err, rc, "layer %u", number);
	}
	return 0;
}
