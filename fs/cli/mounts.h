/* SPDX-License-Identifier: Apache-2.0 */
/* mounts — the mounts of this program that are there now, by
 * /proc/self/mountinfo. Layer: fs/cli. None of them is touched. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct mounts_entry {
	char *mountpoint; /* owned */
	char *source;     /* owned; as mountinfo shows it */
	unsigned minor;   /* of the device: one for each mount, the same for its bind mounts */
	uid_t uid;        /* who mounted */
	bool whole;       /* false: a bind mount of a directory in it */
	bool covered;     /* by a later mount on the same path */
};

struct mounts {
	struct mounts_entry *v;
	size_t n;
};

NODISCARD int mounts_read(const char *file, struct mounts *ret, struct err *err);
void mounts_release(struct mounts *m);

/* What a walk to exactly this path meets; NULL: none of ours. */
const struct mounts_entry *mounts_find(const struct mounts *m, const char *path);
/* The nearest at or above a path, lexically. */
const struct mounts_entry *mounts_above(const struct mounts *m, const char *path);
/* The first with this minor; NULL: none. */
const struct mounts_entry *mounts_by_minor(const struct mounts *m, unsigned minor);
