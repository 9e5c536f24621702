/* SPDX-License-Identifier: Apache-2.0 */
/* What the tree's directories list: what is cheap and true. */
#include <errno.h>
#include <string.h>

#include "fs/catalog.h"
#include "fs/dirlist.h"
#include "fs/image.h"
#include "fs/tree.h"
#include "registry/reference.h"

int tree_add_dir(struct dirlist *l, uint64_t path, const char *name, size_t len)
{
	char copy[256];
	if (len >= sizeof(copy))
		return 0;
	memcpy(copy, name, len);
	copy[len] = '\0';
	return dirlist_add(l, copy, len, tree_child_ino(path, copy), S_IFDIR);
}

int tree_add_link(struct dirlist *l, uint64_t path, const char *name)
{
	return dirlist_add(l, name, strlen(name), tree_child_ino(path, name), S_IFLNK);
}

int tree_add_content(struct dirlist *l, const char *name, const struct digest *d, bool wasm)
{
	/* A digest that cannot be verified is listed, and has no inode. */
	uint64_t ino =
	    digest_is_set(d) ? tree_content_ino(d, wasm ? 0555 : 0444) : DIRLIST_INO_UNKNOWN;
	return dirlist_add(l, name, strlen(name), ino, S_IFREG);
}

/* The first component of each repository below `path`. */
static int add_children(struct op *op, struct dirlist *l, const struct node *dir,
			const struct names *repos, const char *path)
{
	size_t skip = strlen(path);
	uint64_t hash = tree_path_hash(op->fs, dir->id);
	for (size_t i = 0; i < repos->n; i++) {
		const char *name = repos->v[i];
		if (skip) {
			if (strncmp(name, path, skip) != 0 || name[skip] != '/')
				continue;
			name += skip + 1;
		}
		size_t len = strcspn(name, "/");
		char component[256];
		if (len >= sizeof(component))
			continue;
		memcpy(component, name, len);
		component[len] = '\0';
		if (skip && tree_is_fixed_entry(component))
			continue;
		int r = tree_add_dir(l, hash, component, len);
		if (r)
			return r;
	}
	return 0;
}

/* The list of repositories, asked for if it is not fresh. A registry that does
 * not give one, or not now, leaves what is known so far. */
static int want_catalog(struct op *op)
{
	struct want w = tree_want(WANT_CATALOG, op->site->prefix);
	enum known known = catalog_listing(op->site->catalog, op->site->prefix, NULL, NULL);
	if (known == KNOWN_FRESH || known == KNOWN_ABSENT || op_failed(op, &w))
		return 0;
	/* That there is no repository of the directory's own name is an answer, and no reason to
	 * make do with an old list. */
	if (op->failure == -ENOENT && op->failed.kind == WANT_REPO)
		op->accept_stale = false;
	if (known == KNOWN_STALE && op->accept_stale)
		return 0;
	return op_want(op, &w, known == KNOWN_STALE ? OP_STALE_LISTING_MS : 0);
}

/* Namespaces lie in it, and no repository can be it. */
static bool is_top(const struct node *dir)
{
	return dir->kind == NODE_ROOT || dir->kind == NODE_HOST;
}

static int list_namespace(struct op *op, const struct node *dir, struct dirlist *l)
{
	char path[NODE_REPO_MAX], repo[REPOSITORY_MAX];
	int exists = -ENOENT;
	int r = node_repo(op->fs->nodes, dir->id, path);
	if (r)
		return r;
	if (!is_top(dir)) {
		r = tree_repo(op, dir->id, repo);
		exists = r ? r : tree_repo_exists(op, repo);
		if (exists == -EINPROGRESS && op_failed(op, &op->want)) {
			exists = op_failed(op, &op->want);
			op->err = op->failure_err;
		}
		if (exists == -EINPROGRESS)
			return exists;
	}
	/* One failure is remembered at a time: a repository that the origin knows
	 * or refuses is settled before its catalog is asked for. */
	if (exists == 0 || exists == -ENOENT) {
		r = want_catalog(op);
		if (r)
			return r;
	}
	struct names repos = {0};
	r = catalog_repos(op->site->catalog, op->site->prefix, &repos, &op->err);
	if (r)
		return r;
	r = add_children(op, l, dir, &repos, path);
	names_release(&repos);
	static const char *const fixed[] = {"blobs", "manifests", "tags"};
	static const char *const files[] = {"index.json", "oci-layout"};
	uint64_t hash = tree_path_hash(op->fs, dir->id);
	for (size_t i = 0; exists == 0 && r == 0 && i < ARRAY_LEN(fixed); i++)
		r = tree_add_dir(l, hash, fixed[i], strlen(fixed[i]));
	for (size_t i = 0; exists == 0 && r == 0 && i < ARRAY_LEN(files); i++)
		r = dirlist_add(l, files[i], strlen(files[i]), tree_child_ino(hash, files[i]),
				S_IFREG);
	if (r == 0 && exists != 0 && !is_top(dir) && dirlist_count(l) == 0)
		return exists;
	return r;
}

int tree_tags(struct op *op, const char *repo, struct listing **ret)
{
	struct want w = tree_want(WANT_TAGS, repo);
	struct listing *tags = NULL;
	enum known known = catalog_listing(op->site->catalog, repo, &tags, NULL);
	if (known == KNOWN_ABSENT)
		return tree_absent(op, &w, "%s: no such repository", repo);
	if (known == KNOWN_NOT || (known == KNOWN_STALE && !op->accept_stale)) {
		listing_unref(tags);
		return op_want(op, &w, known == KNOWN_STALE ? OP_STALE_LISTING_MS : 0);
	}
	*ret = tags;
	return 0;
}

static int list_tags(struct op *op, const struct node *dir, const char *repo, struct dirlist *l)
{
	struct listing *tags = NULL;
	int r = tree_tags(op, repo, &tags);
	if (r)
		return r;
	uint64_t hash = tree_path_hash(op->fs, dir->id);
	for (size_t i = 0; i < tags->names.n && r == 0; i++) {
		const char *tag = tags->names.v[i];
		size_t len = strlen(tag);
		if (reference_is_listed_tag(tag))
			r = tree_add_dir(l, hash, tag, len);
	}
	listing_unref(tags);
	return r;
}

static int list_algs(struct op *op, const struct node *dir, struct dirlist *l)
{
	uint64_t hash = tree_path_hash(op->fs, dir->id);
	int r = tree_add_dir(l, hash, "sha256", 6);
	return r ? r : tree_add_dir(l, hash, "sha512", 6);
}

/* By what it was called first, or because it has turned out to be one. */
static bool is_manifest(struct op *op, const struct descriptor *d)
{
	struct image *image = catalog_image(op->site->catalog, &d->digest);
	image_unref(image);
	return image || media_type_is_manifest(d->media_type);
}

/* A layout says what it has, whether it has a tag or not. */
static int learn_layout(struct op *op, const char *repo)
{
	struct want w = tree_want(WANT_TAGS, repo);
	struct listing *tags = NULL;
	if (!source_is_local(op->site->source))
		return 0;
	enum known known = catalog_listing(op->site->catalog, repo, &tags, NULL);
	listing_unref(tags);
	bool known_enough = known != KNOWN_NOT && (known != KNOWN_STALE || op->accept_stale);
	return known_enough || op_failed(op, &w) ? 0 : op_want(op, &w, 0);
}

/* The digests known so far: all, or the manifests among them. */
static int list_digests(struct op *op, const struct node *dir, const char *repo, struct dirlist *l)
{
	AUTO_FREE struct descriptor *v = NULL;
	size_t n = 0;
	uint64_t hash = tree_path_hash(op->fs, dir->id);
	int r = learn_layout(op, repo);
	if (r)
		return r;
	r = catalog_named_all(op->site->catalog, repo, &v, &n, &op->err);
	if (r == -ENOENT)
		return 0;
	for (size_t i = 0; i < n && r == 0; i++) {
		char hex[DIGEST_HEX_MAX];
		if (strcmp(digest_alg_name(&v[i].digest), dir->name) != 0)
			continue;
		digest_hex(&v[i].digest, hex);
		if (dir->kind == NODE_BLOB_ALG)
			r = tree_add_content(l, hex, &v[i].digest, false);
		else if (is_manifest(op, &v[i]))
			r = tree_add_dir(l, hash, hex, strlen(hex));
	}
	return r;
}

/* What no second try will better. */
static bool is_lasting(int code)
{
	return code == -ENOENT || code == -EBADMSG || code == -EFBIG || code == -EPROTO ||
	       code == -EOPNOTSUPP;
}

/* An image whose config cannot be had at all still has its layers. */
static int list_main_wasm(struct op *op, const struct node *dir, struct image *image,
			  struct dirlist *l)
{
	const struct manifest_names *names = NULL;
	int r = tree_names(op, dir, image, &names);
	if (r == -EINPROGRESS && is_lasting(op_failed(op, &op->want)))
		return 0;
	if (r || !names->main_listed)
		return r;
	return dirlist_add(l, "main.wasm", 9, tree_main_wasm_ino(op, image, names), S_IFREG);
}

/* Of what it shows it tells main.wasm, where it says itself that this is Wasm: then the
 * manifest is fetched for it, if it is there. */
static int list_index(struct op *op, const struct node *dir, struct image *index, struct dirlist *l)
{
	uint64_t hash = tree_path_hash(op->fs, dir->id);
	int r = tree_add_dir(l, hash, "platforms", 9);
	if (r == 0 && tree_index_has_files(index))
		r = tree_add_dir(l, hash, "files", 5);
	if (r || !tree_index_is_wasm(index))
		return r;
	struct image *image = image_ref(index);
	r = tree_shown(op, dir, &image);
	if (r == -EINPROGRESS && is_lasting(op_failed(op, &op->want)))
		r = 0;
	else if (r == 0)
		r = list_main_wasm(op, dir, image, l);
	image_unref(image);
	return is_lasting(r) ? 0 : r;
}

static int list_manifest(struct op *op, const struct node *dir, struct image *image,
			 struct dirlist *l)
{
	const struct manifest *m = image->manifest;
	const char *config = image->names->config_name;
	uint64_t hash = tree_path_hash(op->fs, dir->id);
	int r = tree_add_content(l, "manifest.json", &m->desc.digest, false);
	if (r == 0)
		r = tree_add_dir(l, hash, "referrers", 9);
	if (m->is_index)
		return r ? r : list_index(op, dir, image, l);
	if (r == 0 && config)
		r = tree_add_content(l, config, &m->config.desc.digest, false);
	if (r == 0)
		r = tree_add_dir(l, hash, "layers", 6);
	if (r == 0)
		r = tree_add_dir(l, hash, "files", 5);
	return r ? r : list_main_wasm(op, dir, image, l);
}

static int list_layers(const struct image *image, struct dirlist *l)
{
	int r = 0;
	for (size_t i = 0; i < image->manifest->layer_count && r == 0; i++) {
		const char *name = image->names->layer_names[i];
		r = tree_add_content(l, name, &image->manifest->layers[i].desc.digest,
				     name_is_wasm(name));
	}
	return r;
}

static int list_image(struct op *op, const struct node *dir, struct dirlist *l)
{
	struct image *image = NULL;
	int r = tree_image(op, dir, &image);
	if (r)
		return r;
	if (dir->kind == NODE_FILES)
		r = tree_shown(op, dir, &image);
	if (r)
		;
	else if (dir->kind == NODE_LAYERS)
		r = list_layers(image, l);
	else if (dir->kind == NODE_PLATFORMS)
		r = tree_list_platforms(op, dir, image, l);
	else if (dir->kind == NODE_FILES)
		r = tree_list_files(op, dir, image, l);
	else
		r = list_manifest(op, dir, image, l);
	image_unref(image);
	return r;
}

static int list_repo_entry(struct op *op, const struct node *dir, struct dirlist *l)
{
	char repo[REPOSITORY_MAX];
	int r = tree_repo(op, dir->id, repo);
	if (r)
		return r;
	if (dir->kind == NODE_TAGS)
		return list_tags(op, dir, repo, l);
	if (dir->kind == NODE_MANIFESTS || dir->kind == NODE_BLOBS)
		return list_algs(op, dir, l);
	return list_digests(op, dir, repo, l);
}

static int fill(struct op *op, const struct node *dir, struct dirlist *l)
{
	switch (dir->kind) {
	case NODE_ROOT:
		if (op->fs->sites.several)
			return tree_list_hosts(op, dir, l);
		return list_namespace(op, dir, l);
	case NODE_HOST:
	case NODE_NAMESPACE:
		return list_namespace(op, dir, l);
	case NODE_TAGS:
	case NODE_MANIFESTS:
	case NODE_BLOBS:
	case NODE_MANIFEST_ALG:
	case NODE_BLOB_ALG:
		return list_repo_entry(op, dir, l);
	case NODE_TAG:
	case NODE_MANIFEST:
	case NODE_LAYERS:
	case NODE_FILES:
	case NODE_PLATFORMS:
		return list_image(op, dir, l);
	case NODE_REFERRERS:
	case NODE_REFERRER_TYPE:
		return tree_list_referrers(op, dir, l);
	case NODE_PACKAGES:
	case NODE_PACKAGE_SPACE:
	case NODE_PACKAGE:
		return tree_list_packages(op, dir, l);
	case NODE_REFERENCE:
	case NODE_PACKAGE_VERSION:
	case NODE_LINK:
	case NODE_INDEX_JSON:
	case NODE_OCI_LAYOUT:
	case NODE_CONTENT:
	case NODE_CONTENT_WASM:
	case NODE_CONTENT_MODE:
	case NODE_MAIN_WASM:
	case NODE_FREE:
	case NODE_KIND_COUNT:
		break;
	}
	return -ENOTDIR;
}

static uint64_t ino_of(struct op *op, uint64_t id)
{
	struct node node;
	if (id <= FUSE_ROOT_ID || node_read(op->fs->nodes, id, &node) || node.kind == NODE_ROOT)
		return FUSE_ROOT_ID;
	return tree_dir_ino(op->fs, node.parent, node.name);
}

int tree_list(struct op *op, const struct node *dir, struct dirlist **ret)
{
	struct dirlist *l = NULL;
	int r = op->site ? 0 : op_find_site(op, dir->id, true);
	if (r == 0)
		r = dirlist_new(&l);
	if (r == 0)
		r = fill(op, dir, l);
	if (r == 0)
		r = dirlist_done(l, ino_of(op, dir->id), ino_of(op, dir->parent));
	if (r) {
		dirlist_unref(l);
		return r;
	}
	*ret = l;
	return 0;
}
