/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fs/metrics.h"

static struct metrics metrics;

static uint64_t count_of(enum operation o, const char *outcome)
{
	struct histogram_view v;
	for (unsigned k = 0; metrics_outcome_name(k) != NULL; k++) {
		if (strcmp(metrics_outcome_name(k), outcome) != 0)
			continue;
		histogram_read(&metrics.operations[o][k], &v);
		return v.count;
	}
	fail_msg("no outcome %s", outcome);
	return 0;
}

/* Each errno of the design has a name of its own, and whatever else there is has one too. */
static void test_outcomes(void **state)
{
	(void)state;
	static const struct {
		int errnum;
		const char *name;
	} design[] = {
	    {0, "ok"},
	    {ENOENT, "ENOENT"},
	    {EACCES, "EACCES"},
	    {EHOSTUNREACH, "EHOSTUNREACH"},
	    {ETIMEDOUT, "ETIMEDOUT"},
	    {EBUSY, "EBUSY"},
	    {EBADMSG, "EBADMSG"},
	    {EPROTO, "EPROTO"},
	    {EFBIG, "EFBIG"},
	    {ENOSPC, "ENOSPC"},
	    {EOPNOTSUPP, "EOPNOTSUPP"},
	    {ENOEXEC, "ENOEXEC"},
	    {EKEYREJECTED, "EKEYREJECTED"},
	    {EIO, "EIO"},
	    {EXDEV, "other"},
	    {-1, "other"},
	    {100000, "other"},
	};
	for (size_t i = 0; i < sizeof(design) / sizeof(*design); i++) {
		uint64_t before = count_of(OPERATION_OPEN, design[i].name);
		metrics_count(&metrics, OPERATION_OPEN, design[i].errnum, clock_us());
		assert_int_equal(count_of(OPERATION_OPEN, design[i].name), before + 1);
		assert_int_equal(count_of(OPERATION_LOOKUP, design[i].name), 0);
	}
	unsigned n = 0;
	while (metrics_outcome_name(n) != NULL)
		n++;
	assert_true(n <= METRICS_OUTCOMES);
	assert_string_equal(metrics_outcome_name(n - 1), "other");
}

static void test_operations(void **state)
{
	(void)state;
	for (unsigned o = 0; o < OPERATIONS; o++) {
		assert_non_null(operation_name(o));
		for (unsigned k = 0; k < o; k++)
			assert_string_not_equal(operation_name(o), operation_name(k));
	}
}

static void test_time(void **state)
{
	(void)state;
	struct histogram_view v;
	metrics_count(&metrics, OPERATION_READ, 0, clock_us() - 2500000);
	histogram_read(&metrics.operations[OPERATION_READ][0], &v);
	assert_int_equal(v.count, 1);
	assert_in_range(v.sum_us, 2500000, 4000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_outcomes),
					   cmocka_unit_test(test_operations),
					   cmocka_unit_test(test_time)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
