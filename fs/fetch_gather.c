/* SPDX-License-Identifier: Apache-2.0 */
/* Several blobs at once, for a job that can do nothing without all of them. Each comes by
 * the flight that anybody else who wants it joins. */
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "fs/fetch_impl.h"

struct gathering {
	struct lock lock;
	struct cond change;
	size_t pending; /* guarded by lock */
	bool ended;     /* guarded by lock: the job was given up */
	int code;       /* guarded by lock: of the first that failed */
	struct err err; /* guarded by lock */
};

struct gathered {
	struct waiter waiter;
	struct gathering *all;
	struct want want;
	uint64_t brought; /* as last seen */
};

/* How often those who wait for the whole are told of what came. */
#define GATHER_LOOK_MS 500

static void settle(struct gathering *g, int code, const struct err *err)
{
	lock_take(&g->lock);
	g->pending--;
	if (code < 0 && g->code == 0) {
		g->code = code;
		g->err = *err;
	}
	cond_signal(&g->change);
	lock_drop(&g->lock);
}

static void on_resume(struct waiter *w, int code, const struct err *err, struct blob *blob)
{
	(void)blob;
	settle(((struct gathered *)w)->all, code, err);
}

static void on_cancel(void *ctx)
{
	struct gathering *g = ctx;
	lock_take(&g->lock);
	g->ended = true;
	cond_signal(&g->change);
	lock_drop(&g->lock);
}

static void park(struct fetcher *f, const char *repo, const struct descriptor *desc,
		 struct gathered *one)
{
	struct err err = {""};
	struct want *w = &one->want; /* zeroed, padding too */
	w->kind = WANT_BLOB;
	w->digest = desc->digest;
	w->size = desc->size;
	one->waiter.resume = on_resume;
	one->waiter.deadline_ms = clock_ms() + f->o.timeout_ms;
	waiter_watch(f->flights, &one->waiter);
	int r = fetch_park(f, w, repo, &one->waiter, &err);
	if (r)
		settle(one->all, r, &err);
}

/* A flight that is over has brought what it had when last seen, at least. */
static uint64_t brought(struct fetcher *f, struct gathered *v, size_t n)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < n; i++) {
		uint64_t now = flight_progress(f->flights, &v[i].want);
		if (now > v[i].brought)
			v[i].brought = now;
		sum += v[i].brought;
	}
	return sum;
}

/* Until all are here, or one failed, or nobody wants them any more. */
static bool wait_for_all(struct fetcher *f, const struct flight_job *job, struct gathering *g,
			 struct gathered *v, size_t n)
{
	lock_take(&g->lock);
	while (g->pending > 0 && g->code == 0 && !g->ended) {
		if (cond_wait_until(&g->change, &g->lock, clock_ms() + GATHER_LOOK_MS))
			continue;
		lock_drop(&g->lock);
		atomic_store(job->progress, 1 + brought(f, v, n));
		lock_take(&g->lock);
	}
	bool ended = g->ended;
	lock_drop(&g->lock);
	return !ended;
}

static void leave_all(struct fetcher *f, struct gathered *v, size_t n, struct gathering *g)
{
	struct err none = {""};
	for (size_t i = 0; i < n; i++) {
		if (waiter_leave(f->flights, &v[i].waiter))
			settle(g, 0, &none);
	}
	lock_take(&g->lock);
	while (g->pending > 0) /* about to be resumed */
		cond_wait(&g->change, &g->lock);
	lock_drop(&g->lock);
	for (size_t i = 0; i < n; i++)
		waiter_unwatch(f->flights, &v[i].waiter);
}

int fetch_gather(struct fetcher *f, const struct flight_job *job, const struct descriptor *descs,
		 size_t n, struct err *err)
{
	struct gathering g = {.pending = n};
	struct gathered *v = calloc(n + 1, sizeof(*v));
	if (!v)
		return err_set(err, -ENOMEM, "no memory for layers");
	/* Each has a deadline of its own. */
	job->call->deadline_ms = INT64_MAX;
	atomic_store(job->progress, 1);
	lock_init(&g.lock);
	cond_init(&g.change);
	for (size_t i = 0; i < n; i++) {
		v[i].all = &g;
		park(f, job->want->repo, &descs[i], &v[i]);
	}
	call_set_waker(job->call, on_cancel, &g);
	bool whole = wait_for_all(f, job, &g, v, n);
	call_set_waker(job->call, NULL, NULL);
	leave_all(f, v, n, &g);
	int r = whole ? g.code : -ECANCELED;
	if (r)
		err_set(err, r, "%s", whole ? g.err.text : "given up");
	cond_release(&g.change);
	lock_release(&g.lock);
	free(v);
	return r;
}
