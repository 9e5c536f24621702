/* SPDX-License-Identifier: Apache-2.0 */
/* layout_dir — the files of a local OCI image layout (image spec,
 * image-layout.md). Layer: registry/, internal to the layout source.
 *
 * The directory is opened once, and again by its path when it has been removed;
 * everything below it is opened without following a symlink and without waiting
 * (a FIFO in place of a blob must not hang us), and is taken only if it is a
 * regular file. index.json is read again whenever it has become another file.
 *
 * Threads: any, but for open and release. The lock guards the index in memory
 * and is a leaf; files are read outside of it: two callers may read a new index
 * at once, and whoever installs the older one is corrected by the next caller,
 * which compares again.
 *
 * Errors, for all: -ENOENT what is truly not there; -EPROTO a broken layout;
 * -EFBIG; -EACCES; -ENOMEM; -EIO any other fault of a read, or the whole layout
 * is gone.
 */
#pragma once

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/lock.h"
#include "registry/manifest.h"

/* What tells one index.json from the next. */
struct layout_identity {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime, ctime;
};

struct layout_dir {
	char path[PATH_MAX];
	int fd; /* the number stays; what is behind it may become another directory */
	struct lock lock;
	struct manifest *index;          /* guarded by lock */
	struct layout_identity index_is; /* guarded by lock */
};

/* An absolute path without symlinks. Looks at oci-layout and index.json too.
 * Must be released only if it was opened. */
NODISCARD int layout_dir_open(const char *path, struct layout_dir *ret, struct err *err);
void layout_dir_release(struct layout_dir *l);

/* The index of now: one reference, for the caller. */
NODISCARD int layout_dir_index(struct layout_dir *l, struct manifest **ret, struct err *err);
/* A new fd of a blob, and its size. */
NODISCARD int layout_dir_open_blob(const struct layout_dir *l, const struct digest *d,
				   uint64_t *ret_size, struct err *err);
/* A blob of up to SOURCE_DOCUMENT_MAX bytes, new and verified (-EBADMSG). */
NODISCARD int layout_dir_read_blob(const struct layout_dir *l, const struct digest *d, char **ret,
				   size_t *ret_len, struct err *err);
