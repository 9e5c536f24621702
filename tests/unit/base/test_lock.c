/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/lock.h"

struct shared {
	struct lock lock;
	struct cond cond;
	int value;  /* guarded by lock */
	bool ready; /* guarded by lock */
};

static int setup(void **state)
{
	static struct shared s;
	s = (struct shared){.value = 0};
	lock_init(&s.lock);
	cond_init(&s.cond);
	*state = &s;
	return 0;
}

static int teardown(void **state)
{
	struct shared *s = *state;
	cond_release(&s->cond);
	lock_release(&s->lock);
	return 0;
}

static void *add_thousand(void *ctx)
{
	struct shared *s = ctx;
	for (int i = 0; i < 1000; i++) {
		lock_take(&s->lock);
		s->value++;
		lock_drop(&s->lock);
	}
	return NULL;
}

static void lock_keeps_threads_apart(void **state)
{
	struct shared *s = *state;
	pthread_t threads[4];
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_thousand, s), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	lock_take(&s->lock);
	assert_int_equal(s->value, 4000);
	lock_drop(&s->lock);
}

static void *make_ready(void *ctx)
{
	struct shared *s = ctx;
	lock_take(&s->lock);
	s->ready = true;
	cond_broadcast(&s->cond);
	lock_drop(&s->lock);
	return NULL;
}

static void condition_wakes_its_waiter(void **state)
{
	struct shared *s = *state;
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, make_ready, s), 0);
	lock_take(&s->lock);
	while (!s->ready)
		assert_true(cond_wait_until(&s->cond, &s->lock, INT64_MAX));
	lock_assert_held(&s->lock);
	lock_drop(&s->lock);
	pthread_join(thread, NULL);
}

static void timed_wait_ends_at_its_time(void **state)
{
	struct shared *s = *state;
	lock_take(&s->lock);
	assert_false(cond_wait_until(&s->cond, &s->lock, clock_ms()));
	assert_false(cond_wait_until(&s->cond, &s->lock, -5));
	int64_t at = clock_ms() + 2;
	while (cond_wait_until(&s->cond, &s->lock, at))
		;
	assert_true(clock_ms() >= at);
	lock_assert_held(&s->lock);
	lock_drop(&s->lock);
}

/* Each in a child, whose end by SIGABRT is the answer. */
static void misuse(struct shared *s, int how) NO_ANALYSIS
{
	if (how == 0) {
		lock_take(&s->lock);
		lock_take(&s->lock);
	} else if (how == 1) {
		lock_drop(&s->lock);
	} else {
		lock_assert_held(&s->lock);
	}
}

static void misuse_is_an_assertion(void **state)
{
	for (int how = 0; how < 3; how++) {
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			signal(SIGABRT, SIG_DFL);
			close(STDERR_FILENO);
			misuse(*state, how);
			_exit(0);
		}
		int status = 0;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	}
}

static void clocks_go_forward(void **state)
{
	(void)state;
	int64_t before = clock_ms();
	assert_true(clock_ms() >= before);
	assert_true(clock_wall_ms() > 1600000000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(lock_keeps_threads_apart, setup, teardown),
	    cmocka_unit_test_setup_teardown(condition_wakes_its_waiter, setup, teardown),
	    cmocka_unit_test_setup_teardown(timed_wait_ends_at_its_time, setup, teardown),
	    cmocka_unit_test_setup_teardown(misuse_is_an_assertion, setup, teardown),
	    cmocka_unit_test(clocks_go_forward),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
