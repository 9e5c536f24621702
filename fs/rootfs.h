/* SPDX-License-Identifier: Apache-2.0 */
/* rootfs — the layers of a container image as one tree of files. Layer: fs/; a pure
 * function of their indexes (fs/tar_index.h), without I/O.
 *
 * What comes out is what unpacking them one after the other into an empty directory
 * would give, in a chroot there (OCI image spec, layer.md; containerd and umoci):
 *
 *	members      in their order; a parent that is missing is made, one that is a
 *	             symbolic link is followed, inside the tree
 *	what is there  a directory over a directory leaves its children; anything else
 *	             is replaced
 *	.wh.NAME     removes NAME, of the layers below
 *	.wh..wh..opq empties its directory, of the layers below
 *	.wh..wh.*    other than that: not for us
 *	             (Those of other archives are files like any other.)
 *	hard links   are another name for what their target is at that moment
 *	devices, pipes, sockets   replace what was there, and are left out
 *
 * Symbolic links keep their target where following it, link by link, cannot lead out of
 * the tree, nor does taking it for mere text. Others get one that means the same in a
 * chroot: an absolute one becomes relative, and ".." stops at the top. So no chain of
 * links leads out of the tree, whoever follows it, from wherever.
 *
 * Modes are the archives', readable for all, writable for nobody, without set-id bits.
 *
 * Limits: those below, because a few bytes of a tar can ask for much. Errors: -EPROTO a
 * layer that cannot be unpacked (a file where a directory must be, a hard link to
 * nothing, …), with its number in the text; -EFBIG a limit; -ENOMEM;
 * -ECANCELED, -ETIMEDOUT the call.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/call.h"
#include "base/digest.h"
#include "base/err.h"
#include "fs/tar_index.h"

#define ROOTFS_ENTRIES_MAX (2u << 20)   /* at any moment */
#define ROOTFS_DEPTH_MAX   1024u        /* directories below each other */
#define ROOTFS_HOPS_MAX    40           /* links on one path: as many as Linux follows */
#define ROOTFS_TEXT_MAX    (256u << 20) /* bytes of names and targets */
#define ROOTFS_STEPS_MAX   (200u << 20) /* components of paths that are looked at */

enum rootfs_kind { ROOTFS_DIR, ROOTFS_MEMBER, ROOTFS_LINK };

/* Children of a directory are v[first] … v[first+count-1], sorted by name. */
struct rootfs_entry {
	uint64_t size;      /* ROOTFS_MEMBER: bytes */
	uint8_t sha256[32]; /* ROOTFS_MEMBER */
	uint32_t name;      /* in `text` */
	uint32_t target;    /* in `text`: ROOTFS_LINK */
	uint32_t parent;
	uint32_t first, count; /* ROOTFS_DIR */
	uint32_t layer;        /* ROOTFS_MEMBER: whose index has it */
	uint16_t mode;         /* ROOTFS_MEMBER: 0444 and any of 0111 */
	uint8_t kind;          /* enum rootfs_kind */
};

/* Read only, so that threads may share it. v[0] is the top. */
struct rootfs {
	struct rootfs_entry *v;
	size_t n;
	char *text;
	size_t text_len;
	_Atomic int refs;
};

/* layers: the lowest first. They are not needed any more afterwards. whiteouts: they are
 * those of a container image. call: NULL: it is not ended. */
NODISCARD int rootfs_merge(const struct tar_index *const *layers, size_t n, bool whiteouts,
			   struct call *call, struct rootfs **ret, struct err *err);
struct rootfs *rootfs_ref(struct rootfs *r);
void rootfs_unref(struct rootfs *r);         /* NULL is fine */
size_t rootfs_bytes(const struct rootfs *r); /* of memory */

const char *rootfs_name(const struct rootfs *r, size_t i);
const char *rootfs_target(const struct rootfs *r, size_t i);
struct digest rootfs_digest(const struct rootfs *r, size_t i);
/* A child, by its name; -ENOENT. */
long rootfs_find(const struct rootfs *r, size_t dir, const char *name);
/* What a path leads to, from a directory, links followed; also absolute, as in a chroot.
 * -ENOENT, -ENOTDIR, -ELOOP. */
long rootfs_resolve(const struct rootfs *r, size_t dir, const char *path);
