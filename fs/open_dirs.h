/* SPDX-License-Identifier: Apache-2.0 */
/* open_dirs — the lists of the directories that the kernel has open. Layer: fs/.
 *
 * An open directory is a number (fi->fh). Its list is kept here so that it need not be
 * made for each READDIR; where there is none, it is made again: that is so for directories
 * that the process before us opened, and cookies stay valid (fs/dirlist.h).
 *
 * Life of one: open_dirs_number (OPENDIR) → open_dirs_fill, at OPENDIR or at the first
 * READDIR → open_dirs_list → open_dirs_close (RELEASEDIR). What the kernel never
 * released, because the connection ended first, open_dirs_release frees.
 *
 * Threads: any; one lock, a leaf. A list stands still from open_dirs_fill to open_dirs_close,
 * which the kernel does not let happen while it is read.
 */
#pragma once

#include <stdint.h>

#include "base/lock.h"
#include "base/macros.h"

struct dirlist;
struct open_dir;

struct open_dirs {
	struct lock lock;
	struct open_dir *open; /* guarded by lock */
	uint64_t last;         /* guarded by lock: the number given last */
};

void open_dirs_init(struct open_dirs *o);
/* Before the first number. generation: of the process among those that serve a mount, so
 * that no number is given twice. */
void open_dirs_start(struct open_dirs *o, uint32_t generation);
void open_dirs_release(struct open_dirs *o);

uint64_t open_dirs_number(struct open_dirs *o);
/* Takes the list over. Where there is one already, that one stays. The one that is there
 * now, borrowed until open_dirs_close; NULL: no memory, and the list is freed. */
const struct dirlist *open_dirs_fill(struct open_dirs *o, uint64_t fh, struct dirlist *list);
/* NULL: none yet. */
const struct dirlist *open_dirs_list(struct open_dirs *o, uint64_t fh);
void open_dirs_close(struct open_dirs *o, uint64_t fh); /* one that has no list is fine */
