/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/rootfs.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "fs/rootfs_impl.h"

/* The finished form, while it is made. */
struct finish {
	struct rootfs_tree *t;
	struct rootfs *r;
	uint32_t *knots; /* of each entry, its node */
	size_t text_room;
	char room[TAR_LINK_MAX];
};

static int add_text(struct finish *f, const char *s, size_t len, uint32_t *ret, struct err *err)
{
	struct rootfs *r = f->r;
	if (r->text_len + len + 1 > ROOTFS_TEXT_MAX)
		return err_set(err, -EFBIG, "names of more than %u bytes", ROOTFS_TEXT_MAX);
	if (r->text_len + len + 1 > f->text_room) {
		size_t room = (r->text_len + len + 1) * 2;
		char *text = realloc(r->text, room);
		if (text == NULL)
			return err_errno(err, -ENOMEM, "layers");
		r->text = text;
		f->text_room = room;
	}
	*ret = (uint32_t)r->text_len;
	memcpy(r->text + r->text_len, s, len);
	r->text[r->text_len + len] = '\0';
	r->text_len += len + 1;
	return 0;
}

static int fill_link(struct finish *f, uint32_t node, struct rootfs_entry *e, struct err *err)
{
	const char *target = NULL;
	int rc = rootfs_confine(f->t, node, f->room, &target, err);
	if (rc < 0)
		return rc;
	if (target == NULL)
		target = f->t->v[node].member->link;
	e->kind = ROOTFS_LINK;
	return add_text(f, target, strlen(target), &e->target, err);
}

static int fill_entry(struct finish *f, size_t i, struct err *err)
{
	uint32_t node = f->knots[i];
	const struct knot *k = &f->t->v[node];
	struct rootfs_entry *e = &f->r->v[i];
	int rc = add_text(f, k->name, k->name_len, &e->name, err);
	if (rc < 0 || k->kind == TAR_DIR)
		return rc;
	if (k->kind == TAR_SYMLINK)
		return fill_link(f, node, e, err);
	struct digest d = tar_index_digest(k->member);
	e->kind = ROOTFS_MEMBER;
	e->size = k->member->size;
	e->mode = (k->member->mode | 0444) & 0555;
	e->layer = k->from;
	memcpy(e->sha256, d.bytes, sizeof(e->sha256));
	return 0;
}

static int by_name(const void *a, const void *b, void *ctx)
{
	const struct knot *v = ctx;
	const struct knot *x = &v[*(const uint32_t *)a], *y = &v[*(const uint32_t *)b];
	size_t n = x->name_len < y->name_len ? x->name_len : y->name_len;
	int r = memcmp(x->name, y->name, n);
	return r != 0 ? r : (x->name_len > y->name_len) - (x->name_len < y->name_len);
}

/* Its children become the next entries. */
static void take_children(struct finish *f, size_t dir)
{
	struct rootfs *r = f->r;
	const struct rootfs_tree *t = f->t;
	size_t first = r->n;
	for (uint32_t at = t->v[f->knots[dir]].child; at != NO_NODE; at = t->v[at].next) {
		if (t->v[at].kind == TAR_OTHER)
			continue;
		f->knots[r->n] = at;
		r->v[r->n].parent = (uint32_t)dir;
		r->n++;
	}
	r->v[dir].first = (uint32_t)first;
	r->v[dir].count = (uint32_t)(r->n - first);
	if (r->n - first > 1)
		qsort_r(f->knots + first, r->n - first, sizeof(*f->knots), by_name, t->v);
}

static int finish_tree(struct rootfs_tree *t, struct rootfs *r, struct err *err)
{
	struct finish f = {.t = t, .r = r};
	int rc = 0;
	f.knots = calloc(t->n, sizeof(*f.knots));
	r->v = calloc(t->n, sizeof(*r->v));
	if (f.knots == NULL || r->v == NULL)
		rc = err_errno(err, -ENOMEM, "layers");
	r->n = 1;
	for (size_t i = 0; rc == 0 && i < r->n; i++) {
		rc = fill_entry(&f, i, err);
		if (rc == 0 && r->v[i].kind == ROOTFS_DIR)
			take_children(&f, i);
	}
	free(f.knots);
	return rc;
}

/* Nodes were freed and made meanwhile; what is left over is given back. */
static void trim(struct rootfs *r)
{
	struct rootfs_entry *v = realloc(r->v, r->n * sizeof(*v));
	char *text = realloc(r->text, r->text_len);
	if (v != NULL)
		r->v = v;
	if (text != NULL)
		r->text = text;
}

int rootfs_merge(const struct tar_index *const *layers, size_t n, bool whiteouts, struct call *call,
		 struct rootfs **ret, struct err *err)
{
	struct rootfs_tree t;
	struct rootfs *r = calloc(1, sizeof(*r));
	int rc = r != NULL ? rootfs_tree_init(&t) : -ENOMEM;
	if (rc < 0) {
		free(r);
		return err_errno(err, rc, "layers");
	}
	t.call = call;
	atomic_init(&r->refs, 1);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = rootfs_apply(&t, layers[i], (uint32_t)i, whiteouts, err);
	if (rc == 0)
		rc = finish_tree(&t, r, err);
	rootfs_tree_release(&t);
	if (rc < 0) {
		rootfs_unref(r);
		return rc;
	}
	trim(r);
	*ret = r;
	return 0;
}

struct rootfs *rootfs_ref(struct rootfs *r)
{
	atomic_fetch_add(&r->refs, 1);
	return r;
}

void rootfs_unref(struct rootfs *r)
{
	if (r == NULL || atomic_fetch_sub(&r->refs, 1) != 1)
		return;
	free(r->v);
	free(r->text);
	free(r);
}

size_t rootfs_bytes(const struct rootfs *r)
{
	return sizeof(*r) + r->n * sizeof(*r->v) + r->text_len;
}

const char *rootfs_name(const struct rootfs *r, size_t i)
{
	return r->text + r->v[i].name;
}

const char *rootfs_target(const struct rootfs *r, size_t i)
{
	return r->text + r->v[i].target;
}

struct digest rootfs_digest(const struct rootfs *r, size_t i)
{
	struct digest d = {.alg = DIGEST_SHA256, .len = sizeof(r->v[i].sha256)};
	memcpy(d.bytes, r->v[i].sha256, sizeof(r->v[i].sha256));
	return d;
}

static int compare(const char *name, const char *s, size_t len)
{
	int r = strncmp(name, s, len);
	return r != 0 ? r : name[len] != '\0';
}

static long find(const struct rootfs *r, size_t dir, const char *s, size_t len)
{
	size_t low = r->v[dir].first, high = low + r->v[dir].count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = compare(rootfs_name(r, mid), s, len);
		if (order == 0)
			return (long)mid;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return -ENOENT;
}

long rootfs_find(const struct rootfs *r, size_t dir, const char *name)
{
	return find(r, dir, name, strlen(name));
}

/* Bounded by ROOTFS_HOPS_MAX. */
static long resolve(const struct rootfs *r, size_t dir, const char *path,
		    unsigned *hops) // NOLINT(misc-no-recursion)
{
	struct component c;
	size_t at = path[0] == '/' ? 0 : dir;
	while (rootfs_component(&path, &c)) {
		if (r->v[at].kind != ROOTFS_DIR)
			return -ENOTDIR;
		if (component_is(&c, "."))
			continue;
		if (component_is(&c, "..")) {
			at = r->v[at].parent;
			continue;
		}
		long child = find(r, at, c.p, c.len);
		if (child >= 0 && r->v[child].kind == ROOTFS_LINK)
			child = ++*hops > ROOTFS_HOPS_MAX
				    ? -ELOOP
				    : resolve(r, at, rootfs_target(r, (size_t)child), hops);
		if (child < 0)
			return child;
		at = (size_t)child;
	}
	return (long)at;
}

long rootfs_resolve(const struct rootfs *r, size_t dir, const char *path)
{
	unsigned hops = 0;
	return resolve(r, dir, path, &hops);
}
