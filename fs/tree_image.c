/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the tree that an image's manifest decides. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/catalog.h"
#include "fs/tree.h"
#include "registry/reference.h"

int tree_image_of(struct op *op, const char *repo, const struct digest *d, struct image **ret)
{
	*ret = catalog_image(op->site->catalog, d);
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
		r = tree_repo(op, dir.id, repo);
	if (r == 0 && !digest_is_set(&dir.digest))
		r = bind(op, &dir, repo);
	return r ? r : tree_image_of(op, repo, &dir.digest, ret);
}

int tree_found_content(struct op *op, const struct node *dir, const struct manifest_entry *e,
		       enum node_kind kind, struct found *ret)
{
	if (!digest_is_set(&e->desc.digest))
		return err_set(&op->err, -EOPNOTSUPP, "%s: a digest that cannot be verified here",
			       e->digest_text);
	int r = tree_repo(op, dir->id, ret->place);
	if (r)
		return r;
	ret->digest = e->desc.digest;
	ret->key = (struct node_key){
	    .kind = kind, .digest = &ret->digest, .size = e->desc.size, .place = ret->place};
	ret->entry_s = TREE_FOREVER_S;
	return 0;
}

enum node_kind tree_content_kind(const char *name)
{
	return name_is_wasm(name) ? NODE_CONTENT_WASM : NODE_CONTENT;
}

int tree_found_dir(const struct node *parent, enum node_kind kind, const char *name,
		   struct found *ret)
{
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	ret->key = (struct node_key){
	    .parent = parent->id, .kind = kind, .name = ret->name, .name_len = strlen(ret->name)};
	ret->entry_s = TREE_FOREVER_S;
	return 0;
}

static int lookup_in_index(struct op *op, const struct node *dir, struct image *index,
			   const char *name, struct found *ret)
{
	if (strcmp(name, "platforms") == 0)
		return tree_found_dir(dir, NODE_PLATFORMS, name, ret);
	if (strcmp(name, "files") == 0 && tree_index_has_files(index))
		return tree_found_dir(dir, NODE_FILES, name, ret);
	if (strcmp(name, "main.wasm") != 0)
		return -ENOENT;
	struct image *image = image_ref(index);
	int r = tree_shown(op, dir, &image);
	if (r == 0)
		r = tree_lookup_main_wasm(op, dir, image, ret);
	image_unref(image);
	return r;
}

static int lookup_in_manifest(struct op *op, const struct node *dir, struct image *image,
			      const char *name, struct found *ret)
{
	const struct manifest *m = image->manifest;
	if (strcmp(name, "manifest.json") == 0) {
		struct manifest_entry self = {.desc = m->desc};
		return tree_found_content(op, dir, &self, NODE_CONTENT, ret);
	}
	if (strcmp(name, "referrers") == 0)
		return tree_found_dir(dir, NODE_REFERRERS, name, ret);
	if (m->is_index)
		return lookup_in_index(op, dir, image, name, ret);
	if (image->names->config_name && strcmp(name, image->names->config_name) == 0)
		return tree_found_content(op, dir, &m->config, NODE_CONTENT, ret);
	if (strcmp(name, "layers") == 0)
		return tree_found_dir(dir, NODE_LAYERS, name, ret);
	if (strcmp(name, "files") == 0)
		return tree_found_dir(dir, NODE_FILES, name, ret);
	if (strcmp(name, "main.wasm") == 0)
		return tree_lookup_main_wasm(op, dir, image, ret);
	return -ENOENT;
}

static int lookup_in_layers(struct op *op, const struct node *dir, const struct image *image,
			    const char *name, struct found *ret)
{
	long i = manifest_names_find_layer(image->manifest, image->names, name);
	if (i < 0)
		return -ENOENT;
	return tree_found_content(op, dir, &image->manifest->layers[i], tree_content_kind(name),
				  ret);
}

int tree_lookup_image(struct op *op, const struct node *parent, const char *name, struct found *ret)
{
	struct image *image = NULL;
	int r = tree_image(op, parent, &image);
	if (r)
		return r;
	if (parent->kind == NODE_FILES)
		r = tree_shown(op, parent, &image);
	if (r)
		;
	else if (parent->kind == NODE_PLATFORMS)
		r = tree_lookup_platform(parent, image, name, ret);
	else if (parent->kind == NODE_LAYERS)
		r = lookup_in_layers(op, parent, image, name, ret);
	else if (parent->kind == NODE_FILES)
		r = tree_lookup_files(op, parent, image, name, ret);
	else
		r = lookup_in_manifest(op, parent, image, name, ret);
	image_unref(image);
	if (r == -ENOENT)
		ret->entry_s = TREE_FOREVER_S;
	return r;
}
