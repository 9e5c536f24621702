/* SPDX-License-Identifier: Apache-2.0 */
/* referrers/ of a manifest: a directory for each type, and in it a link for each
 * manifest. What refers to a manifest may change, so it is asked for when one of
 * these is entered, and kept like a listing of tags. */
#include <errno.h>
#include <string.h>

#include "fs/catalog.h"
#include "fs/fetch.h"
#include "fs/referrer_name.h"
#include "fs/tree.h"

/* The listing of the manifest that a directory below belongs to. New reference. */
static int listing_of(struct op *op, const struct node *dir, struct listing **ret, double *ret_s)
{
	struct image *image = NULL;
	char repo[REPOSITORY_MAX], key[REFERRERS_KEY_MAX];
	int64_t left_ms = 0;
	int r = tree_image(op, dir, &image);
	if (r == 0)
		r = tree_repo(op, dir->id, repo);
	if (r) {
		image_unref(image);
		return r;
	}
	struct want w = tree_want(WANT_REFERRERS, repo);
	w.digest = image->manifest->desc.digest;
	image_unref(image);
	referrers_key(repo, &w.digest, key);
	enum known known = catalog_listing(op->site->catalog, key, ret, &left_ms);
	*ret_s = left_ms > 0 ? (double)left_ms / 1000.0 : 0;
	if (known == KNOWN_FRESH || (known == KNOWN_STALE && op->accept_stale))
		return 0;
	if (known == KNOWN_ABSENT)
		return tree_absent(op, &w, "%s: no such repository", repo);
	if (known == KNOWN_STALE)
		listing_unref(*ret);
	*ret = NULL;
	return op_want(op, &w, known == KNOWN_STALE ? OP_STALE_LISTING_MS : 0);
}

/* Those of one type are together, since the list is sorted. -ENOENT: there are none. */
static int find_type(const struct names *all, const char *type, size_t *ret)
{
	size_t len = strlen(type);
	for (size_t i = 0; i < all->n; i++) {
		if (strncmp(all->v[i], type, len) == 0 && all->v[i][len] == '/') {
			*ret = i;
			return 0;
		}
	}
	return -ENOENT;
}

static int find_link(const struct names *all, const char *type, const char *name)
{
	char whole[REFERRER_NAME_MAX];
	struct digest d;
	if (strlen(type) >= REFERRER_TYPE_MAX || referrer_digest(name, &d))
		return -ENOENT;
	referrer_name(type, &d, whole);
	return names_has(all, whole) ? 0 : -ENOENT;
}

int tree_lookup_referrers(struct op *op, const struct node *dir, const char *name,
			  struct found *ret)
{
	struct listing *l = NULL;
	double left_s = 0;
	size_t at;
	bool types = dir->kind == NODE_REFERRERS;
	int r = listing_of(op, dir, &l, &left_s);
	if (r)
		return r;
	r = types ? find_type(&l->names, name, &at) : find_link(&l->names, dir->name, name);
	listing_unref(l);
	if (r == 0)
		r = tree_found_dir(dir, types ? NODE_REFERRER_TYPE : NODE_LINK, name, ret);
	ret->entry_s = left_s;
	return r;
}

static int add_types(struct op *op, const struct node *dir, const struct names *all,
		     struct dirlist *l)
{
	uint64_t hash = tree_path_hash(op->fs, dir->id);
	for (size_t i = 0; i < all->n; i++) {
		int r = tree_add_dir(l, hash, all->v[i], strcspn(all->v[i], "/"));
		if (r)
			return r;
	}
	return 0;
}

static int add_links(struct op *op, const struct node *dir, const struct names *all,
		     struct dirlist *l)
{
	uint64_t hash = tree_path_hash(op->fs, dir->id);
	size_t len = strlen(dir->name), i = 0;
	int r = find_type(all, dir->name, &i);
	for (; r == 0 && i < all->n; i++) {
		if (strncmp(all->v[i], dir->name, len) != 0 || all->v[i][len] != '/')
			break;
		r = tree_add_link(l, hash, all->v[i] + len + 1);
	}
	return r == -ENOENT ? 0 : r;
}

int tree_list_referrers(struct op *op, const struct node *dir, struct dirlist *l)
{
	struct listing *all = NULL;
	double left_s;
	int r = listing_of(op, dir, &all, &left_s);
	if (r)
		return r;
	r = dir->kind == NODE_REFERRERS ? add_types(op, dir, &all->names, l)
					: add_links(op, dir, &all->names, l);
	listing_unref(all);
	return r;
}

int tree_referrer_digest(const char *name, struct digest *ret)
{
	return referrer_digest(name, ret) ? -ESTALE : 0;
}
