/* SPDX-License-Identifier: Apache-2.0 */
/* Below files/, and main.wasm: what a pull would give, and what to run.
 *
 * Two trees lie over each other below files/: that of the layers with names of their
 * own, which the manifest knows, and that of the layers of a container image, which is
 * known once they are unpacked. Hardly any image has both; then the first hides what of
 * the second has the same name, but for directories, which are joined. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cache/store.h"
#include "fs/dirlist.h"
#include "fs/layers.h"
#include "fs/rootfs.h"
#include "fs/tree.h"
#include "fs/unpacked.h"

/* Directories below each other. */
#define DEPTH_MAX (ROOTFS_DEPTH_MAX + NAMES_DEPTH_MAX)

/* Of Istio's and Higress's proxies, in an archive. */
#define PLUGIN_NAME "plugin.wasm"

/* What is below files/, as far as it is needed. */
struct below {
	const struct manifest_names *names;
	struct rootfs *root; /* NULL: none, or not needed yet */
};

/* A directory below files/: its entries in the two trees. */
struct spot {
	bool in_files, in_root, top;
	size_t file, root;
};

static bool is_files_dir(const struct manifest_names *names, long i)
{
	return i >= 0 && names->files[i].kind == FILE_KIND_DIR;
}

static bool is_root_dir(const struct rootfs *root, long i)
{
	return i >= 0 && root->v[i].kind == ROOTFS_DIR;
}

static long find_in_files(const struct below *b, const struct spot *s, const char *name)
{
	return s->in_files ? manifest_names_find_file(b->names, s->file, name) : -ENOENT;
}

static long find_in_root(const struct below *b, const struct spot *s, const char *name)
{
	return b->root && s->in_root ? rootfs_find(b->root, s->root, name) : -ENOENT;
}

/* Where containers have other file systems mounted: there, though perhaps not in the
 * image. */
static bool is_mount_dir(const struct below *b, const struct spot *s, const char *name)
{
	return b->names->root_count > 0 && b->names->root_is_image && s->top &&
	       (strcmp(name, "dev") == 0 || strcmp(name, "proc") == 0 || strcmp(name, "sys") == 0);
}

static void step_down(const struct below *b, struct spot *s, const char *name)
{
	long file = find_in_files(b, s, name), root = find_in_root(b, s, name);
	s->in_files = is_files_dir(b->names, file);
	s->in_root = b->root && is_root_dir(b->root, root);
	s->file = s->in_files ? (size_t)file : 0;
	s->root = s->in_root ? (size_t)root : 0;
	s->top = false;
}

static int find_spot(struct op *op, const struct node *dir, const struct below *b, struct spot *ret)
{
	uint64_t chain[DEPTH_MAX];
	struct node at = *dir, above;
	size_t n = 0;
	for (;;) {
		int r = node_read(op->fs->nodes, at.parent, &above);
		if (r)
			return r;
		if (above.kind != NODE_FILES)
			break;
		if (n == DEPTH_MAX)
			return -ENAMETOOLONG;
		chain[n++] = at.id;
		at = above;
	}
	*ret = (struct spot){.in_files = true, .in_root = true, .top = true};
	while (n > 0) {
		int r = node_read(op->fs->nodes, chain[--n], &at);
		if (r)
			return r;
		step_down(b, ret, at.name);
	}
	return 0;
}

static int need_root(struct op *op, const struct node *dir, const struct image *image,
		     struct below *b)
{
	return b->names->root_count > 0 ? tree_rootfs(op, dir, image, &b->root) : 0;
}

/* ---- lookup ---- */

/* Of a Spin lock: in the lock itself, or in the first bundle that has such a member. */
static int lookup_loose(struct op *op, const struct node *dir, const struct image *image,
			const struct manifest_names *names, const struct loose_file *f,
			const char *name, struct found *ret)
{
	struct tree_member m = {
	    .layer = (size_t)names->lock_layer, .digest = f->digest, .size = f->size};
	int r = f->inlined && names->lock_layer >= 0 ? 0 : -ENOENT;
	for (size_t i = 0; r == -ENOENT && i < names->bundle_count; i++) {
		struct unpacked *u = NULL;
		r = tree_unpacked(op, dir, image, names->bundles[i], &u);
		if (r)
			return r;
		m.layer = names->bundles[i];
		r = tar_index_has(u->index, &f->digest, &m.size) ? 0 : -ENOENT;
		unpacked_unref(u);
	}
	if (r)
		return err_set(&op->err, r, "%s: the lock names a file that no layer has", name);
	return tree_found_member(op, dir, image, &m, tree_content_kind(name), ret);
}

static int found_in_root(struct op *op, const struct node *dir, const struct image *image,
			 const struct below *b, size_t i, enum node_kind kind, struct found *ret)
{
	const struct rootfs_entry *e = &b->root->v[i];
	struct tree_member m = {.layer = b->names->root_layers[e->layer],
				.digest = rootfs_digest(b->root, i),
				.size = e->size,
				.mode = e->mode};
	return tree_found_member(op, dir, image, &m, kind, ret);
}

static int found_in_files(struct op *op, const struct node *dir, const struct image *image,
			  const struct manifest_names *names, size_t i, struct found *ret)
{
	const struct file_entry *e = &names->files[i];
	if (e->kind == FILE_KIND_LOOSE)
		return lookup_loose(op, dir, image, names, &names->loose[e->layer], e->name, ret);
	return tree_found_content(op, dir, &image->manifest->layers[e->layer],
				  tree_content_kind(e->name), ret);
}

static int lookup_both(struct op *op, const struct node *dir, const struct image *image,
		       struct below *b, const char *name, struct found *ret)
{
	struct spot s;
	int r = find_spot(op, dir, b, &s);
	if (r)
		return r;
	long file = find_in_files(b, &s, name);
	if (file >= 0 && !is_files_dir(b->names, file))
		return found_in_files(op, dir, image, b->names, (size_t)file, ret);
	r = need_root(op, dir, image, b);
	if (r == 0)
		r = find_spot(op, dir, b, &s);
	if (r)
		return r;
	long root = find_in_root(b, &s, name);
	if (file >= 0 || is_root_dir(b->root, root) || (root < 0 && is_mount_dir(b, &s, name)))
		return tree_found_dir(dir, NODE_FILES, name, ret);
	if (root < 0)
		return -ENOENT;
	const struct rootfs_entry *e = &b->root->v[root];
	if (e->kind == ROOTFS_LINK)
		return tree_found_dir(dir, NODE_LINK, name, ret);
	return found_in_root(op, dir, image, b, (size_t)root, tree_member_kind(e->mode), ret);
}

int tree_lookup_files(struct op *op, const struct node *dir, struct image *image, const char *name,
		      struct found *ret)
{
	struct below b = {0};
	int r = tree_names(op, dir, image, &b.names);
	if (r == 0)
		r = lookup_both(op, dir, image, &b, name, ret);
	rootfs_unref(b.root);
	return r;
}

int tree_files_target(struct op *op, const struct node *dir, struct image *image, const char *name,
		      char ret[PATH_MAX])
{
	struct below b = {0};
	struct spot s = {0};
	int r = tree_names(op, dir, image, &b.names);
	if (r == 0)
		r = need_root(op, dir, image, &b);
	if (r == 0)
		r = find_spot(op, dir, &b, &s);
	long i = r ? r : find_in_root(&b, &s, name);
	if (i >= 0 && b.root->v[i].kind == ROOTFS_LINK)
		snprintf(ret, PATH_MAX, "%s", rootfs_target(b.root, (size_t)i));
	else if (r == 0)
		r = -ESTALE;
	rootfs_unref(b.root);
	return r;
}

/* ---- listing ---- */

static int list_files(const struct below *b, const struct spot *s, const struct image *image,
		      uint64_t hash, struct dirlist *l)
{
	const struct file_entry *files = b->names->files;
	size_t first = files[s->file].first, end = first + files[s->file].count;
	int r = 0;
	for (size_t i = first; i < end && r == 0; i++) {
		const struct file_entry *e = &files[i];
		if (e->kind == FILE_KIND_DIR)
			r = tree_add_dir(l, hash, e->name, strlen(e->name));
		else if (e->kind == FILE_KIND_LOOSE)
			r = tree_add_content(l, e->name, &b->names->loose[e->layer].digest,
					     name_is_wasm(e->name));
		else
			r = tree_add_content(l, e->name,
					     &image->manifest->layers[e->layer].desc.digest,
					     name_is_wasm(e->name));
	}
	return r;
}

static int list_root_entry(const struct rootfs *root, size_t i, uint64_t hash, struct dirlist *l)
{
	const char *name = rootfs_name(root, i);
	struct digest d;
	switch ((enum rootfs_kind)root->v[i].kind) {
	case ROOTFS_DIR:
		return tree_add_dir(l, hash, name, strlen(name));
	case ROOTFS_LINK:
		return tree_add_link(l, hash, name);
	case ROOTFS_MEMBER:
		break;
	}
	d = rootfs_digest(root, i);
	return dirlist_add(l, name, strlen(name), tree_content_ino(&d, root->v[i].mode), S_IFREG);
}

static int list_root(const struct below *b, const struct spot *s, uint64_t hash, struct dirlist *l)
{
	const struct rootfs_entry *dir = &b->root->v[s->root];
	int r = 0;
	for (size_t i = dir->first; i < dir->first + dir->count && r == 0; i++) {
		if (find_in_files(b, s, rootfs_name(b->root, i)) < 0)
			r = list_root_entry(b->root, i, hash, l);
	}
	return r;
}

int tree_list_files(struct op *op, const struct node *dir, struct image *image, struct dirlist *l)
{
	struct below b = {0};
	struct spot s = {0};
	uint64_t hash = tree_path_hash(op->fs, dir->id);
	int r = tree_names(op, dir, image, &b.names);
	if (r == 0)
		r = need_root(op, dir, image, &b);
	if (r == 0)
		r = find_spot(op, dir, &b, &s);
	if (r == 0 && s.in_files)
		r = list_files(&b, &s, image, hash, l);
	if (r == 0 && b.root && s.in_root)
		r = list_root(&b, &s, hash, l);
	rootfs_unref(b.root);
	return r;
}

/* ---- main.wasm ---- */

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

/* Where there is no entry point: the plugin of proxies, else the only file that is called as
 * Wasm is; or -ENOENT. */
static long find_only_wasm(const struct rootfs *root)
{
	long found = -ENOENT;
	bool several = false;
	for (size_t i = 0; i < root->n; i++) {
		const char *name = rootfs_name(root, i);
		if (root->v[i].kind != ROOTFS_MEMBER || !name_is_wasm(name))
			continue;
		if (strcmp(name, PLUGIN_NAME) == 0)
			return (long)i;
		several |= found >= 0;
		found = (long)i;
	}
	return several ? -ENOENT : found;
}

/* What the entry point names in the merged tree, or -ENOENT. */
static long find_entry_point(const struct rootfs *root, const struct manifest_names *names)
{
	if (!names->main_paths)
		return find_only_wasm(root);
	for (size_t k = 0; names->main_paths[k]; k++) {
		long i = rootfs_resolve(root, 0, names->main_paths[k]);
		if (i >= 0 && root->v[i].kind == ROOTFS_MEMBER)
			return i;
	}
	return -ENOENT;
}

static int lookup_in_root(struct op *op, const struct node *dir, const struct image *image,
			  const struct manifest_names *names, struct found *ret)
{
	struct below b = {.names = names};
	int r = need_root(op, dir, image, &b);
	if (r)
		return r;
	long i = b.root ? find_entry_point(b.root, names) : -ENOENT;
	r = i < 0 ? (int)i : found_in_root(op, dir, image, &b, (size_t)i, NODE_MAIN_WASM, ret);
	rootfs_unref(b.root);
	return r;
}

/* The first member of the archive that is called so, in whatever directory; or NULL. */
static const struct tar_member *find_plugin(const struct unpacked *u)
{
	for (size_t i = 0; i < u->index->n; i++) {
		const struct tar_member *m = &u->index->v[i];
		const char *slash = strrchr(m->path, '/');
		if (m->kind == TAR_FILE && strcmp(slash ? slash + 1 : m->path, PLUGIN_NAME) == 0)
			return m;
	}
	return NULL;
}

static int lookup_plugin(struct op *op, const struct node *dir, const struct image *image,
			 size_t layer, struct found *ret)
{
	struct unpacked *u = NULL;
	int r = tree_unpacked(op, dir, image, layer, &u);
	if (r)
		return r;
	const struct tar_member *m = find_plugin(u);
	struct tree_member found = {.layer = layer};
	if (m) {
		found.digest = tar_index_digest(m);
		found.size = m->size;
	}
	r = m ? tree_found_member(op, dir, image, &found, NODE_MAIN_WASM, ret) : -ENOENT;
	unpacked_unref(u);
	return r;
}

static uint64_t ino_in_root(struct op *op, const struct image *image,
			    const struct manifest_names *names)
{
	struct rootfs *root = layers_rootfs(op->site->layers, &image->manifest->desc.digest);
	long i = root ? find_entry_point(root, names) : -ENOENT;
	struct digest d = {0};
	if (i >= 0)
		d = rootfs_digest(root, (size_t)i);
	rootfs_unref(root);
	return i >= 0 ? tree_content_ino(&d, 0555) : DIRLIST_INO_UNKNOWN;
}

static uint64_t ino_of_plugin(struct op *op, const struct image *image, size_t layer)
{
	struct unpacked *u =
	    layers_unpacked(op->site->layers, &image->manifest->layers[layer].desc.digest);
	const struct tar_member *m = u ? find_plugin(u) : NULL;
	struct digest d = {0};
	if (m)
		d = tar_index_digest(m);
	unpacked_unref(u);
	return m ? tree_content_ino(&d, 0555) : DIRLIST_INO_UNKNOWN;
}

uint64_t tree_main_wasm_ino(struct op *op, const struct image *image,
			    const struct manifest_names *names)
{
	const struct digest *d;
	switch (names->main_kind) {
	case MAIN_WASM_LAYER:
	case MAIN_WASM_MAYBE:
		d = &image->manifest->layers[names->main_layer].desc.digest;
		return digest_is_set(d) ? tree_content_ino(d, 0555) : DIRLIST_INO_UNKNOWN;
	case MAIN_WASM_ROOTFS:
		return ino_in_root(op, image, names);
	case MAIN_WASM_PLUGIN:
		return ino_of_plugin(op, image, names->main_layer);
	case MAIN_WASM_NONE:
		break;
	}
	return DIRLIST_INO_UNKNOWN;
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
		return lookup_in_root(op, dir, image, names, ret);
	case MAIN_WASM_PLUGIN:
		return lookup_plugin(op, dir, image, names->main_layer, ret);
	case MAIN_WASM_NONE:
		break;
	}
	return -ENOENT;
}
