/* SPDX-License-Identifier: Apache-2.0 */
/* tar_index — where the members of a tar lie. Layer: fs/; a leaf without I/O, over
 * base/ only.
 *
 * Made once for each tar by the archive helper (fs/archive_helper.h), completed with
 * the digests of the members, and then kept as a blob. One text, little-endian:
 *
 *	head      "wasmtar1", tar size u64, members u32, flags u32 (1: digests are in)
 *	member    kind u8, 0 u8, mode u16, length of path u16, of link u16,
 *	          segments u32, size u64, SHA-256 (32 bytes; 0 for all but files)
 *	          segments: at in the file u64, at in the tar u64, length u64
 *	          path, NUL, link, NUL
 *
 * Members stand in the order of the tar, a name perhaps more than once. A path is a
 * clean one (tar_path_clean); the target of a symbolic link is any text, that of a
 * hard link a clean path.
 *
 * What the parser accepts is safe to use: every number is within its limit, segments
 * are in order, lie in the tar and in their file, and are in all not longer than the
 * tar. Whether they say the truth about the tar is another question, which does not
 * matter to anybody but the owner of that tar.
 *
 * Errors: -EPROTO malformed, -EFBIG beyond one of the limits, -ENOMEM.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"

#define TAR_PATH_MAX    4096 /* PATH_MAX: with the NUL */
#define TAR_NAME_MAX    255  /* NAME_MAX */
#define TAR_LINK_MAX    4096 /* what readlink(2) can give: with the NUL */
#define TAR_MEMBERS_MAX 1000000u
#define TAR_INDEX_MAX   (160u << 20) /* bytes of the text */

enum tar_kind {
	TAR_DIR = 'd',
	TAR_FILE = 'f',
	TAR_SYMLINK = 'l',
	TAR_HARDLINK = 'h',
	TAR_OTHER = 'o', /* a device, a pipe, a socket: what must not be unpacked */
};

/* len bytes at `at` of the file are those at `tar` of the tar; what no segment covers
 * is zero. */
struct tar_segment {
	uint64_t at, tar, len;
};

struct tar_member {
	const char *path;
	const char *link; /* TAR_SYMLINK, TAR_HARDLINK; else "" */
	uint64_t size;    /* TAR_FILE: bytes of content */
	uint32_t segments;
	uint16_t mode;    /* 07777 */
	uint8_t kind;     /* enum tar_kind */
	const char *text; /* of the digest, and then the segments: by the functions below */
};

/* Read only once it is complete, and then shared between threads. */
struct tar_index {
	struct tar_member *v;
	size_t n;
	uint64_t tar_size;
	char *text; /* owned */
	size_t len;
	uint32_t *by_digest; /* the files, sorted */
	size_t files;
};

/* Takes over `text` (malloc), whatever the result. size_max: of all files together,
 * which holes can make larger than the tar; beyond it -EFBIG. */
NODISCARD int tar_index_parse(char *text, size_t len, uint64_t tar_size, uint64_t size_max,
			      struct tar_index **ret, struct err *err);
void tar_index_free(struct tar_index *ix);          /* NULL is fine */
size_t tar_index_bytes(const struct tar_index *ix); /* of memory */

struct tar_segment tar_index_segment(const struct tar_member *m, uint32_t i);
/* SHA-256 of the contents of a TAR_FILE. */
struct digest tar_index_digest(const struct tar_member *m);
/* The first file with these contents; NULL: none. */
const struct tar_member *tar_index_find(const struct tar_index *ix, const struct digest *d,
					uint64_t size);

/* Whether a file has these contents; its size if so. */
bool tar_index_has(const struct tar_index *ix, const struct digest *d, uint64_t *ret_size);

/* Whether the digests are in. Until then: set each file's, then complete it. */
bool tar_index_is_complete(const struct tar_index *ix);
void tar_index_set_digest(struct tar_index *ix, size_t member, const struct digest *d);
NODISCARD int tar_index_complete(struct tar_index *ix);

/* ---- making one ---- */

struct tar_item {
	enum tar_kind kind;
	unsigned mode;
	const char *path, *link; /* clean; link may be NULL */
	uint64_t size;
	const struct tar_segment *segments;
	size_t n_segments;
};

/* Zeroed at first. */
struct tar_index_builder {
	char *text; /* owned */
	size_t len, room;
	uint32_t n;
};

NODISCARD int tar_index_add(struct tar_index_builder *b, const struct tar_item *item,
			    struct err *err);
/* The whole text, to be freed; b is empty again. */
NODISCARD int tar_index_finish(struct tar_index_builder *b, uint64_t tar_size, char **ret,
			       size_t *ret_len, struct err *err);
void tar_index_builder_release(struct tar_index_builder *b);

/* A member's name as an unpacker in a chroot takes it: no empty component and no ".",
 * none of the leading '/', and ".." takes back the one before it and stops at the top.
 * The length; 0: the top itself. -ENAMETOOLONG: it, or a component of it, is. */
NODISCARD int tar_path_clean(const char *path, char ret[TAR_PATH_MAX]);
