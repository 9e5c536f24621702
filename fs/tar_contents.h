/* SPDX-License-Identifier: Apache-2.0 */
/* tar_contents — the bytes of a tar's members, in order. Layer: fs/.
 *
 * What a sparse member leaves out comes as zeros. BLOCKS on the disk. Errors: -EIO, the
 * call's, and those of the function that takes the bytes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/call.h"
#include "base/digest.h"
#include "fs/tar_index.h"

typedef int (*contents_fn)(void *ctx, const void *data, size_t len, struct err *err);

/* fd: the tar, by pread(2). m: a TAR_FILE of its index. */
NODISCARD int tar_contents(int fd, const struct tar_member *m, contents_fn take, void *ctx,
			   struct call *call, struct err *err);
NODISCARD int tar_contents_digest(int fd, const struct tar_member *m, struct call *call,
				  struct digest *ret, struct err *err);
/* The digest of the whole file. */
NODISCARD int tar_file_digest(int fd, uint64_t size, enum digest_alg alg, struct call *call,
			      struct digest *ret, struct err *err);
