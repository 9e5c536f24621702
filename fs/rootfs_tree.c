/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "fs/rootfs_impl.h"
#include "fs/siphash.h"

#define BUCKETS_MIN 1024u

bool rootfs_component(const char **at, struct component *ret)
{
	*at += strspn(*at, "/");
	*ret = (struct component){*at, strcspn(*at, "/")};
	*at += ret->len;
	return ret->len > 0;
}

bool component_is(const struct component *c, const char *s)
{
	return c->len == strlen(s) && memcmp(c->p, s, c->len) == 0;
}

#define CHECK_STEPS 65536 /* between two looks at the call */

int rootfs_step(struct rootfs_tree *t, struct err *err)
{
	if (++t->steps % CHECK_STEPS == 0 && t->call != NULL) {
		int rc = call_check(t->call, err);
		if (rc < 0)
			return rc;
	}
	if (t->steps <= ROOTFS_STEPS_MAX)
		return 0;
	return err_set(err, -EFBIG, "more than %u steps to find its files", ROOTFS_STEPS_MAX);
}

/* ---- index ---- */

static uint32_t *bucket(const struct rootfs_tree *t, uint32_t dir, const char *name, size_t len)
{
	uint64_t h = siphash(t->key, name, len) ^ ((uint64_t)dir * 0x9e3779b97f4a7c15u);
	return &t->buckets[(h ^ h >> 32) & (t->n_buckets - 1)];
}

static void insert(struct rootfs_tree *t, uint32_t node)
{
	struct knot *k = &t->v[node];
	uint32_t *head = bucket(t, k->parent, k->name, k->name_len);
	k->chain = *head;
	*head = node;
}

static void withdraw(struct rootfs_tree *t, uint32_t node)
{
	const struct knot *k = &t->v[node];
	uint32_t *at = bucket(t, k->parent, k->name, k->name_len);
	while (*at != node)
		at = &t->v[*at].chain;
	*at = k->chain;
}

static int grow_buckets(struct rootfs_tree *t)
{
	size_t n = t->n_buckets > 0 ? t->n_buckets * 4 : BUCKETS_MIN;
	uint32_t *buckets = malloc(n * sizeof(*buckets));
	if (buckets == NULL)
		return -ENOMEM;
	memset(buckets, 0xff, n * sizeof(*buckets));
	free(t->buckets);
	t->buckets = buckets;
	t->n_buckets = n;
	for (uint32_t i = 1; i < t->n; i++) {
		if (t->v[i].name != NULL)
			insert(t, i);
	}
	return 0;
}

uint32_t rootfs_tree_find(const struct rootfs_tree *t, uint32_t dir, const char *name, size_t len)
{
	uint32_t at = *bucket(t, dir, name, len);
	while (at != NO_NODE) {
		const struct knot *k = &t->v[at];
		if (k->parent == dir && k->name_len == len && memcmp(k->name, name, len) == 0)
			break;
		at = k->chain;
	}
	return at;
}

/* ---- nodes ---- */

int rootfs_tree_init(struct rootfs_tree *t)
{
	*t = (struct rootfs_tree){.free = NO_NODE, .room = 256};
	/* Without, whoever made the layers could make all names fall together. */
	if (getrandom(t->key, sizeof(t->key), 0) != (ssize_t)sizeof(t->key))
		return -EIO;
	t->v = calloc(t->room, sizeof(*t->v));
	if (t->v == NULL || grow_buckets(t) < 0) {
		rootfs_tree_release(t);
		return -ENOMEM;
	}
	t->v[0] = (struct knot){
	    .name = "", .child = NO_NODE, .next = NO_NODE, .prev = NO_NODE, .kind = TAR_DIR};
	t->n = 1;
	return 0;
}

void rootfs_tree_release(struct rootfs_tree *t)
{
	free(t->v);
	free(t->buckets);
	*t = (struct rootfs_tree){0};
}

static int new_node(struct rootfs_tree *t, uint32_t *ret)
{
	if (t->free != NO_NODE) {
		*ret = t->free;
		t->free = t->v[*ret].next;
		return 0;
	}
	if (t->n == t->room) {
		struct knot *v = realloc(t->v, t->room * 2 * sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		t->v = v;
		t->room *= 2;
	}
	if (t->n >= t->n_buckets && grow_buckets(t) < 0)
		return -ENOMEM;
	*ret = (uint32_t)t->n++;
	return 0;
}

int rootfs_tree_add(struct rootfs_tree *t, uint32_t dir, const char *name, size_t len,
		    uint32_t *ret, struct err *err)
{
	if (t->free == NO_NODE && t->n >= ROOTFS_ENTRIES_MAX)
		return err_set(err, -EFBIG, "more than %u files", ROOTFS_ENTRIES_MAX);
	if (t->v[dir].depth >= ROOTFS_DEPTH_MAX)
		return err_set(err, -EPROTO, "more than %u directories below each other",
			       ROOTFS_DEPTH_MAX);
	int rc = new_node(t, ret);
	if (rc < 0)
		return err_errno(err, rc, "layers");
	struct knot *k = &t->v[*ret];
	*k = (struct knot){.name = name,
			   .name_len = (uint32_t)len,
			   .parent = dir,
			   .child = NO_NODE,
			   .next = t->v[dir].child,
			   .prev = NO_NODE,
			   .depth = t->v[dir].depth + 1};
	if (k->next != NO_NODE)
		t->v[k->next].prev = *ret;
	t->v[dir].child = *ret;
	insert(t, *ret);
	return 0;
}

static void drop_one(struct rootfs_tree *t, uint32_t node)
{
	struct knot *k = &t->v[node];
	withdraw(t, node);
	if (k->prev != NO_NODE)
		t->v[k->prev].next = k->next;
	else
		t->v[k->parent].child = k->next;
	if (k->next != NO_NODE)
		t->v[k->next].prev = k->prev;
	k->name = NULL;
	k->next = t->free;
	t->free = node;
}

void rootfs_tree_drop(struct rootfs_tree *t, uint32_t node)
{
	uint32_t at = node, parent;
	do {
		while (t->v[at].child != NO_NODE)
			at = t->v[at].child;
		parent = t->v[at].parent;
		drop_one(t, at);
	} while (at != node && (at = parent, true));
}
