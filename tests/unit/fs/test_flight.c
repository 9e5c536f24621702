/* SPDX-License-Identifier: Apache-2.0 */
/* The single flight: joining, giving up, deadlines, and stopping. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/lock.h"
#include "fs/flight.h"
#include "fs/pool.h"

/* A job that runs until the test lets it, or its call is cancelled. */
struct stage {
	struct lock lock;
	struct cond changed;
	unsigned runs, done; /* guarded by lock */
	bool open;           /* guarded by lock */
	int result;          /* guarded by lock */
	int say;             /* what the host says before it falls silent */
	struct flights *flights;
	struct pool *pool;
};

struct guest {
	struct waiter waiter; /* first */
	struct stage *stage;
	int code;
	bool resumed;
};

struct performance {
	struct stage *stage;
	bool woken; /* guarded by stage->lock */
};

static void wake(void *ctx)
{
	struct performance *p = ctx;
	lock_take(&p->stage->lock);
	p->woken = true;
	cond_broadcast(&p->stage->changed);
	lock_drop(&p->stage->lock);
}

static int run(void *ctx, const struct flight_job *job, struct blob **ret_blob, struct err *err)
{
	struct stage *s = ctx;
	struct performance p = {s, false};
	(void)ret_blob;
	if (s->say)
		call_say(job->call, s->say, "go away");
	call_set_waker(job->call, wake, &p);
	lock_take(&s->lock);
	s->runs++;
	cond_broadcast(&s->changed);
	while (!s->open && !p.woken)
		cond_wait(&s->changed, &s->lock);
	int r = s->result;
	lock_drop(&s->lock);
	call_set_waker(job->call, NULL, NULL);
	int cancelled = call_check(job->call, err);
	if (cancelled)
		return cancelled;
	return r ? err_set(err, r, "as the test says") : 0;
}

static void resumed(struct waiter *w, int code, const struct err *err, struct blob *blob)
{
	struct guest *g = (struct guest *)w;
	(void)err;
	assert_null(blob);
	lock_take(&g->stage->lock);
	g->code = code;
	g->resumed = true;
	g->stage->done++;
	cond_broadcast(&g->stage->changed);
	lock_drop(&g->stage->lock);
}

static void open_stage(struct stage *s, int64_t timeout_ms)
{
	memset(s, 0, sizeof(*s));
	lock_init(&s->lock);
	cond_init(&s->changed);
	struct flights_options o = {run, s, "test", timeout_ms};
	assert_int_equal(flights_new(&o, &s->flights), 0);
	assert_int_equal(flights_start(s->flights), 0);
	assert_int_equal(pool_new("test", 4, &s->pool), 0);
}

static void let_run(struct stage *s, int result)
{
	lock_take(&s->lock);
	s->open = true;
	s->result = result;
	cond_broadcast(&s->changed);
	lock_drop(&s->lock);
}

static void await(struct stage *s, unsigned runs, unsigned done)
{
	lock_take(&s->lock);
	int64_t until = clock_ms() + 20000;
	while ((s->runs < runs || s->done < done) && cond_wait_until(&s->changed, &s->lock, until))
		;
	assert_true(s->runs >= runs && s->done >= done);
	lock_drop(&s->lock);
}

static void close_stage(struct stage *s)
{
	flights_stop(s->flights);
	pool_free(s->pool);
	flights_free(s->flights);
	cond_release(&s->changed);
	lock_release(&s->lock);
}

static struct want want_of(const char *repo)
{
	struct want w;
	memset(&w, 0, sizeof(w));
	w.kind = WANT_TAGS;
	strncpy(w.repo, repo, sizeof(w.repo) - 1);
	return w;
}

static int enter(struct stage *s, struct guest *g, const char *repo, int64_t deadline_ms)
{
	struct want w = want_of(repo);
	memset(g, 0, sizeof(*g));
	g->stage = s;
	g->waiter.deadline_ms = clock_ms() + deadline_ms;
	g->waiter.resume = resumed;
	waiter_watch(s->flights, &g->waiter);
	return flight_park(s->flights, &w, repo, s->pool, &g->waiter);
}

static void test_many_waiters_one_job(void **state)
{
	(void)state;
	static struct guest guests[200];
	struct stage s;
	struct flights_usage u;
	open_stage(&s, 60000);
	for (size_t i = 0; i < 200; i++)
		assert_int_equal(enter(&s, &guests[i], "one", 60000), 0);
	flights_usage(s.flights, &u);
	assert_int_equal(u.flights, 1);
	assert_int_equal(u.parked, 200);
	let_run(&s, -EHOSTUNREACH);
	await(&s, 1, 200);
	assert_int_equal(s.runs, 1);
	for (size_t i = 0; i < 200; i++) {
		assert_int_equal(guests[i].code, -EHOSTUNREACH);
		waiter_unwatch(s.flights, &guests[i].waiter);
	}
	close_stage(&s);
}

/* What has no job is told by somebody, and is gone with its last waiter. */
static void test_told(void **state)
{
	(void)state;
	static struct guest guests[3];
	struct stage s;
	struct flights_usage u;
	struct err why;
	struct want w = want_of("told");
	open_stage(&s, 60000);
	struct pool *pool = s.pool;
	s.pool = NULL;
	flight_tell(s.flights, &w, 0, &(struct err){""});
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(enter(&s, &guests[i], "told", 60000), 0);
	assert_true(waiter_leave(s.flights, &guests[0].waiter));
	(void)err_set(&why, -EPROTO, "so it is");
	flight_tell(s.flights, &w, -EPROTO, &why);
	assert_int_equal(guests[1].code, -EPROTO);
	assert_int_equal(guests[2].code, -EPROTO);
	flights_usage(s.flights, &u);
	assert_int_equal(u.flights, 0);
	for (size_t i = 0; i < 3; i++)
		waiter_unwatch(s.flights, &guests[i].waiter);
	/* Patience is theirs who work on it. */
	assert_int_equal(enter(&s, &guests[0], "told", -1), 0);
	assert_int_equal(enter(&s, &guests[1], "other", 60000), 0);
	assert_true(waiter_leave(s.flights, &guests[1].waiter));
	flights_usage(s.flights, &u);
	assert_int_equal(u.flights, 1);
	flight_tell(s.flights, &w, 0, &(struct err){""});
	assert_int_equal(guests[0].code, 0);
	for (size_t i = 0; i < 2; i++)
		waiter_unwatch(s.flights, &guests[i].waiter);
	assert_int_equal(enter(&s, &guests[2], "told", 60000), 0);
	flights_stop(s.flights);
	assert_int_equal(guests[2].code, -ECANCELED);
	waiter_unwatch(s.flights, &guests[2].waiter);
	assert_int_equal(s.runs, 0);
	s.pool = pool;
	close_stage(&s);
}

static void test_deadline_leaves_the_job_running(void **state)
{
	(void)state;
	struct stage s;
	struct guest early, late;
	open_stage(&s, 60000);
	assert_int_equal(enter(&s, &late, "x", 60000), 0);
	assert_int_equal(enter(&s, &early, "x", 20), 0);
	await(&s, 1, 1);
	assert_int_equal(early.code, -ETIMEDOUT);
	assert_false(late.resumed);
	let_run(&s, 0);
	await(&s, 1, 2);
	assert_int_equal(late.code, 0);
	waiter_unwatch(s.flights, &early.waiter);
	waiter_unwatch(s.flights, &late.waiter);
	close_stage(&s);
}

static void test_slow(void **state)
{
	(void)state;
	struct stage s;
	struct guest first, second;
	struct want w = want_of("x");
	open_stage(&s, 60000);
	memset(&first, 0, sizeof(first));
	first.stage = &s;
	first.waiter.deadline_ms = INT64_MAX;
	first.waiter.soft_ms = 10;
	first.waiter.resume = resumed;
	waiter_watch(s.flights, &first.waiter);
	assert_int_equal(flight_park(s.flights, &w, "x", s.pool, &first.waiter), 0);
	await(&s, 1, 1);
	assert_int_equal(first.code, FLIGHT_SLOW);
	/* Who comes later does not wait at all. */
	second = first;
	waiter_watch(s.flights, &second.waiter);
	assert_int_equal(flight_park(s.flights, &w, "x", s.pool, &second.waiter), FLIGHT_SLOW);
	waiter_unwatch(s.flights, &first.waiter);
	waiter_unwatch(s.flights, &second.waiter);
	let_run(&s, 0);
	close_stage(&s);
}

/* A caller of another pid namespace shows as thread 0: its interrupt counts. */
static void test_given_up(void **state)
{
	(void)state;
	struct stage s;
	struct guest g, stays;
	open_stage(&s, 60000);
	assert_int_equal(enter(&s, &g, "x", 60000), 0);
	assert_int_equal(enter(&s, &stays, "y", 60000), 0);
	stays.waiter.tid = getpid(); /* nothing pends on this thread */
	await(&s, 2, 0);
	waiter_interrupt(s.flights, stays.waiter.serial);
	waiter_interrupt(s.flights, g.waiter.serial);
	await(&s, 2, 1);
	assert_int_equal(g.code, -EINTR);
	assert_false(stays.resumed);
	waiter_unwatch(s.flights, &g.waiter);
	let_run(&s, 0);
	await(&s, 2, 2);
	assert_int_equal(stays.code, 0);
	waiter_unwatch(s.flights, &stays.waiter);
	close_stage(&s);
}

/* The kernel says it once: also if the watch thread has long looked by the time
 * that it parks. */
static void test_interrupted_before_it_parks(void **state)
{
	(void)state;
	struct stage s;
	struct guest g, other;
	struct want w = want_of("x");
	open_stage(&s, 60000);
	memset(&g, 0, sizeof(g));
	g.stage = &s;
	g.waiter.deadline_ms = INT64_MAX;
	g.waiter.resume = resumed;
	waiter_watch(s.flights, &g.waiter);
	assert_int_equal(enter(&s, &other, "y", 60000), 0);
	waiter_interrupt(s.flights, g.waiter.serial);
	waiter_interrupt(s.flights, other.waiter.serial);
	await(&s, 0, 1); /* the watch thread has been through */
	assert_true(other.resumed);
	assert_int_equal(flight_park(s.flights, &w, "x", s.pool, &g.waiter), 0);
	await(&s, 0, 2);
	assert_int_equal(g.code, -EINTR);
	waiter_unwatch(s.flights, &g.waiter);
	waiter_unwatch(s.flights, &other.waiter);
	let_run(&s, 0);
	close_stage(&s);
}

static void test_interrupts_in_any_order(void **state)
{
	(void)state;
	static struct guest guests[200];
	struct stage s;
	open_stage(&s, 60000);
	for (size_t i = 0; i < 200; i++)
		assert_int_equal(enter(&s, &guests[i], i % 2 ? "a" : "b", 60000), 0);
	for (size_t i = 0; i < 200; i++)
		waiter_interrupt(s.flights, guests[(i * 77) % 200].waiter.serial);
	await(&s, 0, 200);
	for (size_t i = 0; i < 200; i++) {
		assert_int_equal(guests[i].code, -EINTR);
		waiter_unwatch(s.flights, &guests[i].waiter);
	}
	let_run(&s, 0);
	close_stage(&s);
}

/* Nothing is done in the thread that parks, whatever the pool says. */
static void test_no_thread_for_it(void **state)
{
	(void)state;
	struct stage s;
	struct guest g;
	open_stage(&s, 60000);
	pool_stop(s.pool);
	assert_int_equal(enter(&s, &g, "x", 60000), 0);
	assert_true(g.resumed);
	assert_int_equal(g.code, -EIO);
	assert_int_equal(s.runs, 0);
	waiter_unwatch(s.flights, &g.waiter);
	close_stage(&s);
}

/* What the host said last is told, rather than its silence since. */
static void test_late_after_a_word(void **state)
{
	(void)state;
	struct stage s;
	struct guest g;
	open_stage(&s, 60000);
	s.say = -EHOSTUNREACH;
	assert_int_equal(enter(&s, &g, "x", 200), 0);
	await(&s, 1, 1);
	assert_int_equal(g.code, -EHOSTUNREACH);
	waiter_unwatch(s.flights, &g.waiter);
	let_run(&s, 0);
	close_stage(&s);
}

/* A job waits for another's result, and is itself given up. */
static void test_who_parked_it_leaves(void **state)
{
	(void)state;
	struct stage s;
	struct guest one, two;
	open_stage(&s, 60000);
	assert_int_equal(enter(&s, &one, "x", 60000), 0);
	assert_int_equal(enter(&s, &two, "x", 60000), 0);
	await(&s, 1, 0);
	assert_true(waiter_leave(s.flights, &one.waiter));
	assert_false(waiter_leave(s.flights, &one.waiter));
	/* Somebody still wants it; with the last one the job is cancelled, and ends
	 * without anybody being resumed. */
	assert_true(waiter_leave(s.flights, &two.waiter));
	flights_stop(s.flights);
	pool_stop(s.pool);
	assert_int_equal(s.done, 0);
	waiter_unwatch(s.flights, &one.waiter);
	waiter_unwatch(s.flights, &two.waiter);
	pool_free(s.pool);
	flights_free(s.flights);
	cond_release(&s.changed);
	lock_release(&s.lock);
}

static void park_paced(struct stage *s, struct guest *g, const struct want *w)
{
	memset(g, 0, sizeof(*g));
	g->stage = s;
	g->waiter.deadline_ms = clock_ms() + 60000;
	g->waiter.pace_ms = 20;
	g->waiter.resume = resumed;
	waiter_watch(s->flights, &g->waiter);
	assert_int_equal(flight_park(s->flights, w, "x", s->pool, &g->waiter), 0);
}

/* Nobody is silent who was not asked. */
static void test_pace_of_what_waits_for_its_turn(void **state)
{
	(void)state;
	static const char *const repos[] = {"a", "b", "c",
					    "d"}; /* as many as the pool has threads */
	struct stage s;
	struct guest others[ARRAY_LEN(repos)], g;
	open_stage(&s, 60000);
	for (size_t i = 0; i < ARRAY_LEN(repos); i++)
		assert_int_equal(enter(&s, &others[i], repos[i], 60000), 0);
	await(&s, ARRAY_LEN(repos), 0);
	struct want w = want_of("x");
	park_paced(&s, &g, &w);
	await(&s, ARRAY_LEN(repos), 1);
	assert_int_equal(g.code, FLIGHT_QUEUED);
	waiter_unwatch(s.flights, &g.waiter);
	let_run(&s, 0);
	await(&s, ARRAY_LEN(repos), 1 + ARRAY_LEN(repos));
	for (size_t i = 0; i < ARRAY_LEN(repos); i++)
		waiter_unwatch(s.flights, &others[i].waiter);
	close_stage(&s);
}

/* It is told how the flight gets on, and the flight goes on. */
static void test_pace(void **state)
{
	(void)state;
	struct stage s;
	struct guest g, other;
	char repo[REPOSITORY_MAX] = "";
	open_stage(&s, 60000);
	struct want w = want_of("x");
	assert_int_equal(enter(&s, &other, "x", 60000), 0);
	await(&s, 1, 0);
	park_paced(&s, &g, &w);
	await(&s, 1, 1);
	assert_int_equal(g.code, FLIGHT_SILENT);
	assert_true(flight_is_under_way(s.flights, &w, NULL));
	/* Somebody else waits for it, who is moved too; then it is cancelled, and wanted again
	 * it comes from where it was moved to. */
	flight_leave(s.flights, &w, false, "y");
	assert_true(flight_is_under_way(s.flights, &w, repo));
	assert_string_equal(repo, "x");
	flight_leave(s.flights, &w, true, "y");
	assert_int_equal(other.code, FLIGHT_MOVED);
	assert_false(flight_is_under_way(s.flights, &w, NULL));
	waiter_unwatch(s.flights, &g.waiter);
	waiter_unwatch(s.flights, &other.waiter);
	let_run(&s, 0);
	close_stage(&s);
}

static void test_stop(void **state)
{
	(void)state;
	struct stage s;
	struct guest g;
	open_stage(&s, 60000);
	assert_int_equal(enter(&s, &g, "x", 60000), 0);
	await(&s, 1, 0);
	flights_stop(s.flights);
	assert_true(g.resumed);
	assert_int_equal(g.code, -ECANCELED);
	waiter_unwatch(s.flights, &g.waiter);
	assert_int_equal(enter(&s, &g, "x", 60000), -ECANCELED);
	waiter_unwatch(s.flights, &g.waiter);
	pool_free(s.pool);
	flights_free(s.flights);
	cond_release(&s.changed);
	lock_release(&s.lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_many_waiters_one_job),
	    cmocka_unit_test(test_told),
	    cmocka_unit_test(test_deadline_leaves_the_job_running),
	    cmocka_unit_test(test_slow),
	    cmocka_unit_test(test_given_up),
	    cmocka_unit_test(test_interrupted_before_it_parks),
	    cmocka_unit_test(test_interrupts_in_any_order),
	    cmocka_unit_test(test_no_thread_for_it),
	    cmocka_unit_test(test_late_after_a_word),
	    cmocka_unit_test(test_who_parked_it_leaves),
	    cmocka_unit_test(test_pace),
	    cmocka_unit_test(test_pace_of_what_waits_for_its_turn),
	    cmocka_unit_test(test_stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
