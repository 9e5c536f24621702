/* SPDX-License-Identifier: Apache-2.0 */
/* archive_gzip — gzip streams (RFC 1952), by zlib. Layer: fs/; for the archive helper.
 *
 * Strict where libarchive is not: each member's checksum and length count, a stream that
 * is cut off is malformed, and so is one that anything but another member follows (zeros
 * do, as tape blocks leave them).
 *
 * BLOCKS on both descriptors. Errors: -EPROTO; -EFBIG no memory; -EIO.
 */
#pragma once

#include "base/err.h"

NODISCARD int archive_gunzip(int in, int out, struct err *err);
