/* SPDX-License-Identifier: Apache-2.0 */
/* nodes — what the kernel's node ids mean. Layer: fs/; no libfuse.
 *
 * The table lives in a shared memory file (memfd) without pointers: whoever
 * maps the file resolves every id the kernel holds. Offsets and indexes only,
 * fixed-width fields, a magic and a version at its head.
 *
 * A node id names one thing with one set of attributes: (generation << 32 |
 * slot), slot 1 being the root (FUSE_ROOT_ID). Equal ids are equal keys, and
 * the whole key is compared, never a hash of it:
 *
 *	directories and symlinks   (parent id, kind, name): each path has its own
 *	content                    (kind, digest, size, mode): one node wherever it
 *	                           appears, so one page cache
 *
 * Life of a node
 *
 *	node_get     finds or makes it and counts one lookup: exactly for each
 *	             entry reply that carries the id (take it back with
 *	             node_forget if the reply failed)
 *	node_forget  the kernel's FORGET. A node whose count is 0 and that has no
 *	             child is freed, and then its parents, upwards.
 *	node_detach  a tag directory that is bound to an old digest leaves the
 *	             name index (the next node_get of that name makes a new node);
 *	             who is inside keeps its id
 *
 * A directory holds its parent alive. The root is never freed. A slot that is
 * used again has another generation, so an id never names a second thing.
 *
 * Backing ids (fs/backing.h) and open counts live in the record of their
 * content node; each open file of the kernel has a handle here, its fi->fh.
 *
 * Another process takes over (nodes_attach) when the one before is gone, wherever it
 * ended: what it left is repaired. The kernel then sends again what was not answered,
 * with NODE_UNIQUE_RESENT in its number, and by that number it is known here what was
 * done for it already, and that is undone: the open, or the count of the lookup. So counts
 * do not drift. FORGET, which is not sent again: fs/handover.h. A RELEASE may be: a handle is
 * closed once.
 *
 * Threads: any; one internal mutex, a leaf in the lock order; nothing blocks.
 * Limits: NODES_MAX nodes; then node_get is -ENFILE. Names up to NAME_MAX.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"

#define NODES_MAX (4u << 20)

enum node_kind {
	NODE_FREE = 0,
	NODE_ROOT,            /* a registry's tree: namespaces; or hosts */
	NODE_HOST,            /* at the first level, where there are several registries */
	NODE_NAMESPACE,       /* a component of a repository name; perhaps a repository */
	NODE_TAGS,            /* <repo>/tags */
	NODE_TAG,             /* <repo>/tags/<tag>; digest: what it is bound to, or none yet */
	NODE_MANIFESTS,       /* <repo>/manifests */
	NODE_MANIFEST_ALG,    /* <repo>/manifests/<alg> */
	NODE_MANIFEST,        /* <repo>/manifests/<alg>/<hex>; digest */
	NODE_BLOBS,           /* <repo>/blobs */
	NODE_BLOB_ALG,        /* <repo>/blobs/<alg> */
	NODE_LAYERS,          /* in a manifest directory */
	NODE_FILES,           /* in a manifest directory, and directories below it */
	NODE_PLATFORMS,       /* platforms/ in an index's directory */
	NODE_REFERRERS,       /* referrers/ in a manifest directory */
	NODE_REFERRER_TYPE,   /* referrers/<type> */
	NODE_PACKAGES,        /* .packages at the root, found by lookup only */
	NODE_PACKAGE_SPACE,   /* .packages/<namespace> */
	NODE_PACKAGE,         /* .packages/<namespace>/<name> */
	NODE_INDEX_JSON,      /* <repo>/index.json: made when it is opened */
	NODE_OCI_LAYOUT,      /* <repo>/oci-layout */
	NODE_REFERENCE,       /* symlink <repo>:<tag>, <repo>@<digest> */
	NODE_PACKAGE_VERSION, /* symlink <version>.wasm in a NODE_PACKAGE */
	NODE_LINK,            /* symlink in a directory that knows where it leads to */
	NODE_CONTENT,         /* bytes of a digest, mode 0444 */
	NODE_CONTENT_WASM,    /* the same with mode 0555: under a name ending in .wasm */
	NODE_CONTENT_MODE,    /* the same with another mode: a member of an archive */
	NODE_MAIN_WASM,       /* the same as main.wasm: opens only if it is Wasm */
	NODE_KIND_COUNT
};

struct nodes;

bool node_kind_is_content(enum node_kind kind);

/* A copy of a record: plain values, safe after the lock is gone. */
struct node {
	uint64_t id;
	uint64_t parent; /* 0: content has none */
	enum node_kind kind;
	struct digest digest; /* content; NODE_MANIFEST; a bound NODE_TAG */
	uint64_t size;        /* content */
	uint16_t mode;        /* NODE_CONTENT_MODE: 0444 and any of 0111; else 0 */
	bool several;         /* content that was found in more than one repository */
	char name[256];       /* of directories and symlinks */
};

struct node_key {
	uint64_t parent; /* 0 for content */
	enum node_kind kind;
	const char *name; /* NULL for content */
	size_t name_len;
	const struct digest *digest; /* content; NODE_MANIFEST; else NULL */
	uint64_t size;               /* content */
	uint16_t mode;               /* NODE_CONTENT_MODE; else 0 */
	/* content: where it was found (fs/place.h), and below which host (NULL or "": there is
	 * one registry); the latest are kept */
	const char *place, *host;
};

/* Of a request that was sent again (Linux 6.9). */
#define NODE_UNIQUE_RESENT (UINT64_C(1) << 63)

/* A table of its own, or the one in an existing memfd, repaired (-EPROTO if that is none;
 * the memfd stays the caller's). Only one process at a time may use a table:
 * the mutex is not shared. */
NODISCARD int nodes_new(struct nodes **ret, struct err *err);
NODISCARD int nodes_attach(int memfd, struct nodes **ret, struct err *err);
int nodes_fd(const struct nodes *n); /* borrowed */
void nodes_free(struct nodes *n);    /* unmaps and closes; NULL is fine */

/* One lookup more, and the record. -ENFILE, -ENOMEM, -ENAMETOOLONG; -ESTALE: no
 * such parent. unique: the number of the request that it is for, until node_answered says
 * that its reply has gone out (or was taken back); 0: none. */
NODISCARD int node_get(struct nodes *n, const struct node_key *key, uint64_t unique,
		       struct node *ret);
void node_answered(struct nodes *n, uint64_t unique);
/* The node of this key if there is one, without counting. -ENOENT. */
NODISCARD int node_find(struct nodes *n, const struct node_key *key, struct node *ret);
/* -ESTALE: no such id. */
NODISCARD int node_read(struct nodes *n, uint64_t id, struct node *ret);
/* The names of the NODE_NAMESPACE ancestors (itself included) joined with '/':
 * the repository path. "" for the root; of content, node_content_repo. -ESTALE,
 * -ENAMETOOLONG. */
#define NODE_REPO_MAX 4096
NODISCARD int node_repo(struct nodes *n, uint64_t id, char ret[NODE_REPO_MAX]);
/* The place where content was last found, "" if none was said; and its first word, the
 * repository path. -ESTALE: no such id, or no content. */
NODISCARD int node_content_place(struct nodes *n, uint64_t id, char ret[NODE_REPO_MAX]);
NODISCARD int node_content_repo(struct nodes *n, uint64_t id, char ret[NODE_REPO_MAX]);
/* The name of the NODE_HOST at or above it (*ret_itself: it is that one), or, of content,
 * the host it was last found under; "" for none. -ESTALE. */
#define NODE_HOST_SIZE 272
NODISCARD int node_host(struct nodes *n, uint64_t id, char ret[NODE_HOST_SIZE], bool *ret_itself);
/* The digest of the nearest NODE_MANIFEST or bound NODE_TAG at or above it;
 * -ENOENT if there is none (or the tag is not bound). */
NODISCARD int node_manifest(struct nodes *n, uint64_t id, struct digest *ret);
/* The nearest NODE_TAG or NODE_MANIFEST at or above it: its record. -ENOENT. */
NODISCARD int node_image(struct nodes *n, uint64_t id, struct node *ret);
void node_forget(struct nodes *n, uint64_t id, uint64_t count);
/* Binds a NODE_TAG for good. 0 also if it is bound to the same; -EEXIST: to another.
 * -ESTALE; -EINVAL: no NODE_TAG. */
NODISCARD int node_bind(struct nodes *n, uint64_t id, const struct digest *d);
void node_detach(struct nodes *n, uint64_t id);

/* How the kernel has a content node open (fs/backing.c, and nobody else). While
 * opens > 0 the mode and the id stay, and the node is not freed. */
/* NODE_OPEN_SPOILED: in the ordinary way, and what was read of it did not match. */
enum node_open_mode { NODE_OPEN_ORDINARY = 1, NODE_OPEN_PASSTHROUGH, NODE_OPEN_SPOILED };
struct node_served { /* the blob that the node's bytes are read from, and where they begin in it */
	struct digest digest;
	uint64_t at;
};
struct node_open {
	uint64_t fh;   /* of this open; never 0 */
	uint64_t node; /* its id */
	enum node_open_mode mode;
	int32_t backing_id; /* of NODE_OPEN_PASSTHROUGH */
	uint32_t opens;
};
/* One open more of a node that is open, for the request of this number. -ENOENT: it is
 * not open; -ESTALE; -ENOMEM, -ENFILE. */
NODISCARD int node_open_get(struct nodes *n, uint64_t id, uint64_t unique,
			    const struct node_served *served, struct node_open *ret);
/* The first open. -EBUSY: it is open; -ESTALE; -ENOMEM, -ENFILE. */
NODISCARD int node_open_set(struct nodes *n, uint64_t id, uint64_t unique,
			    const struct node_served *served, enum node_open_mode mode,
			    int32_t backing_id, struct node_open *ret);
/* One open less; ret->opens are left. -ESTALE: no such handle (any more). */
NODISCARD int node_open_put(struct nodes *n, uint64_t fh, struct node_open *ret);
/* From now on, and until it is closed, a node that is open is NODE_OPEN_SPOILED. */
void node_open_spoil(struct nodes *n, uint64_t id);
bool node_open_is_spoiled(struct nodes *n, uint64_t id);
/* What the process before had opened for a request that was sent again: the answer never
 * arrived. As node_open_put; -ENOENT: nothing, or what was made. */
NODISCARD int node_open_undo(struct nodes *n, uint64_t unique, struct node_open *ret);
/* Every open file, in no order, also one that was made (node is NULL then); under the lock: fn
 * takes none and does not block. */
typedef void (*node_open_fn)(void *ctx, const struct node *node, const struct node_open *open,
			     const struct node_served *served);
void nodes_each_open(struct nodes *n, node_open_fn fn, void *ctx);
/* The largest backing id that a node had; 0: none had one. */
int32_t nodes_backing_high(struct nodes *n);

/* An open file whose bytes were made for it (fs/made_files.h): they are the digest's. */
NODISCARD int node_made_open(struct nodes *n, uint64_t unique, const struct digest *d,
			     uint64_t *ret_fh);
NODISCARD int node_made_read(struct nodes *n, uint64_t fh, struct digest *ret); /* -ESTALE */
void node_made_close(struct nodes *n, uint64_t fh);

struct nodes_usage {
	uint64_t nodes;   /* in use */
	uint64_t lookups; /* the kernel's, in all */
	uint64_t handles; /* open files */
	uint64_t bytes;   /* of memory */
};
void nodes_usage(struct nodes *n, struct nodes_usage *ret);
