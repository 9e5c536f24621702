/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the tree that an image's manifest decides. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cache/store.h"
#include "fs/catalog.h"
#include "fs/tree.h"
#include "registry/reference.h"

static int image_of_digest(struct op *op, const char *repo, const struct digest *d,
			   struct image **ret)
{
	*ret = catalog_image(op->fs->catalog, d);
	if (*ret)
		return 0;
	struct want w = tree_want(WANT_MANIFEST, repo);
	w.digest = *d;
	return op_want(op, &w, 0);
}

/* What a tag directory shows, from the first time on that anybody asks. */
static int bind(struct op *op, struct node *dir, const char *repo)
{
	struct descriptor desc;
	int r = tree_tag(op, repo, dir->name, &desc, NULL);
	if (r)
		return r;
	r = node_bind(op->fs->nodes, dir->id, &desc.digest);
	if (r == -EEXIST) /* by another request, a moment ago */
		return node_read(op->fs->nodes, dir->id, dir);
	dir->digest = desc.digest;
	return r;
}

int tree_image(struct op *op, const struct node *node, struct image **ret)
{
	struct node dir;
	char repo[REPOSITORY_MAX];
	int r = node_image(op->fs->nodes, node->id, &dir);
	if (r == 0)
		r = tree_repo(op->fs, dir.id, repo);
	if (r == 0 && !digest_is_set(&dir.digest))
		r = bind(op, &dir, repo);
	return r ? r : image_of_digest(op, repo, &dir.digest, ret);
}

int tree_files_entry(struct fs *fs, const struct node *node, const struct image *image, size_t *ret)
{
	struct node above;
	size_t in = 0;
	int r = node_read(fs->nodes, node->parent, &above);
	if (r)
		return r;
	if (above.kind != NODE_FILES) {
		*ret = 0;
		return 0;
	}
	r = tree_files_entry(fs, &above, image, &in);
	if (r)
		return r;
	long i = manifest_names_find_file(image->names, in, node->name);
	if (i < 0 || image->names->files[i].kind != FILE_KIND_DIR)
		return -ESTALE;
	*ret = (size_t)i;
	return 0;
}

static int found_content(struct op *op, const struct node *dir, const struct manifest_entry *e,
			 enum node_kind kind, struct found *ret)
{
	if (!digest_is_set(&e->desc.digest))
		return err_set(&op->err, -EOPNOTSUPP, "%s: a digest that cannot be verified here",
			       e->digest_text);
	int r = tree_repo(op->fs, dir->id, ret->repo);
	if (r)
		return r;
	ret->digest = e->desc.digest;
	ret->key = (struct node_key){
	    .kind = kind, .digest = &ret->digest, .size = e->desc.size, .repo = ret->repo};
	ret->entry_s = TREE_FOREVER_S;
	return 0;
}

static enum node_kind content_kind_of(const char *name)
{
	return name_is_wasm(name) ? NODE_CONTENT_WASM : NODE_CONTENT;
}

static int found_dir(const struct node *parent, enum node_kind kind, const char *name,
		     struct found *ret)
{
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	ret->key = (struct node_key){
	    .parent = parent->id, .kind = kind, .name = ret->name, .name_len = strlen(ret->name)};
	ret->entry_s = TREE_FOREVER_S;
	return 0;
}

/* The manifest leaves it open whether its layer is something to run: its bytes
 * tell. The one lookup that may fetch a blob, and wait as long as an open. */
static int is_wasm_inside(struct op *op, const struct node *dir, const struct manifest_entry *e)
{
	char repo[REPOSITORY_MAX], head[WASM_SNIFF_LEN];
	struct blob *blob = NULL;
	if (!digest_is_set(&e->desc.digest))
		return -ENOENT;
	int r = tree_repo(op->fs, dir->id, repo);
	if (r)
		return r;
	r = store_get(op->fs->store, &e->desc.digest, &blob, &op->err);
	if (r == -EAGAIN || r == -ENOENT) {
		op->waiter.deadline_ms = op->start_ms + op->fs->o.timeout_ms;
		return op_want_blob(op, &e->desc.digest, e->desc.size, repo);
	}
	if (r)
		return r;
	int64_t n = file_pread_full(blob_fd(blob), head, sizeof(head), 0);
	blob_unref(blob);
	if (n < 0)
		return err_set(&op->err, (int)n, "cannot read a cached blob");
	return content_is_wasm(content_kind(head, (size_t)n)) ? 0 : -ENOENT;
}

static int lookup_main_wasm(struct op *op, const struct node *dir, const struct image *image,
			    struct found *ret)
{
	const struct manifest_names *names = image->names;
	if (names->main_kind == MAIN_WASM_NONE)
		return -ENOENT;
	const struct manifest_entry *e = &image->manifest->layers[names->main_layer];
	if (names->main_kind == MAIN_WASM_MAYBE) {
		int r = is_wasm_inside(op, dir, e);
		if (r)
			return r;
	}
	return found_content(op, dir, e, NODE_MAIN_WASM, ret);
}

static int lookup_in_manifest(struct op *op, const struct node *dir, const struct image *image,
			      const char *name, struct found *ret)
{
	const struct manifest *m = image->manifest;
	if (strcmp(name, "manifest.json") == 0) {
		struct manifest_entry self = {.desc = m->desc};
		return found_content(op, dir, &self, NODE_CONTENT, ret);
	}
	if (m->is_index)
		return -ENOENT;
	if (image->names->config_name && strcmp(name, image->names->config_name) == 0)
		return found_content(op, dir, &m->config, NODE_CONTENT, ret);
	if (strcmp(name, "layers") == 0)
		return found_dir(dir, NODE_LAYERS, name, ret);
	if (strcmp(name, "files") == 0)
		return found_dir(dir, NODE_FILES, name, ret);
	if (strcmp(name, "main.wasm") == 0)
		return lookup_main_wasm(op, dir, image, ret);
	return -ENOENT;
}

static int lookup_in_files(struct op *op, const struct node *dir, const struct image *image,
			   const char *name, struct found *ret)
{
	size_t in = 0;
	int r = tree_files_entry(op->fs, dir, image, &in);
	if (r)
		return r;
	long i = manifest_names_find_file(image->names, in, name);
	if (i < 0)
		return -ENOENT;
	const struct file_entry *e = &image->names->files[i];
	if (e->kind == FILE_KIND_DIR)
		return found_dir(dir, NODE_FILES, name, ret);
	return found_content(op, dir, &image->manifest->layers[e->layer], content_kind_of(name),
			     ret);
}

static int lookup_in_layers(struct op *op, const struct node *dir, const struct image *image,
			    const char *name, struct found *ret)
{
	long i = manifest_names_find_layer(image->manifest, image->names, name);
	if (i < 0)
		return -ENOENT;
	return found_content(op, dir, &image->manifest->layers[i], content_kind_of(name), ret);
}

int tree_lookup_image(struct op *op, const struct node *parent, const char *name, struct found *ret)
{
	struct image *image = NULL;
	int r = tree_image(op, parent, &image);
	if (r)
		return r;
	if (parent->kind == NODE_LAYERS)
		r = lookup_in_layers(op, parent, image, name, ret);
	else if (parent->kind == NODE_FILES)
		r = lookup_in_files(op, parent, image, name, ret);
	else
		r = lookup_in_manifest(op, parent, image, name, ret);
	image_unref(image);
	if (r == -ENOENT)
		ret->entry_s = TREE_FOREVER_S;
	return r;
}
