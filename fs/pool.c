/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "base/lock.h"

/* jansson recurses over nested documents, up to its own limit of 2048. */
#define POOL_STACK (1u << 20)

struct job {
	STAILQ_ENTRY(job) link;
	pool_fn fn;
	void *arg;
};

struct pool {
	struct lock lock;
	struct cond work;
	STAILQ_HEAD(, job) queue; /* guarded by lock */
	unsigned idle;            /* guarded by lock */
	unsigned queued;          /* guarded by lock */
	unsigned started;         /* guarded by lock */
	bool stopping;            /* guarded by lock */
	unsigned max;
	char name[16];
	pthread_t threads[];
};

static void *pool_thread(void *arg)
{
	struct pool *p = arg;
	lock_take(&p->lock);
	for (;;) {
		struct job *job = STAILQ_FIRST(&p->queue);
		if (job) {
			STAILQ_REMOVE_HEAD(&p->queue, link);
			p->queued--;
			lock_drop(&p->lock);
			job->fn(job->arg);
			free(job);
			lock_take(&p->lock);
			continue;
		}
		if (p->stopping)
			break;
		p->idle++;
		cond_wait(&p->work, &p->lock);
		p->idle--;
	}
	lock_drop(&p->lock);
	return NULL;
}

int pool_new(const char *thread_name, unsigned threads, struct pool **ret)
{
	struct pool *p = calloc(1, sizeof(*p) + threads * sizeof(p->threads[0]));
	if (!p)
		return -ENOMEM;
	lock_init(&p->lock);
	cond_init(&p->work);
	STAILQ_INIT(&p->queue);
	p->max = threads;
	for (size_t i = 0; i < sizeof(p->name) - 1 && thread_name[i]; i++)
		p->name[i] = thread_name[i];
	*ret = p;
	return 0;
}

/* Signals are for the main thread's waiter: these threads take none. */
static int start_thread(struct pool *p) REQUIRES(p->lock)
{
	pthread_attr_t attr;
	sigset_t all, before;
	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, POOL_STACK);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&p->threads[p->started], &attr, pool_thread, p);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (r)
		return -r;
	pthread_setname_np(p->threads[p->started], p->name);
	p->started++;
	return 0;
}

int pool_submit(struct pool *p, pool_fn fn, void *arg)
{
	struct job *job = malloc(sizeof(*job));
	if (!job)
		return -ENOMEM;
	*job = (struct job){.fn = fn, .arg = arg};
	int r = 0;
	lock_take(&p->lock);
	if (p->stopping)
		r = -ECANCELED;
	else if (p->queued >= p->idle && p->started < p->max)
		r = start_thread(p);
	if (r && (p->stopping || p->started == 0)) { /* nobody would ever run it */
		lock_drop(&p->lock);
		free(job);
		return r;
	}
	STAILQ_INSERT_TAIL(&p->queue, job, link);
	p->queued++;
	cond_signal(&p->work);
	lock_drop(&p->lock);
	return 0;
}

void pool_stop(struct pool *p)
{
	if (!p)
		return;
	lock_take(&p->lock);
	p->stopping = true;
	cond_broadcast(&p->work);
	unsigned n = p->started;
	p->started = 0;
	lock_drop(&p->lock);
	for (unsigned i = 0; i < n; i++)
		pthread_join(p->threads[i], NULL);
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	pool_stop(p);
	ASSERT(
	    STAILQ_EMPTY(&p->queue)); /* threads leave none behind, and without one none is taken */
	cond_release(&p->work);
	lock_release(&p->lock);
	free(p);
}
