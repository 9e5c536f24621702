/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lock.h"

#include <errno.h>
#include <time.h>

/* Error-checking, so that taking a lock twice stops with a message, not with
 * a thread that hangs for ever. */
void lock_init(struct lock *l)
{
	pthread_mutexattr_t attr;
	int rc = pthread_mutexattr_init(&attr);
	ASSERT(rc == 0);
	rc = pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
	ASSERT(rc == 0);
	rc = pthread_mutex_init(&l->mutex, &attr);
	ASSERT(rc == 0);
	pthread_mutexattr_destroy(&attr);
	l->held = false;
}

void lock_release(struct lock *l)
{
	int rc = pthread_mutex_destroy(&l->mutex);
	ASSERT(rc == 0);
}

static void note_owner(struct lock *l)
{
	l->owner = pthread_self();
	l->held = true;
}

void lock_take(struct lock *l) NO_ANALYSIS
{
	int rc = pthread_mutex_lock(&l->mutex);
	ASSERT(rc == 0);
	note_owner(l);
}

void lock_drop(struct lock *l) NO_ANALYSIS
{
	lock_assert_held(l);
	l->held = false;
	int rc = pthread_mutex_unlock(&l->mutex);
	ASSERT(rc == 0);
}

void lock_assert_held(const struct lock *l)
{
	ASSERT(l->held && pthread_equal(l->owner, pthread_self()));
}

void cond_init(struct cond *c)
{
	pthread_condattr_t attr;
	int rc = pthread_condattr_init(&attr);
	ASSERT(rc == 0);
	rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	ASSERT(rc == 0);
	rc = pthread_cond_init(&c->cond, &attr);
	ASSERT(rc == 0);
	pthread_condattr_destroy(&attr);
}

void cond_release(struct cond *c)
{
	int rc = pthread_cond_destroy(&c->cond);
	ASSERT(rc == 0);
}

void cond_wait(struct cond *c, struct lock *l)
{
	lock_assert_held(l);
	l->held = false;
	int rc = pthread_cond_wait(&c->cond, &l->mutex);
	ASSERT(rc == 0);
	note_owner(l);
}

bool cond_wait_until(struct cond *c, struct lock *l, int64_t at_ms)
{
	if (at_ms == INT64_MAX) {
		cond_wait(c, l);
		return true;
	}
	if (at_ms < 0)
		at_ms = 0;
	struct timespec at = {.tv_sec = (time_t)(at_ms / 1000),
			      .tv_nsec = (long)(at_ms % 1000) * 1000000};
	lock_assert_held(l);
	l->held = false;
	int rc = pthread_cond_timedwait(&c->cond, &l->mutex, &at);
	ASSERT(rc == 0 || rc == ETIMEDOUT);
	note_owner(l);
	return rc == 0;
}

void cond_signal(struct cond *c)
{
	int rc = pthread_cond_signal(&c->cond);
	ASSERT(rc == 0);
}

void cond_broadcast(struct cond *c)
{
	int rc = pthread_cond_broadcast(&c->cond);
	ASSERT(rc == 0);
}
