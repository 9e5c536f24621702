/* SPDX-License-Identifier: Apache-2.0 */
/* archive_confine — gives up everything that reading an archive does not need.
 * Layer: fs/. For the archive helper, before it looks at a byte.
 *
 * Afterwards this process has no capability and no way to get one, no network, and can
 * open, make and start nothing: of system calls it has those that read and write the
 * descriptors that it has, and that get memory. Its time and memory are limited.
 */
#pragma once

#include "base/err.h"

/* Of processor time: reading and decompressing as much as a cache holds. */
#define ARCHIVE_CPU_S 1200
/* Of memory: the dictionaries of the largest xz and zstd (128 MiB), and an index. */
#define ARCHIVE_MEMORY (768ull << 20)

/* -EIO: it could not; nothing may be read then. */
NODISCARD int archive_confine(struct err *err);
