/* SPDX-License-Identifier: Apache-2.0 */
/* metrics — what the kernel asked for, how it ended and how long it took. Layer: fs/; no
 * libfuse.
 *
 * Each request is counted once, right before its answer is written: under its operation and
 * its outcome, in a histogram of how long it took (base/histogram.h). The outcomes are "ok",
 * the errnos of DESIGN §2.4, a few that every file system has, and "other", so there is a bound
 * to what an observer has to keep. A request that is answered by the kernel, out of its caches
 * or in passthrough, is not seen here, and FORGET has no answer.
 *
 * They begin at zero with each worker: a counter that goes back is what Prometheus takes
 * for a restart, and the generation of the worker stands beside them.
 *
 * Threads: any at once, without a lock; the counters order nothing.
 */
#pragma once

#include "base/histogram.h"

enum operation {
	OPERATION_LOOKUP,
	OPERATION_GETATTR,
	OPERATION_READLINK,
	OPERATION_OPEN,
	OPERATION_READ,
	OPERATION_RELEASE,
	OPERATION_OPENDIR,
	OPERATION_READDIR,
	OPERATION_RELEASEDIR,
	OPERATION_STATFS,
	OPERATION_GETXATTR,
	OPERATION_LISTXATTR,
	OPERATIONS
};
/* "lookup" */
const char *operation_name(enum operation o);

#define METRICS_OUTCOMES 24
/* "ok", "ENOENT", … "other" is the last; NULL beyond. */
const char *metrics_outcome_name(unsigned outcome);

struct metrics {
	struct histogram operations[OPERATIONS][METRICS_OUTCOMES];
	/* OPENs of content whose bytes were here, or had to be fetched, in vain perhaps. */
	_Atomic uint64_t hits, misses;
};

/* errnum: 0, or what the kernel is told. start_us: clock_us() when it was read. */
void metrics_count(struct metrics *m, enum operation o, int errnum, int64_t start_us);
