/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "registry/content_range.h"

static void part(const char *s, uint64_t first, uint64_t last, int64_t total)
{
	struct content_range r;

	assert_int_equal(content_range_parse(s, strlen(s), &r), 0);
	assert_true(r.satisfied);
	assert_true(r.first == first && r.last == last);
	assert_int_equal(r.has_total, total >= 0);
	if (total >= 0)
		assert_true(r.total == (uint64_t)total);
}

static void parts_are_read(void **state)
{
	(void)state;
	part("bytes 0-0/1", 0, 0, 1);
	part("bytes 5-9/10", 5, 9, 10);
	part("Bytes  5-9/*", 5, 9, -1);
}

static void part_of_the_largest(void **state)
{
	static const char s[] = "bytes 0-18446744073709551614/18446744073709551615";
	struct content_range r;

	(void)state;
	assert_int_equal(content_range_parse(s, strlen(s), &r), 0);
	assert_true(r.has_total && r.total == UINT64_MAX);
}

static void an_unsatisfied_one_has_a_total(void **state)
{
	struct content_range r;

	(void)state;
	assert_int_equal(content_range_parse("bytes */12", 10, &r), 0);
	assert_false(r.satisfied);
	assert_true(r.has_total && r.total == 12);
}

static void all_else_is_refused(void **state)
{
	static const char *const odd[] = {"",
					  "bytes",
					  "bytes ",
					  "bytes 1",
					  "bytes 1-",
					  "bytes -1/2",
					  "bytes 2-1/3",
					  "bytes 0-3/3",
					  "bytes */*",
					  "bytes 0-1/2x",
					  "bytes 0-1",
					  "items 0-1/2",
					  "bytes=0-1/2",
					  "bytes 0-1/-2",
					  "bytes 0 - 1/2",
					  "bytes 0-18446744073709551616/*",
					  "bytes +0-1/2",
					  "bytes0-1/2"};
	struct content_range r;

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_int_equal(content_range_parse(odd[i], strlen(odd[i]), &r), -EINVAL);
	assert_int_equal(content_range_parse("bytes 0-1/2\0", 12, &r), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parts_are_read),
	    cmocka_unit_test(part_of_the_largest),
	    cmocka_unit_test(an_unsatisfied_one_has_a_total),
	    cmocka_unit_test(all_else_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
