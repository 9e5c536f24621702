/* SPDX-License-Identifier: Apache-2.0 */
/* fs_impl — the parts of a mount, for the files that answer the kernel.
 * Layer: fs/, internal. Set up once by fs.c before the first request, read only
 * afterwards but for what `lock` guards; each part has its own lock. */
#pragma once

#include "base/lock.h"
#include "fs/fs.h"
#include "fs/made_files.h"
#include "fs/metrics.h"
#include "fs/open_dirs.h"
#include "fs/packages.h"
#include "fs/sites.h"

struct backing_table;
struct handover;
struct nodes;
struct refs;
struct session;
struct streams;

struct fs {
	struct fs_options o;
	struct store *store;
	struct refs *refs;
	struct sites sites;
	struct streams *streams; /* NULL: every blob is verified first */
	bool took_over;          /* another process served this connection before */
	struct packages packages;
	/* Both set under lock once, before the first request: those that answer requests
	 * need no lock to read them. */
	struct nodes *nodes;
	struct backing_table *backing;
	struct handover *handover;
	struct open_dirs open_dirs;
	struct made_files made_files;
	struct lock lock;
	struct session *session; /* guarded by lock: while served */
	bool stopping;           /* guarded by lock */
	_Atomic unsigned parked; /* requests that wait: OP_PARKED_MAX */
	struct metrics metrics;
	void (*ready)(void *ctx);
	void *ready_ctx;
};
