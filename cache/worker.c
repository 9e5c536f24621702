/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/worker.h"

#include <errno.h>
#include <signal.h>

#include "base/clock.h"

/* What the clock says is to be done now, or NULL. */
static worker_fn timed(struct worker *w, int64_t *tick_at) REQUIRES(w->lock)
{
	int64_t now = clock_ms();
	if (w->stop)
		return NULL;
	if (now >= *tick_at) {
		*tick_at = INT64_MAX;
		return w->tick;
	}
	if (now < w->due_ms)
		return NULL;
	w->due_ms = INT64_MAX;
	return w->due;
}

/* The next job, NULL at the end. Between jobs runs what the clock asks for. */
static struct job *next_job(struct worker *w, int64_t *tick_at)
{
	lock_take(&w->lock);
	for (;;) {
		worker_fn run = timed(w, tick_at);
		if (run != NULL) {
			lock_drop(&w->lock);
			run(w->ctx);
			if (*tick_at == INT64_MAX)
				*tick_at = clock_ms() + w->tick_ms;
			lock_take(&w->lock);
			continue;
		}
		struct job *job = STAILQ_FIRST(&w->jobs);
		if (job != NULL)
			STAILQ_REMOVE_HEAD(&w->jobs, link);
		if (job != NULL || w->stop) {
			lock_drop(&w->lock);
			return job;
		}
		(void)cond_wait_until(&w->wake, &w->lock,
				      *tick_at < w->due_ms ? *tick_at : w->due_ms);
	}
}

static void *work(void *ctx)
{
	struct worker *w = ctx;
	struct job *job;
	int64_t tick_at = clock_ms();
	while ((job = next_job(w, &tick_at)) != NULL)
		job->run(job);
	lock_take(&w->lock);
	w->ended = true;
	bool abandoned = w->abandoned;
	cond_broadcast(&w->ended_cond);
	lock_drop(&w->lock);
	if (abandoned)
		w->abandon(w->ctx);
	return NULL;
}

void worker_init(struct worker *w, int64_t tick_ms, worker_fn tick, worker_fn due,
		 worker_fn abandon, void *ctx)
{
	*w = (struct worker){.tick = tick,
			     .due = due,
			     .abandon = abandon,
			     .ctx = ctx,
			     .tick_ms = tick_ms,
			     .due_ms = INT64_MAX};
	lock_init(&w->lock);
	cond_init(&w->wake);
	cond_init(&w->ended_cond);
	STAILQ_INIT(&w->jobs);
}

static int start(struct worker *w) REQUIRES(w->lock)
{
	/* Once it was stopped nobody would wait for its end. */
	if (w->started || w->stop)
		return 0;
	/* Signals are for threads that know what to do with them. */
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int rc = pthread_create(&w->thread, NULL, work, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	w->started = rc == 0;
	return -rc;
}

int worker_start(struct worker *w)
{
	lock_take(&w->lock);
	int rc = start(w);
	lock_drop(&w->lock);
	return rc;
}

void worker_post(struct worker *w, struct job *job)
{
	lock_take(&w->lock);
	STAILQ_INSERT_TAIL(&w->jobs, job, link);
	(void)start(w);
	cond_signal(&w->wake);
	lock_drop(&w->lock);
}

void worker_wake_at(struct worker *w, int64_t at_ms)
{
	lock_take(&w->lock);
	if (at_ms < w->due_ms) {
		w->due_ms = at_ms;
		(void)start(w);
		cond_signal(&w->wake);
	}
	lock_drop(&w->lock);
}

/* No thread was ever to be had: what was posted is done here. */
static void work_off(struct worker *w)
{
	struct job *job;
	while ((job = STAILQ_FIRST(&w->jobs)) != NULL) {
		STAILQ_REMOVE_HEAD(&w->jobs, link);
		job->run(job);
	}
}

bool worker_stop(struct worker *w, int64_t deadline_ms)
{
	lock_take(&w->lock);
	w->stop = true;
	if (!w->started) {
		lock_drop(&w->lock);
		work_off(w);
		return true;
	}
	cond_signal(&w->wake);
	while (!w->ended) {
		if (!cond_wait_until(&w->ended_cond, &w->lock, deadline_ms))
			break;
	}
	bool ended = w->ended;
	w->abandoned = !ended;
	pthread_t thread = w->thread;
	if (!ended)
		pthread_detach(thread);
	lock_drop(&w->lock);
	if (ended)
		pthread_join(thread, NULL);
	return ended;
}

bool worker_abandoned(struct worker *w)
{
	lock_take(&w->lock);
	bool abandoned = w->abandoned;
	lock_drop(&w->lock);
	return abandoned;
}

void worker_release(struct worker *w)
{
	cond_release(&w->wake);
	cond_release(&w->ended_cond);
	lock_release(&w->lock);
}
