/* SPDX-License-Identifier: Apache-2.0 */
/* dirs — the cache directory and what lies below it. Layer: cache/; internal.
 *
 * The directory is opened once, by its path, after a check that it is ours
 * alone. Everything below goes through that descriptor and follows no
 * symlink. When the directory has been removed, dirs_make makes it anew and
 * puts it behind the same descriptor number, so that whoever borrowed the
 * number goes on with the new one.
 *
 * Threads: any; there is no state but the descriptor, which dup3 replaces in
 * one step. Blocking: disk.
 */
#pragma once

#include "base/err.h"

#define DIRS_PATH_MAX 4096

struct dirs {
	char path[DIRS_PATH_MAX];
	int fd;
};

/* -EACCES: another's, or writable by others. -EINVAL: path not absolute. */
NODISCARD int dirs_init(struct dirs *d, const char *path, struct err *err);
void dirs_release(struct dirs *d);
/* If the directory itself has been removed: makes it anew. 0 if it had been. */
NODISCARD int dirs_revive(const struct dirs *d, struct err *err);
/* A directory below, by its relative path. The fd is the caller's. */
NODISCARD int dirs_open(const struct dirs *d, const char *path);
/* The same, made 0700 with what is missing above it. */
NODISCARD int dirs_make(const struct dirs *d, const char *path, struct err *err);

/* Each entry, "." and ".." too; name is below dirfd. Other than 0 ends it. */
typedef int (*dirs_entry_fn)(void *ctx, int dirfd, const char *name);
/* What ended it, or 0; -errno: the directory could not be read, or not to its end. Takes over fd,
 * and hands on the -errno that it is instead. */
int dirs_each(int fd, dirs_entry_fn fn, void *ctx);
