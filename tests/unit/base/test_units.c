/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "base/units.h"

static void sizes(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int rc;
		uint64_t value;
	} cases[] = {
	    {"0", 0, 0},
	    {"1000", 0, 1000},
	    {"64K", 0, 65536},
	    {"30M", 0, 30ull << 20},
	    {"8G", 0, 8ull << 30},
	    {"2T", 0, 2ull << 40},
	    {"18446744073709551615", 0, UINT64_MAX},
	    {"18446744073709551616", -ERANGE, 0},
	    {"16777216T", -ERANGE, 0},
	    {"99999999999999999999999x", -EINVAL, 0},
	    {"", -EINVAL, 0},
	    {"K", -EINVAL, 0},
	    {"-1", -EINVAL, 0},
	    {"+1", -EINVAL, 0},
	    {" 1", -EINVAL, 0},
	    {"1 ", -EINVAL, 0},
	    {"1KB", -EINVAL, 0},
	    {"1.5G", -EINVAL, 0},
	    {"0x10", -EINVAL, 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t value = 0;
		assert_int_equal(units_parse_size(cases[i].text, &value), cases[i].rc);
		assert_int_equal(value, cases[i].value);
	}
}

static void durations(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int rc;
		int64_t value;
	} cases[] = {
	    {"500ms", 0, 500},
	    {"8s", 0, 8000},
	    {"5m", 0, 300000},
	    {"2h", 0, 7200000},
	    {"7d", 0, 604800000},
	    {"0s", 0, 0},
	    {"9223372036854775807ms", 0, INT64_MAX},
	    {"9223372036854775808ms", -ERANGE, 0},
	    {"9223372036854775807h", -ERANGE, 0},
	    {"5", -EINVAL, 0},
	    {"5M", -EINVAL, 0},
	    {"5D", -EINVAL, 0},
	    {"-5s", -EINVAL, 0},
	    {"s", -EINVAL, 0},
	    {"", -EINVAL, 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int64_t value = 0;
		assert_int_equal(units_parse_duration_ms(cases[i].text, &value), cases[i].rc);
		assert_int_equal(value, cases[i].value);
	}
}

static void sizes_for_people(void **state)
{
	(void)state;
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
	    {0, "0 B"},
	    {144, "144 B"},
	    {1023, "1023 B"},
	    {1024, "1.0 KiB"},
	    {1536, "1.5 KiB"},
	    {10239, "10 KiB"},
	    {30ull << 20, "30 MiB"},
	    {(1ull << 20) - 1, "1.0 MiB"},
	    {8ull << 30, "8.0 GiB"},
	    {1023ull << 30, "1023 GiB"},
	    {UINT64_MAX, "16 EiB"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char out[UNITS_SIZE_MAX];
		units_format_size(cases[i].bytes, out);
		assert_string_equal(out, cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sizes),
	    cmocka_unit_test(durations),
	    cmocka_unit_test(sizes_for_people),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
