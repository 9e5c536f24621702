/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cache/worker.h"

/* Everything the worker and the test tell each other. */
struct scene {
	struct worker worker;
	struct lock lock;
	struct cond cond;
	int ran, ticks;    /* guarded by lock, as all below */
	int64_t due_at[3]; /* when it ran */
	int dues;
	bool may_end, gone;
};

struct test_job {
	struct job job;
	struct scene *scene;
	int number;
	bool waits;
};

static void tick(void *ctx)
{
	struct scene *s = ctx;
	lock_take(&s->lock);
	s->ticks++;
	cond_broadcast(&s->cond);
	lock_drop(&s->lock);
}

/* Asks for itself once more. */
static void due(void *ctx)
{
	struct scene *s = ctx;
	lock_take(&s->lock);
	assert_in_range(s->dues, 0, 1);
	s->due_at[s->dues++] = clock_ms();
	bool again = s->dues == 1;
	cond_broadcast(&s->cond);
	lock_drop(&s->lock);
	if (again)
		worker_wake_at(&s->worker, clock_ms() + 20);
}

static void gone(void *ctx)
{
	struct scene *s = ctx;
	worker_release(&s->worker);
	lock_take(&s->lock);
	s->gone = true;
	cond_broadcast(&s->cond);
	lock_drop(&s->lock);
}

static void run(struct job *job)
{
	struct test_job *t = (struct test_job *)(void *)job;
	struct scene *s = t->scene;
	lock_take(&s->lock);
	while (t->waits && !s->may_end)
		cond_wait(&s->cond, &s->lock);
	assert_int_equal(s->ran, t->number);
	s->ran++;
	cond_broadcast(&s->cond);
	lock_drop(&s->lock);
}

static int setup(void **state)
{
	static struct scene s;
	s = (struct scene){.ran = 0};
	lock_init(&s.lock);
	cond_init(&s.cond);
	worker_init(&s.worker, 1, tick, due, gone, &s);
	*state = &s;
	return 0;
}

static int teardown(void **state)
{
	struct scene *s = *state;
	cond_release(&s->cond);
	lock_release(&s->lock);
	return 0;
}

static void jobs_run_in_order_and_to_the_end(void **state)
{
	struct scene *s = *state;
	struct test_job jobs[50];
	for (int i = 0; i < 50; i++) {
		jobs[i] = (struct test_job){.job = {.run = run}, .scene = s, .number = i};
		worker_post(&s->worker, &jobs[i].job);
	}
	assert_true(worker_stop(&s->worker, INT64_MAX));
	assert_int_equal(s->ran, 50);
	worker_release(&s->worker);
}

static void without_work_there_is_no_thread(void **state)
{
	struct scene *s = *state;
	assert_true(worker_stop(&s->worker, clock_ms()));
	assert_int_equal(s->ticks, 0);
	worker_release(&s->worker);
}

/* Where no thread was to be had, what was posted may ask for something at the very end. */
static void none_starts_once_it_was_stopped(void **state)
{
	struct scene *s = *state;
	assert_true(worker_stop(&s->worker, clock_ms()));
	worker_wake_at(&s->worker, clock_ms());
	lock_take(&s->worker.lock);
	bool started = s->worker.started;
	lock_drop(&s->worker.lock);
	if (started)
		pthread_join(s->worker.thread, NULL);
	assert_false(started);
	worker_release(&s->worker);
}

static void ticks_come_again_and_again(void **state)
{
	struct scene *s = *state;
	assert_int_equal(worker_start(&s->worker), 0);
	assert_int_equal(worker_start(&s->worker), 0);
	lock_take(&s->lock);
	while (s->ticks < 3)
		cond_wait(&s->cond, &s->lock);
	lock_drop(&s->lock);
	assert_true(worker_stop(&s->worker, INT64_MAX));
	worker_release(&s->worker);
}

static void what_is_due_runs_once_for_each_time_that_was_asked_for(void **state)
{
	struct scene *s = *state;
	int64_t now = clock_ms();
	worker_wake_at(&s->worker, now + 3600000);
	worker_wake_at(&s->worker, now + 30); /* the first counts, and the later one goes with it */
	worker_wake_at(&s->worker, now + 3600000);
	lock_take(&s->lock);
	while (s->dues < 2)
		cond_wait(&s->cond, &s->lock);
	assert_true(s->due_at[0] >= now + 30);
	assert_true(s->due_at[1] >= s->due_at[0] + 20);
	int ticks = s->ticks;
	while (s->ticks < ticks + 3)
		cond_wait(&s->cond, &s->lock);
	assert_int_equal(s->dues, 2);
	lock_drop(&s->lock);
	assert_true(worker_stop(&s->worker, INT64_MAX));
	worker_release(&s->worker);
}

static void stop_does_not_wait_for_ever(void **state)
{
	struct scene *s = *state;
	struct test_job first = {.job = {.run = run}, .scene = s, .waits = true};
	struct test_job second = {.job = {.run = run}, .scene = s, .number = 1};
	worker_post(&s->worker, &first.job);
	worker_post(&s->worker, &second.job);
	assert_false(worker_abandoned(&s->worker));
	assert_false(worker_stop(&s->worker, clock_ms() + 5));
	assert_true(worker_abandoned(&s->worker));
	lock_take(&s->lock);
	s->may_end = true;
	cond_broadcast(&s->cond);
	while (!s->gone)
		cond_wait(&s->cond, &s->lock);
	assert_int_equal(s->ran, 2);
	lock_drop(&s->lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(jobs_run_in_order_and_to_the_end, setup, teardown),
	    cmocka_unit_test_setup_teardown(without_work_there_is_no_thread, setup, teardown),
	    cmocka_unit_test_setup_teardown(none_starts_once_it_was_stopped, setup, teardown),
	    cmocka_unit_test_setup_teardown(ticks_come_again_and_again, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_due_runs_once_for_each_time_that_was_asked_for,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(stop_does_not_wait_for_ever, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
