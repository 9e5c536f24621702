/* SPDX-License-Identifier: Apache-2.0 */
/* Below files/, and main.wasm: what a pull would give, and what to run. */
#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "cache/store.h"
#include "fs/dirlist.h"
#include "fs/tree.h"

/* The entry that a directory node below files/ stands for, in names->files. */
static int files_entry(struct fs *fs, const struct node *node, const struct manifest_names *names,
		       size_t *ret)
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
	r = files_entry(fs, &above, names, &in);
	if (r)
		return r;
	long i = manifest_names_find_file(names, in, node->name);
	if (i < 0 || names->files[i].kind != FILE_KIND_DIR)
		return -ESTALE;
	*ret = (size_t)i;
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
	int r = tree_repo(op, dir->id, repo);
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

int tree_lookup_main_wasm(struct op *op, const struct node *dir, struct image *image,
			  struct found *ret)
{
	const struct manifest_names *names = NULL;
	int r = tree_names(op, dir, image, &names);
	if (r)
		return r;
	const struct manifest_entry *e = &image->manifest->layers[names->main_layer];
	switch (names->main_kind) {
	case MAIN_WASM_MAYBE:
		r = is_wasm_inside(op, dir, e);
		return r ? r : tree_found_content(op, dir, e, NODE_MAIN_WASM, ret);
	case MAIN_WASM_LAYER:
		return tree_found_content(op, dir, e, NODE_MAIN_WASM, ret);
	case MAIN_WASM_ROOTFS:
	case MAIN_WASM_PLUGIN:
	case MAIN_WASM_NONE:
		break;
	}
	return -ENOENT;
}

/* The names of the image, and which of its entries the directory is. */
static int files_dir(struct op *op, const struct node *dir, struct image *image,
		     const struct manifest_names **ret, size_t *ret_entry)
{
	int r = tree_names(op, dir, image, ret);
	return r ? r : files_entry(op->fs, dir, *ret, ret_entry);
}

int tree_lookup_files(struct op *op, const struct node *dir, struct image *image, const char *name,
		      struct found *ret)
{
	const struct manifest_names *names = NULL;
	size_t in = 0;
	int r = files_dir(op, dir, image, &names, &in);
	if (r)
		return r;
	long i = manifest_names_find_file(names, in, name);
	if (i < 0)
		return -ENOENT;
	const struct file_entry *e = &names->files[i];
	if (e->kind == FILE_KIND_DIR)
		return tree_found_dir(dir, NODE_FILES, name, ret);
	return tree_found_content(op, dir, &image->manifest->layers[e->layer],
				  tree_content_kind(name), ret);
}

int tree_list_files(struct op *op, const struct node *dir, struct image *image, struct dirlist *l)
{
	const struct manifest_names *names = NULL;
	size_t in = 0;
	int r = files_dir(op, dir, image, &names, &in);
	if (r)
		return r;
	uint64_t hash = tree_path_hash(op->fs, dir->id);
	const struct file_entry *files = names->files;
	for (size_t i = files[in].first; i < files[in].first + files[in].count && r == 0; i++) {
		const struct file_entry *e = &files[i];
		const struct digest *d = &image->manifest->layers[e->layer].desc.digest;
		if (e->kind == FILE_KIND_DIR)
			r = tree_add_dir(l, hash, e->name, strlen(e->name));
		else
			r = tree_add_content(l, e->name, d, name_is_wasm(e->name));
	}
	return r;
}
