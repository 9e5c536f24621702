/* SPDX-License-Identifier: Apache-2.0 */
/* tree — which name leads to what: the tree of DESIGN §2.1 and §2.2. Layer: fs/.
 *
 * Functions here run in a handler of an op (fs/op.h): they answer from memory,
 * or return what op_want returned.
 *
 * What lies where:
 *
 *	/ of several      the hosts (fs/sites.h), and below each what else is the root
 *	/, namespaces     names of the repository grammar are directories at once;
 *	                  NAME:TAG and NAME@DIGEST are symlinks at once
 *	<repo>/           tags, manifests, blobs: asked of the origin if nothing of
 *	                  the repository is known
 *	<repo>/tags/      a tag is a directory once the origin or a listing has it
 *	<alg>/<hex>       a digest, once the repository has named it
 *	manifest dir      by its image: certain, no request
 *	/.packages        names of the package grammar are directories at once, and those of
 *	                  versions symlinks at once; not listed
 *
 * The fixed entries of a repository are legal component names too. The entry
 * wins; "tags:" (no tag behind the colon, so no reference) is the repository
 * directory of that name, and where references to it point.
 */
#pragma once

#include <limits.h>
#include <sys/stat.h>

#include "fs/dirlist.h"
#include "fs/image.h"
#include "fs/nodes.h"
#include "fs/op.h"
#include "fs/place.h"

struct blob;
struct listing;
struct rootfs;
struct unpacked;

/* What marks an image layout (OCI image spec, image-layout.md). */
#define TREE_OCI_LAYOUT "{\"imageLayoutVersion\":\"1.0.0\"}"

#define TREE_PACKAGES   ".packages"

/* How long the kernel may keep what never changes, in seconds. */
#define TREE_FOREVER_S 86400.0

/* A child, found by name: a node to be had, and how long its name stands. */
struct found {
	struct node_key key;
	char name[256];        /* key.name points here or into the op */
	struct digest digest;  /* key.digest points here */
	double entry_s;        /* how long the name leads there */
	char place[PLACE_MAX]; /* key.place of content */
};

/* 0, -ENOENT (*ret_entry_s: for how long that is so), -EINPROGRESS, -errno. */
NODISCARD int tree_lookup(struct op *op, const struct node *parent, const char *name,
			  struct found *ret);

/* The attributes of a node; *ret_s: for how long. -EINPROGRESS. */
NODISCARD int tree_attr(struct op *op, const struct node *node, struct stat *ret, double *ret_s);

/* The target of a NODE_REFERENCE, NODE_PACKAGE_VERSION or NODE_LINK. */
NODISCARD int tree_readlink(struct op *op, const struct node *node, char ret[PATH_MAX]);

/* The image that a NODE_TAG or NODE_MANIFEST, or a directory below one, shows; an
 * unbound tag directory is bound by this. New reference. -EINPROGRESS. */
NODISCARD int tree_image(struct op *op, const struct node *node, struct image **ret);

/* The image of a digest. New reference. -EINPROGRESS. */
NODISCARD int tree_image_of(struct op *op, const char *repo, const struct digest *d,
			    struct image **ret);

/* The repository that a directory belongs to, as the origin names it. -ENOENT:
 * too long to be one; -ESTALE. */
NODISCARD int tree_repo(struct op *op, uint64_t node, char ret[REPOSITORY_MAX]);
/* Whether the repository exists. 0, -ENOENT, -EINPROGRESS, -errno. */
NODISCARD int tree_repo_exists(struct op *op, const char *repo);

/* The image of content that is a manifest; *ret is NULL for other content, or for one
 * that no image can be made of. *ret_unknown: it is not in the cache, and no
 * attribute is worth a fetch. New reference. -EINPROGRESS. */
NODISCARD int tree_content_image(struct op *op, const struct node *node, bool *ret_unknown,
				 struct image **ret);

/* An inode number for a name in a directory, by the directory's id or, for many names
 * of one, by its path hash; and for content. */
uint64_t tree_dir_ino(struct fs *fs, uint64_t parent, const char *name);
uint64_t tree_path_hash(struct fs *fs, uint64_t dir);
uint64_t tree_child_ino(uint64_t path_hash, const char *name);
uint64_t tree_content_ino(const struct digest *d, unsigned mode);

/* A tag as a request may have it: fresh, or old where the origin does not answer
 * (in time). 0, -ENOENT, -EINPROGRESS, -errno. *ret_left_s may be NULL. */
NODISCARD int tree_tag(struct op *op, const char *repo, const char *tag, struct descriptor *ret,
		       double *ret_left_s);

/* The tags of a repository, as fresh as a request may have them. New reference.
 * -ENOENT, -EINPROGRESS. */
NODISCARD int tree_tags(struct op *op, const char *repo, struct listing **ret);

/* Parts of tree_lookup, by directory. */
NODISCARD int tree_lookup_namespace(struct op *op, const struct node *parent, const char *name,
				    struct found *ret);
NODISCARD int tree_lookup_repo_entry(struct op *op, const struct node *parent, const char *name,
				     struct found *ret);
NODISCARD int tree_lookup_image(struct op *op, const struct node *parent, const char *name,
				struct found *ret);

/* Names of the tree. */
bool tree_is_fixed_entry(const char *name); /* tags, manifests, blobs, index.json, oci-layout */
bool tree_is_probe(const char *name);       /* what programs look for in every directory */
struct want tree_want(enum want_kind kind, const char *repo);
/* -ENOENT: the origin said so lately, of this want, which `why` looks up. */
int tree_absent(struct op *op, const struct want *w, const char *fmt, ...) PRINTF(3, 4);

/* fs/tree_hosts.c: the first level, where there are several registries. */
NODISCARD int tree_lookup_host(struct op *op, const struct node *root, const char *name,
			       struct found *ret);
NODISCARD int tree_list_hosts(struct op *op, const struct node *root, struct dirlist *l);

/* fs/tree_packages.c: below .packages. What a version's name leads to is asked where it is
 * read. */
NODISCARD int tree_lookup_packages(struct op *op, const struct node *dir, const char *name,
				   struct found *ret);
NODISCARD int tree_list_packages(struct op *op, const struct node *dir, struct dirlist *l);
NODISCARD int tree_package_target(struct op *op, const struct node *version, char ret[PATH_MAX]);

/* Parts of an image's directory. The first two make a child of `dir`. */
NODISCARD int tree_found_content(struct op *op, const struct node *dir,
				 const struct manifest_entry *e, enum node_kind kind,
				 struct found *ret);
NODISCARD int tree_found_dir(const struct node *parent, enum node_kind kind, const char *name,
			     struct found *ret);
/* Of content under that name, by its mode. */
enum node_kind tree_content_kind(const char *name);
/* fs/tree_files.c: below files/, and main.wasm. */
NODISCARD int tree_lookup_files(struct op *op, const struct node *dir, struct image *image,
				const char *name, struct found *ret);
NODISCARD int tree_lookup_main_wasm(struct op *op, const struct node *dir, struct image *image,
				    struct found *ret);
/* The inode that its lookup would find; DIRLIST_INO_UNKNOWN: its archive is not in memory. */
uint64_t tree_main_wasm_ino(struct op *op, const struct image *image,
			    const struct manifest_names *names);
NODISCARD int tree_list_files(struct op *op, const struct node *dir, struct image *image,
			      struct dirlist *l);
/* Of a NODE_LINK in `dir`. */
NODISCARD int tree_files_target(struct op *op, const struct node *dir, struct image *image,
				const char *name, char ret[PATH_MAX]);
/* fs/tree_layers.c: what lies in the layers of the image that `dir` shows. New references;
 * -EINPROGRESS, or why a layer cannot be unpacked. */
NODISCARD int tree_rootfs(struct op *op, const struct node *dir, const struct image *image,
			  struct rootfs **ret);
NODISCARD int tree_unpacked(struct op *op, const struct node *dir, const struct image *image,
			    size_t layer, struct unpacked **ret);
struct tree_member {
	size_t layer; /* of the manifest */
	struct digest digest;
	uint64_t size;
	uint16_t mode; /* for NODE_CONTENT_MODE */
};
enum node_kind tree_member_kind(uint16_t mode);
NODISCARD int tree_found_member(struct op *op, const struct node *dir, const struct image *image,
				const struct tree_member *m, enum node_kind kind,
				struct found *ret);
/* The bytes of a content node that was found there: size bytes of a file, from *ret_at on.
 * New reference. -EINPROGRESS. at_hand: -ENOENT instead of waiting for a layer. */
NODISCARD int tree_member_bytes(struct op *op, const struct node *node, const struct place *p,
				struct blob **ret, uint64_t *ret_at);
NODISCARD int tree_member_at_hand(struct op *op, const struct node *node, const struct place *p,
				  struct blob **ret, uint64_t *ret_at);
/* fs/tree_config.c: all names of the image, those too that its config decides.
 * -EINPROGRESS; what its blob fails with. */
NODISCARD int tree_names(struct op *op, const struct node *dir, struct image *image,
			 const struct manifest_names **ret);

/* fs/tree_index.c. tree_shown: what an index stands for, below `dir`, takes its place
 * in *image; -ENOENT: nothing. */
NODISCARD int tree_shown(struct op *op, const struct node *dir, struct image **image);
bool tree_index_has_files(const struct image *index);
bool tree_index_is_wasm(const struct image *index); /* as far as it says itself */
NODISCARD int tree_lookup_platform(const struct node *dir, const struct image *index,
				   const char *name, struct found *ret);
NODISCARD int tree_list_platforms(struct op *op, const struct node *dir, const struct image *index,
				  struct dirlist *l);
NODISCARD int tree_platform_digest(const struct image *index, const char *name, struct digest *ret);

/* fs/tree_referrers.c: referrers/ and referrers/<type>/. */
NODISCARD int tree_lookup_referrers(struct op *op, const struct node *dir, const char *name,
				    struct found *ret);
NODISCARD int tree_list_referrers(struct op *op, const struct node *dir, struct dirlist *l);
NODISCARD int tree_referrer_digest(const char *name, struct digest *ret);

/* Parts of a listing; `path` is the hash of the directory's own path. */
NODISCARD int tree_add_dir(struct dirlist *l, uint64_t path, const char *name, size_t len);
NODISCARD int tree_add_link(struct dirlist *l, uint64_t path, const char *name);
NODISCARD int tree_add_content(struct dirlist *l, const char *name, const struct digest *d,
			       bool wasm);
