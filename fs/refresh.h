/* SPDX-License-Identifier: Apache-2.0 */
/* refresh — what an origin said of a path, and may say otherwise by now, is to be asked anew.
 * Layer: fs/.
 *
 * Forgotten is that it is fresh: tags, listings, who refers to a manifest, and that something does
 * not exist. What was said stays on disk for when the origin cannot be asked (a tag of which nobody
 * answers within a second leads where it led). Nobody is asked here.
 *
 * The kernel is not told: beside a LOOKUP that waits, that could hold a directory. References
 * (NAME:TAG) are asked about at each walk; what the kernel keeps of NAME/tags/TAG ends with the
 * TTL.
 *
 * The path is taken by its grammar alone, and nothing is walked. Threads: any; never blocks.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "base/err.h"

struct fs;

enum refreshed {
	REFRESHED,           /* of `count` answers it is no longer believed that they are so */
	REFRESHED_NOTHING,   /* it will be asked anyhow */
	REFRESHED_IMMUTABLE, /* what a digest names does not change */
};

struct refresh {
	enum refreshed what;
	unsigned count;
	char of[PATH_MAX]; /* in words: "the tag v1 of org/app" */
	bool lingers;      /* the kernel may keep the path for a while */
};

/* path: below the mountpoint, "" or "/…". -ENOENT: there can be nothing of that name. */
NODISCARD int fs_refresh(struct fs *fs, const char *path, struct refresh *ret, struct err *err);
