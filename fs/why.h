/* SPDX-License-Identifier: Apache-2.0 */
/* why — what stands in the way of a path. Layer: fs/.
 *
 * Walks the path as the kernel would, by the same functions (fs/tree.h), and ends
 * at the first thing that is missing: then the last failure of just that is the
 * answer (fs/failures.h). Nothing is asked of the origin, and nothing of the
 * kernel: what is known, and a small local file, must do.
 *
 * Threads: any.
 */
#pragma once

#include <limits.h>
#include <stdint.h>

#include "base/err.h"
#include "fs/fs.h"

enum why_state {
	WHY_FINE,    /* it is there, and needs nothing to be read */
	WHY_FAILED,  /* code says with what; text says what happened */
	WHY_UNASKED, /* nobody has asked for what is missing, or it has been forgotten */
	WHY_COMING,  /* somebody is being asked for it now, or it is on its way */
};

struct why {
	enum why_state state;
	char at[PATH_MAX]; /* how far it leads, below the mountpoint, links followed */
	int code;          /* WHY_FAILED: -errno */
	int64_t wall_ms;   /* WHY_FAILED: when; 0: it is so now */
	char text[ERR_TEXT_MAX];
	/* WHY_FAILED: the registry or layout (source_title) whose answer, or silence, that was; "":
	 * nobody was asked, or it is no word of theirs. */
	char asked[FS_TITLE_MAX];
	const char *hint; /* WHY_FAILED: what to do about it; static */
};

/* What to do about a failure of that errno (negative or not) and text. Static. */
const char *why_hint(int code, const char *text);
/* path: below the mountpoint, "" or "/…". */
void fs_why(struct fs *fs, const char *path, struct why *ret);
