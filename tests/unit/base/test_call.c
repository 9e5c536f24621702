/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/call.h"
#include "base/clock.h"

static void count(void *ctx)
{
	atomic_fetch_add((atomic_int *)ctx, 1);
}

static void cancelled_call_fails_and_says_so(void **state)
{
	(void)state;
	struct call c;
	struct err err = {{0}};
	call_init(&c, INT64_MAX);
	assert_int_equal(call_check(&c, &err), 0);
	assert_string_equal(err.text, "");
	call_cancel(&c);
	call_cancel(&c);
	assert_int_equal(call_check(&c, &err), -ECANCELED);
	assert_string_not_equal(err.text, "");
	call_release(&c);
}

static void deadline_ends_a_call(void **state)
{
	(void)state;
	struct call c;
	call_init(&c, clock_ms() - 1);
	assert_int_equal(call_check(&c, NULL), -ETIMEDOUT);
	c.deadline_ms = clock_ms() + 1000000;
	assert_int_equal(call_check(&c, NULL), 0);
	call_release(&c);
}

static void waker_runs_on_each_cancel_until_taken_away(void **state)
{
	(void)state;
	struct call c;
	atomic_int runs = 0;
	call_init(&c, INT64_MAX);
	call_set_waker(&c, count, &runs);
	assert_int_equal(runs, 0);
	call_cancel(&c);
	assert_int_equal(runs, 1);
	call_set_waker(&c, NULL, NULL);
	call_cancel(&c);
	assert_int_equal(runs, 1);
	call_set_waker(&c, count, &runs);
	assert_int_equal(runs, 2);
	call_set_waker(&c, NULL, NULL);
	call_release(&c);
}

struct waiter {
	struct call call;
	struct lock lock;
	struct cond cond;
	bool woken; /* guarded by lock */
};

static void wake(void *ctx)
{
	struct waiter *w = ctx;
	lock_take(&w->lock);
	w->woken = true;
	cond_signal(&w->cond);
	lock_drop(&w->lock);
}

static void *cancel_it(void *ctx)
{
	call_cancel(&((struct waiter *)ctx)->call);
	return NULL;
}

static void cancel_ends_a_wait_in_another_thread(void **state)
{
	(void)state;
	struct waiter w = {.woken = false};
	call_init(&w.call, INT64_MAX);
	lock_init(&w.lock);
	cond_init(&w.cond);
	call_set_waker(&w.call, wake, &w);
	pthread_t canceller;
	assert_int_equal(pthread_create(&canceller, NULL, cancel_it, &w), 0);
	lock_take(&w.lock);
	while (!w.woken)
		cond_wait(&w.cond, &w.lock);
	lock_drop(&w.lock);
	pthread_join(canceller, NULL);
	call_set_waker(&w.call, NULL, NULL);
	assert_int_equal(call_check(&w.call, NULL), -ECANCELED);
	cond_release(&w.cond);
	lock_release(&w.lock);
	call_release(&w.call);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(cancelled_call_fails_and_says_so),
	    cmocka_unit_test(deadline_ends_a_call),
	    cmocka_unit_test(waker_runs_on_each_cancel_until_taken_away),
	    cmocka_unit_test(cancel_ends_a_wait_in_another_thread),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
