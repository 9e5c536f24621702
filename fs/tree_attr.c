/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of the tree's nodes: DESIGN §2.3. */
#include <errno.h>
#include <string.h>

#include "cache/store.h"
#include "fs/catalog.h"
#include "fs/tree.h"
#include "registry/reference.h"

#define BLOCK     512u /* of st_blocks */
#define UNKNOWN_S 1.0  /* how long the time of a manifest is kept that is not here yet */

/* Numbers of content have this bit, those of directories and links have not. */
#define INO_CONTENT (1ull << 63)

/* Equal bytes of another mode are another inode. */
uint64_t tree_content_ino(const struct digest *d, unsigned mode)
{
	uint64_t ino = 0;
	memcpy(&ino, d->bytes, sizeof(ino));
	return (ino ^ ((mode & 0111) * 0x0101010101010101ull)) | INO_CONTENT;
}

static uint64_t mix(uint64_t h, const char *name)
{
	for (const unsigned char *p = (const unsigned char *)name; *p; p++)
		h = (h ^ *p) * 0x100000001b3ull; /* FNV-1a */
	return (h ^ '/') * 0x100000001b3ull;
}

uint64_t tree_child_ino(uint64_t path_hash, const char *name)
{
	uint64_t ino = mix(path_hash, name) & ~INO_CONTENT;
	return ino > FUSE_ROOT_ID ? ino : ino + 2;
}

uint64_t tree_path_hash(struct fs *fs, uint64_t dir)
{
	struct node node;
	if (!dir || node_read(fs->nodes, dir, &node) || node.kind == NODE_ROOT)
		return 0xcbf29ce484222325ull;
	return tree_dir_ino(fs, node.parent, node.name);
}

uint64_t tree_dir_ino(struct fs *fs, uint64_t parent, const char *name)
{
	return tree_child_ino(tree_path_hash(fs, parent), name);
}

/* As long as READLINK's answer, if the tag's digest is sha256 like all that
 * registries give today. */
static off_t link_size(const struct node *node)
{
	struct entry_reference ref;
	char hex[DIGEST_HEX_MAX] = "";
	if (reference_parse_entry(node->name, strlen(node->name), &ref))
		return 0;
	if (digest_is_set(&ref.digest))
		digest_hex(&ref.digest, hex);
	size_t hex_len = hex[0] ? strlen(hex) : 64;
	return (off_t)(ref.name_len + strlen("/manifests/sha256/") + hex_len);
}

static void file_attr(const struct node *node, mode_t mode, struct stat *st)
{
	st->st_mode = S_IFREG | mode;
	st->st_size = (off_t)node->size;
	st->st_blocks = (blkcnt_t)((node->size + BLOCK - 1) / BLOCK);
	st->st_ino = tree_content_ino(&node->digest, mode);
}

static void set_mtime(struct stat *st, int64_t ms)
{
	st->st_mtim.tv_sec = ms / 1000;
	st->st_mtim.tv_nsec = ms % 1000 * 1000000;
}

int tree_content_image(struct op *op, const struct node *node, bool *ret_unknown,
		       struct image **ret)
{
	char repo[NODE_REPO_MAX];
	struct descriptor named;
	*ret_unknown = false;
	*ret = catalog_image(op->site->catalog, &node->digest);
	/* What lies in an archive was never named by itself. */
	if (*ret || node_content_place(op->fs->nodes, node->id, repo) || strchr(repo, ' ') ||
	    catalog_named(op->site->catalog, repo, &node->digest, &named) != KNOWN_FRESH ||
	    !media_type_is_manifest(named.media_type))
		return 0;
	struct want w = tree_want(WANT_MANIFEST, repo);
	w.digest = node->digest;
	*ret_unknown = !store_has(op->fs->store, &node->digest, NULL);
	return *ret_unknown || op_failed(op, &w) ? 0 : op_want(op, &w, 0);
}

/* A manifest's own bytes carry what it says of its making. */
static int content_attr(struct op *op, const struct node *node, struct stat *st, double *ret_s)
{
	struct image *image = NULL;
	bool unknown;
	int r = tree_content_image(op, node, &unknown, &image);
	if (r)
		return r;
	if (unknown)
		*ret_s = UNKNOWN_S;
	if (image)
		set_mtime(st, image->manifest->created_ms);
	image_unref(image);
	return 0;
}

/* A manifest directory shows when its artifact was made. So does a tag directory
 * that is bound, if that costs nothing; its attributes are not kept for long. */
static int image_attr(struct op *op, const struct node *node, struct stat *st, double *ret_s)
{
	struct image *image = NULL;
	if (node->kind == NODE_TAG) {
		*ret_s = (double)op->fs->o.tag_ttl_ms / 1000.0;
		image = digest_is_set(&node->digest)
			    ? catalog_image(op->site->catalog, &node->digest)
			    : NULL;
	} else {
		int r = tree_image(op, node, &image);
		if (r)
			return r;
	}
	if (image)
		set_mtime(st, image->manifest->created_ms);
	image_unref(image);
	return 0;
}

/* What leads nowhere any more is still a link. */
static int link_attr(struct op *op, const struct node *node, struct stat *ret)
{
	char target[PATH_MAX];
	int r = tree_readlink(op, node, target);
	ret->st_mode = S_IFLNK | 0777;
	ret->st_size = r ? 0 : (off_t)strlen(target);
	return r == -EINPROGRESS ? r : 0;
}

static int attr_of_kind(struct op *op, const struct node *node, struct stat *ret, double *ret_s)
{
	int r;
	ret->st_nlink = 1;
	ret->st_blksize = 4096;
	*ret_s = TREE_FOREVER_S;
	switch (node->kind) {
	case NODE_CONTENT:
		file_attr(node, 0444, ret);
		return content_attr(op, node, ret, ret_s);
	case NODE_CONTENT_WASM:
	case NODE_MAIN_WASM:
		file_attr(node, 0555, ret);
		return 0;
	case NODE_CONTENT_MODE:
		file_attr(node, node->mode, ret);
		return 0;
	case NODE_REFERENCE:
		ret->st_mode = S_IFLNK | 0777;
		ret->st_size = link_size(node);
		break;
	case NODE_ROOT:
	case NODE_HOST:
	case NODE_NAMESPACE:
	case NODE_TAGS:
	case NODE_TAG:
	case NODE_MANIFESTS:
	case NODE_MANIFEST_ALG:
	case NODE_MANIFEST:
	case NODE_BLOBS:
	case NODE_BLOB_ALG:
	case NODE_LAYERS:
	case NODE_FILES:
	case NODE_PLATFORMS:
	case NODE_REFERRERS:
	case NODE_REFERRER_TYPE:
	case NODE_PACKAGES:
	case NODE_PACKAGE_SPACE:
	case NODE_PACKAGE:
		ret->st_mode = S_IFDIR | 0555;
		break;
	case NODE_PACKAGE_VERSION: /* how far it leads is known once somebody was asked */
		ret->st_mode = S_IFLNK | 0777;
		break;
	case NODE_INDEX_JSON: /* nobody knows its size before it is made */
		ret->st_mode = S_IFREG | 0444;
		*ret_s = 0;
		break;
	case NODE_OCI_LAYOUT:
		ret->st_mode = S_IFREG | 0444;
		ret->st_size = (off_t)strlen(TREE_OCI_LAYOUT);
		ret->st_blocks = 1;
		break;
	case NODE_LINK:
		r = link_attr(op, node, ret);
		if (r)
			return r;
		break;
	case NODE_FREE:
	case NODE_KIND_COUNT:
		return -ESTALE;
	}
	ret->st_ino =
	    node->kind == NODE_ROOT ? FUSE_ROOT_ID : tree_dir_ino(op->fs, node->parent, node->name);
	if (node->kind == NODE_MANIFEST || node->kind == NODE_TAG)
		return image_attr(op, node, ret, ret_s);
	return 0;
}

int tree_attr(struct op *op, const struct node *node, struct stat *ret, double *ret_s)
{
	memset(ret, 0, sizeof(*ret));
	ret->st_uid = op->fs->o.uid;
	ret->st_gid = op->fs->o.gid;
	int r = attr_of_kind(op, node, ret, ret_s);
	if (!S_ISLNK(ret->st_mode))
		ret->st_mode &= ~op->fs->o.umask;
	return r;
}
