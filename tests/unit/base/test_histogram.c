/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/histogram.h"

/* A bound belongs to its own bucket; what is beyond all of them, to the last. */
static void test_bounds(void **state)
{
	(void)state;
	struct histogram h = {0};
	struct histogram_view v;
	uint64_t sum = 0;
	for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++) {
		histogram_add(&h, histogram_bounds_us[i]);
		sum += histogram_bounds_us[i];
		if (i > 0)
			assert_true(histogram_bounds_us[i] > histogram_bounds_us[i - 1]);
	}
	histogram_read(&h, &v);
	for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++)
		assert_int_equal(v.buckets[i], 1);
	assert_int_equal(v.buckets[HISTOGRAM_BOUNDS], 0);
	histogram_add(&h, (int64_t)histogram_bounds_us[HISTOGRAM_BOUNDS - 1] + 1);
	histogram_add(&h, histogram_bounds_us[0] + 1);
	histogram_add(&h, -5); /* a clock that went back is no time at all */
	histogram_read(&h, &v);
	assert_int_equal(v.buckets[0], 2);
	assert_int_equal(v.buckets[1], 2);
	assert_int_equal(v.buckets[HISTOGRAM_BOUNDS], 1);
	assert_int_equal(v.count, HISTOGRAM_BOUNDS + 3);
	assert_int_equal(v.sum_us, sum + histogram_bounds_us[HISTOGRAM_BOUNDS - 1] + 1 +
				       histogram_bounds_us[0] + 1);
}

#define THREADS 4
#define EACH    100000

static void *add_many(void *arg)
{
	for (int i = 0; i < EACH; i++)
		histogram_add(arg, i % 100);
	return NULL;
}

static void test_threads(void **state)
{
	(void)state;
	struct histogram h = {0};
	struct histogram_view v;
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_many, &h), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	histogram_read(&h, &v);
	assert_int_equal(v.count, THREADS * EACH);
	assert_int_equal(v.buckets[0], THREADS * (EACH / 100) * 11);
	assert_int_equal(v.sum_us, (uint64_t)THREADS * (EACH / 100) * (99 * 100 / 2));
}

static void test_one_clock(void **state)
{
	(void)state;
	int64_t before = clock_ms(), us = clock_us(), after = clock_ms();
	assert_true(before <= us / 1000 && us / 1000 <= after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_bounds),
					   cmocka_unit_test(test_threads),
					   cmocka_unit_test(test_one_clock)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
