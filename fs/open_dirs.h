/* SPDX-License-Identifier: Apache-2.0 */
/* open_dirs — the lists of the directories that the kernel has open. Layer: fs/.
 *
 * An open directory is a number (fi->fh). Its list is kept here so that it need not be
 * made for each READDIR; where there is none, it is made again, and cookies stay valid
 * (fs/dirlist.h). That is so for directories that the process before us opened, and for the
 * lists that were read longest ago where all of them take more than OPEN_DIRS_BYTES.
 *
 * Life of one: open_dirs_number (OPENDIR) → open_dirs_fill, at OPENDIR or at the first
 * READDIR → open_dirs_list → open_dirs_close (RELEASEDIR). What the kernel never
 * released, because the connection ended first, open_dirs_release frees.
 *
 * Threads: any; one lock, a leaf. A list stands still; who has a reference may read it.
 */
#pragma once

#include <stdint.h>

#include "base/lock.h"
#include "base/macros.h"

struct dirlist;
struct open_dir;

#define OPEN_DIRS_BYTES (64u << 20)

struct open_dirs {
	struct lock lock;
	struct open_dir *open; /* guarded by lock; the longest unread first */
	size_t bytes;          /* guarded by lock: of all lists */
	uint64_t last;         /* guarded by lock: the number given last */
};

void open_dirs_init(struct open_dirs *o);
/* Before the first number. generation: of the process among those that serve a mount, so
 * that no number is given twice. */
void open_dirs_start(struct open_dirs *o, uint32_t generation);
void open_dirs_release(struct open_dirs *o);

uint64_t open_dirs_number(struct open_dirs *o);
/* Takes a reference of its own. Where there is one already, that one stays. Without memory none
 * is kept, and it is made again. */
void open_dirs_fill(struct open_dirs *o, uint64_t fh, struct dirlist *list);
/* A reference for the caller; NULL: none is kept. */
struct dirlist *open_dirs_list(struct open_dirs *o, uint64_t fh);
void open_dirs_close(struct open_dirs *o, uint64_t fh); /* one that has no list is fine */
