/* SPDX-License-Identifier: Apache-2.0 */
/* open_dirs — the directories that the kernel has open, and what is read of each.
 * Layer: fs/.
 *
 * Life of one: open_dir_new (OPENDIR) → open_dir_fill once, at OPENDIR or at the
 * first READDIR → open_dir_list → open_dir_close (RELEASEDIR). What the kernel never
 * released, because the connection ended first, open_dirs_release frees.
 *
 * Threads: any; one lock, a leaf. A list stands still from open_dir_fill on.
 */
#pragma once

#include <sys/queue.h>

#include "base/lock.h"
#include "base/macros.h"

struct dirlist;
struct open_dir;

struct open_dirs {
	struct lock lock;
	LIST_HEAD(, open_dir) open; /* guarded by lock */
};

void open_dirs_init(struct open_dirs *o);
void open_dirs_release(struct open_dirs *o);

/* NULL: no memory. */
struct open_dir *open_dir_new(struct open_dirs *o);
void open_dir_close(struct open_dirs *o, struct open_dir *d);
/* Takes the list over. Where there is one already, that one stays. */
void open_dir_fill(struct open_dirs *o, struct open_dir *d, struct dirlist *list);
/* Borrowed until open_dir_close; NULL: not filled yet. */
const struct dirlist *open_dir_list(struct open_dirs *o, const struct open_dir *d);
