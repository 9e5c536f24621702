/* SPDX-License-Identifier: Apache-2.0 */
/* tar_scan — finds out what lies where in a tar. Layer: fs/; no I/O; the one file
 * that reads tars, by libarchive: v7, ustar, pax, GNU, Solaris and their sparse files.
 *
 * Runs in the archive helper (fs/archive_helper.h), for whoever made the tar may have
 * found a fault in libarchive. It looks at headers only: contents are told by where
 * they lie in the tar, never touched.
 *
 * What is the same in each of these formats comes out the same (fs/tar_index.h); names
 * are cleaned, members that are the top itself are left out.
 *
 * Errors: -EPROTO it cannot be read, or a name in it can be none of a file; -EFBIG
 * beyond a limit of fs/tar_index.h, or of memory; -EIO.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"

/* *ret: the text of an index without digests; free(). */
NODISCARD int tar_scan(const void *tar, size_t len, char **ret, size_t *ret_len, struct err *err);
