/* SPDX-License-Identifier: Apache-2.0 */
/* made_files — the blobs of the files that the kernel has open which were made for it:
 * index.json. Layer: fs/.
 *
 * What is read belongs to the open file, not to the inode: two that are open at once
 * may differ. So an open file has a handle (fs/nodes.h), which knows the digest of what was
 * made, and here the blob is held for it. A process that takes over finds the handle only,
 * and has the blob again from the cache.
 *
 * Life of one: made_files_put (OPEN, or a READ that found none) → made_files_get →
 * made_files_close (RELEASE). What the kernel never released, because the connection
 * ended first, made_files_release closes.
 *
 * Threads: any; one lock, a leaf.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"
#include "base/macros.h"

struct blob;
struct made_file;

struct made_files {
	struct lock lock;
	struct made_file *open; /* guarded by lock */
};

void made_files_init(struct made_files *m);
void made_files_release(struct made_files *m);

/* Takes a reference of its own. -ENOMEM. */
NODISCARD int made_files_put(struct made_files *m, uint64_t fh, struct blob *blob);
struct blob *made_files_get(struct made_files *m, uint64_t fh); /* new reference, or NULL */
void made_files_close(struct made_files *m, uint64_t fh);       /* one that is not there is fine */
