/* SPDX-License-Identifier: Apache-2.0 */
/* made_files — the files that the kernel has open which were made for it: index.json
 * and oci-layout. Layer: fs/.
 *
 * What is read belongs to the open file, not to the inode: two that are open at once
 * may differ. Life of one: made_file_new (OPEN) → made_file_read → made_file_close
 * (RELEASE). What the kernel never released, because the connection ended first,
 * made_files_release closes.
 *
 * Threads: any; one lock, a leaf. A file stands still from made_file_new on.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/lock.h"
#include "base/macros.h"

struct blob;
struct made_file;

struct made_files {
	struct lock lock;
	LIST_HEAD(, made_file) open; /* guarded by lock */
};

void made_files_init(struct made_files *m);
void made_files_release(struct made_files *m);

/* Of a blob, of which it takes a reference, or, if that is NULL, of a static text.
 * NULL: no memory. */
struct made_file *made_file_new(struct made_files *m, struct blob *blob, const char *text);
/* Bytes read; 0 at the end; -EIO. */
NODISCARD int64_t made_file_read(const struct made_file *f, void *buf, size_t size,
				 uint64_t offset);
void made_file_close(struct made_files *m, struct made_file *f);
