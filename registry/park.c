/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/park.h"

#include "base/clock.h"

struct alarm {
	struct lock *lock;
	struct cond *cond;
	bool rung; /* guarded by *lock */
};

static void ring(void *ctx)
{
	struct alarm *a = ctx;

	lock_take(a->lock);
	a->rung = true;
	cond_broadcast(a->cond);
	lock_drop(a->lock);
}

int park(struct lock *lock, struct cond *cond, park_ready_fn ready, const void *ctx,
	 struct call *call, int64_t at_ms, struct err *err)
{
	struct alarm alarm = {.lock = lock, .cond = cond};

	for (;;) {
		int64_t limit_ms = at_ms < call->deadline_ms ? at_ms : call->deadline_ms;
		bool in_time = true;
		bool is_ready;
		int r = call_check(call, err);

		if (r < 0)
			return r;
		call_set_waker(call, ring, &alarm);
		lock_take(lock);
		while (!(is_ready = ready(ctx)) && !alarm.rung && in_time)
			in_time = cond_wait_until(cond, lock, limit_ms);
		alarm.rung = false;
		lock_drop(lock);
		call_set_waker(call, NULL, NULL);
		if (is_ready)
			return 1;
		if (!in_time && limit_ms == at_ms)
			return 0;
	}
}

static bool never(const void *ctx)
{
	(void)ctx;
	return false;
}

int park_sleep(struct call *call, int64_t at_ms, struct err *err)
{
	struct lock lock;
	struct cond cond;
	int r;

	lock_init(&lock);
	cond_init(&cond);
	r = park(&lock, &cond, never, NULL, call, at_ms, err);
	cond_release(&cond);
	lock_release(&lock);
	return r < 0 ? r : 0;
}
