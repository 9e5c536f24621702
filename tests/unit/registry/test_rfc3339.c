/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "registry/rfc3339.h"

static void times_are_read(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t ms;
	} v[] = {
	    {"1970-01-01T00:00:00Z", 0},
	    {"1970-01-01t00:00:00.001z", 1},
	    {"1969-12-31T23:59:59Z", -1000},
	    {"2000-02-29T12:00:00Z", INT64_C(951825600000)},
	    {"2026-01-02T03:04:05.6789Z", INT64_C(1767323045678)},
	    {"2026-01-02T03:04:05+01:00", INT64_C(1767319445000)},
	    {"2026-01-02T03:04:05-01:30", INT64_C(1767328445000)},
	    {"2016-12-31T23:59:60Z", INT64_C(1483228800000)},
	    {"0000-01-01T00:00:00Z", INT64_C(-62167219200000)},
	    {"9999-12-31T23:59:59Z", INT64_C(253402300799000)},
	};
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		int64_t ms = 42;
		assert_true(rfc3339_parse_ms(v[i].text, &ms));
		assert_true(ms == v[i].ms);
	}
}

static void other_texts_are_refused(void **state)
{
	(void)state;
	static const char *const v[] = {
	    "",
	    "2026",
	    "2026-01-02",
	    "2026-01-02T03:04:05",
	    "2026-13-02T03:04:05Z",
	    "2026-02-29T03:04:05Z",
	    "1900-02-29T00:00:00Z",
	    "2026-01-00T03:04:05Z",
	    "2026-01-02T24:04:05Z",
	    "2026-01-02T03:60:05Z",
	    "2026-01-02T03:04:61Z",
	    "2026-01-02T03:04:05.Z",
	    "2026-01-02T03:04:05Zx",
	    "2026-01-02T03:04:05+1:00",
	    "2026-01-02 03:04:05Z",
	    "-026-01-02T03:04:05Z",
	};
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		int64_t ms = 42;
		assert_false(rfc3339_parse_ms(v[i], &ms));
		assert_true(ms == 42);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(times_are_read),
	    cmocka_unit_test(other_texts_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
