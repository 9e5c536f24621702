/* SPDX-License-Identifier: Apache-2.0 */
/* Where the symbolic links of a finished tree lead. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/rootfs_impl.h"

/* How a walk ended. */
enum end {
	END_DIR,   /* at a directory: *at */
	END_OPEN,  /* somewhere that is no directory, or not there, or too far away */
	END_ABOVE, /* it would have left the tree */
};

/* Follows a target from a directory. `strict`: what would leave the tree ends the walk;
 * else it stops at the top, as in a chroot. */
static enum end walk(struct rootfs_tree *t, const char *target, bool strict, unsigned *hops,
		     uint32_t *at) // NOLINT(misc-no-recursion)
{
	struct component c;
	if (target[0] == '/') {
		if (strict)
			return END_ABOVE;
		*at = 0;
	}
	while (rootfs_component(&target, &c)) {
		if (++t->steps > ROOTFS_STEPS_MAX)
			return END_OPEN;
		if (component_is(&c, "."))
			continue;
		if (component_is(&c, "..")) {
			if (strict && *at == 0)
				return END_ABOVE;
			*at = t->v[*at].parent;
			continue;
		}
		uint32_t child = rootfs_tree_find(t, *at, c.p, c.len);
		if (child == NO_NODE)
			return END_OPEN;
		if (t->v[child].kind == TAR_DIR) {
			*at = child;
		} else if (t->v[child].kind == TAR_SYMLINK && ++*hops <= ROOTFS_HOPS_MAX) {
			/* That one will be confined itself: it means what it does in a chroot. */
			enum end end = walk(t, t->v[child].member->link, false, hops, at);
			if (end != END_DIR)
				return end;
		} else {
			return END_OPEN;
		}
	}
	return END_DIR;
}

/* Whether it stays inside for one who merely counts. */
static bool text_stays_inside(const char *target, uint32_t depth)
{
	struct component c;
	while (rootfs_component(&target, &c)) {
		if (component_is(&c, ".."))
			depth = depth > 0 ? depth - 1 : UINT32_MAX;
		else if (!component_is(&c, "."))
			depth++;
		if (depth == UINT32_MAX)
			return false;
	}
	return true;
}

/* ---- another target that means the same in a chroot ---- */

/* Filled from its end with a directory's path, and then from there with the rest. */
struct writer {
	char *room;
	size_t len;
	bool full;
};

static void write_part(struct writer *w, const char *p, size_t len)
{
	size_t slash = w->len > 0 ? 1 : 0;
	if (w->len + slash + len + 1 > TAR_LINK_MAX) {
		w->full = true;
		return;
	}
	if (slash)
		w->room[w->len++] = '/';
	memcpy(w->room + w->len, p, len);
	w->len += len;
	w->room[w->len] = '\0';
}

static void write_path(const struct rootfs_tree *t, uint32_t dir, struct writer *w)
{
	uint32_t chain[ROOTFS_DEPTH_MAX + 1];
	size_t n = 0;
	for (; dir != 0 && n < ARRAY_LEN(chain); dir = t->v[dir].parent)
		chain[n++] = dir;
	while (n > 0) {
		const struct knot *k = &t->v[chain[--n]];
		write_part(w, k->name, k->name_len);
	}
}

/* The part of a target that cannot be walked: its first component is missing, no
 * directory, or (`broken`) a link that leads nowhere. What follows is never reached, and
 * stands there to fail as it did; but no ".." of it leads out for one who merely counts
 * (from `depth` on), nor for one who follows more links than the kernel does. */
static void write_rest(struct writer *w, const char *rest, uint32_t depth, bool broken)
{
	struct component c;
	while (rootfs_component(&rest, &c)) {
		bool up = component_is(&c, "..");
		if (component_is(&c, ".") || (up && (broken || depth == 0)))
			continue;
		write_part(w, c.p, c.len);
		depth += up ? UINT32_MAX : 1; /* one less, or one more */
	}
}

/* Whether the first component of a path is a link. */
static bool begins_with_link(const struct rootfs_tree *t, uint32_t dir, const char *path)
{
	struct component c;
	if (!rootfs_component(&path, &c))
		return false;
	uint32_t child = rootfs_tree_find(t, dir, c.p, c.len);
	return child != NO_NODE && t->v[child].kind == TAR_SYMLINK;
}

/* Goes as far as there are directories; *rest is what is left of the target. The last
 * component is never gone into: it may be anything, and means itself. */
static void advance(struct rootfs_tree *t, const char **rest, uint32_t *at)
{
	unsigned hops = 0;
	struct component c;
	for (const char *next = *rest; rootfs_component(&next, &c); *rest = next) {
		if (++t->steps > ROOTFS_STEPS_MAX)
			return;
		if (component_is(&c, "."))
			continue;
		if (component_is(&c, "..")) {
			*at = t->v[*at].parent;
			continue;
		}
		if (next[strspn(next, "/")] == '\0')
			return;
		uint32_t child = rootfs_tree_find(t, *at, c.p, c.len), to = *at;
		if (child == NO_NODE)
			return;
		if (t->v[child].kind == TAR_DIR) {
			*at = child;
			continue;
		}
		if (t->v[child].kind != TAR_SYMLINK ||
		    walk(t, t->v[child].member->link, false, &hops, &to) != END_DIR)
			return;
		*at = to;
	}
}

static int rewrite(struct rootfs_tree *t, uint32_t link, char *room, struct err *err)
{
	const struct knot *k = &t->v[link];
	struct writer w = {.room = room};
	const char *rest = k->member->link;
	uint32_t at = rest[0] == '/' ? 0 : k->parent;
	advance(t, &rest, &at);
	for (uint32_t i = 0; i < t->v[k->parent].depth; i++)
		write_part(&w, "..", 2);
	write_path(t, at, &w);
	write_rest(&w, rest, t->v[at].depth, begins_with_link(t, at, rest));
	if (w.len == 0)
		write_part(&w, ".", 1);
	return w.full ? err_set(err, -EPROTO, "%.200s: the target of a link is too long",
				k->member->path)
		      : 0;
}

int rootfs_confine(struct rootfs_tree *t, uint32_t link, char *room, const char **ret,
		   struct err *err)
{
	const struct knot *k = &t->v[link];
	const char *target = k->member->link;
	uint32_t at = k->parent;
	unsigned hops = 0;
	*ret = NULL;
	bool inside = text_stays_inside(target, t->v[k->parent].depth) &&
		      walk(t, target, true, &hops, &at) != END_ABOVE && hops <= ROOTFS_HOPS_MAX;
	int rc = inside ? 0 : rewrite(t, link, room, err);
	/* A walk that ran out of steps has found out nothing. */
	if (rc == 0)
		rc = rootfs_step(t, err);
	if (rc < 0 || inside)
		return rc;
	*ret = rc == 0 ? room : NULL;
	return rc;
}
