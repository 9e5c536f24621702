/* SPDX-License-Identifier: Apache-2.0 */
/* report — what a daemon says of its mount: the object of `status --json`
 * (an interface: members are added, never changed). Layer: fs/cli.
 *
 *	mountpoint, sources[] (as they were given), all (--all), version
 *	started     when the process that answers began to serve; started_ms since the epoch
 *	state       "serving"; the client adds "restarting" (no worker at the moment),
 *	            "stale" (no process at all), "silent", "detached" and "denied" (another
 *	            user's)
 *	pid         the process to signal: the keeper, or the worker where that is gone
 *	worker_pid, generation (how many workers have served this mount)
 *	upgrade_program, upgrade_error   to what the last `upgrade` that failed was, and why;
 *	            or null
 *	cache       {directory, bytes, limit, floor, blobs, memory_bytes}, and, since that
 *	            process began: hits, misses (opens of files whose bytes were here, or had
 *	            to be fetched), evictions, evicted_bytes, verifications (hashed because
 *	            somebody wanted what was there), mismatches (bytes, there or arriving, that
 *	            were not the digest's), publish_failures
 *	hosts[]     {host, origin, mirror, state, until, errno, reason, since, requests,
 *	            bytes}: each registry (of --all: those that were entered), and after it
 *	            its mirrors in the order in which they are asked. state: "ok", "unknown"
 *	            (not asked yet), "down", "refused"; "stale": one of these two, and tags
 *	            are served as they were; "gated": the host asked us to wait;
 *	            "demoted": a mirror that gave wrong bytes. errno by
 *	            name; until (of the last two), errno, reason, since, and the origin of a
 *	            mirror may be null. requests and bytes of a registry are those of its
 *	            mirrors too; host_bytes is what came from this host, and outcomes[] are
 *	            its requests by how they ended (registry/source.h)
 *	passthrough, offline
 *	parked, fetches, nodes, open_files
 *	transfers[], operations[], latency_bounds[], package_hosts[]: fs/cli/report_counts.h
 *
 * Times are UTC, as 2006-01-02T15:04:05Z; sizes are bytes.
 */
#pragma once

#include <jansson.h>
#include <sys/types.h>

#include "fs/cli/link.h"
#include "fs/fs.h"

struct report {
	struct fs *fs;          /* borrowed */
	const char *mountpoint; /* borrowed */
	char started[32];
	int64_t started_ms; /* wall clock */
	/* What a worker adds: */
	struct pulls *pulls; /* borrowed; of fs/cli/pulls.h */
	pid_t keeper;
	uint32_t generation;
	int link;                    /* borrowed; of fs/cli/link.h */
	struct err refusal;          /* of the last upgrade */
	char refused[LINK_TEXT_MAX]; /* its program */
};

void report_init(struct report *r, struct fs *fs, const char *mountpoint);
/* New object, or NULL without memory. From memory only. */
json_t *report_make(struct report *r);
/* The same without what the keeper has to say (pid, upgrade_…): from any thread. */
json_t *report_measure(const struct report *r);
/* Another upgrade begins. */
void report_forget_refusal(struct report *r);
/* The object of `why --json`: what stands in the way of a path below the mountpoint.
 *
 *	path      how far it leads, below the mountpoint
 *	state     "fine", "failed", "unasked", "coming"
 *	errno, since, hint   of "failed"; since is null where it is so now
 *	asked     of "failed": who gave that answer, or none; null where nobody was asked
 *	text
 */
json_t *report_why(const struct report *r, const char *path);

/* The object of `wasmocifs refresh`; NULL: see err.
 *
 *	state     "forgotten", "nothing", "immutable"
 *	count     answers that are asked for anew
 *	of        what was named, in words
 *	lingers_ms  for how long the kernel may keep the path; 0: not
 */
json_t *report_refresh(const struct report *r, const char *path, struct err *err);
