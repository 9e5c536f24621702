/* SPDX-License-Identifier: Apache-2.0 */
/* worker — one thread that does a store's slow disk work: syncs, renames,
 * closing of what was unlinked, sweeps. Layer: cache/; internal.
 *
 * Jobs run one after the other in the order they were posted, without a lock
 * held, and own themselves. A tick runs first, and every tick_ms from then on; due runs once for
 * each time that worker_wake_at asked for it. With nothing to do, the thread sleeps.
 *
 * The thread starts with worker_start or the first job, not before: a process
 * may fork after worker_init.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/lock.h"

struct job {
	STAILQ_ENTRY(job) link;
	void (*run)(struct job *job);
};

typedef void (*worker_fn)(void *ctx);

struct worker {
	struct lock lock;
	struct cond wake; /* a job, or stop */
	struct cond ended_cond;
	STAILQ_HEAD(job_list, job) jobs;      /* guarded by lock */
	bool started, stop, ended, abandoned; /* guarded by lock */
	pthread_t thread;
	worker_fn tick, due, abandon;
	int64_t due_ms; /* guarded by lock: when due runs; INT64_MAX: not */
	void *ctx;
	int64_t tick_ms;
};

/* abandon(ctx) runs at the very end, in the thread, if worker_stop gave up. */
void worker_init(struct worker *w, int64_t tick_ms, worker_fn tick, worker_fn due,
		 worker_fn abandon, void *ctx);
/* -errno: no thread could be started; the next job tries again. */
NODISCARD int worker_start(struct worker *w);
void worker_post(struct worker *w, struct job *job);
/* due runs in the thread, without a lock held, at that time or soon after; of several times asked
 * for meanwhile, at the first. Not once it is to stop. */
void worker_wake_at(struct worker *w, int64_t at_ms);
/* Lets it finish what was posted. False: it has not by deadline_ms, and w
 * (with ctx) belongs to the thread from now on. */
NODISCARD bool worker_stop(struct worker *w, int64_t deadline_ms);
/* Whether nobody waits for the jobs any more: long ones may be left undone. */
bool worker_abandoned(struct worker *w);
void worker_release(struct worker *w);
