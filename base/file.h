/* SPDX-License-Identifier: Apache-2.0 */
/* file — reads and writes that finish or fail. Layer: base/. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macros.h"

/* All of it, or -errno; EINTR and short writes are seen to. */
NODISCARD int file_write_all(int fd, const void *data, size_t len);
NODISCARD int file_pwrite_all(int fd, const void *data, size_t len, uint64_t off);
/* Up to len bytes: fewer only at the end of the file. Bytes read, or -errno. */
NODISCARD int64_t file_pread_full(int fd, void *buf, size_t len, uint64_t off);
/* Opens a relative path below dirfd: no symlink is followed anywhere in it
 * (-ELOOP; -ENOTDIR from old kernels where it is not the last component) and
 * no ".." leaves dirfd (-EXDEV). The fd, or -errno; close-on-exec always. */
NODISCARD int file_open_beneath(int dirfd, const char *path, int flags, mode_t mode);
/* A whole small regular file below dirfd, opened without following a symlink
 * (of an absolute path, or one below AT_FDCWD: as the last component). New
 * NUL-terminated buffer. -EFBIG beyond max; -ELOOP for a symlink; -EISDIR or
 * -EINVAL for what is no file. */
NODISCARD int file_read_small(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len);
/* The same of a path that a person chose, whose symlinks are meant. */
NODISCARD int file_read_followed(const char *path, size_t max, char **ret, size_t *ret_len);
