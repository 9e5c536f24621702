/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/names.h"

static void sorted_without_duplicates(void **state)
{
	(void)state;
	static const char *const in[] = {"v2", "latest", "v10", "v2", "V1", "latest", "v2"};
	static const char *const out[] = {"V1", "latest", "v10", "v2"};
	struct names l = {0};
	for (size_t i = 0; i < ARRAY_LEN(in); i++)
		assert_int_equal(names_add(&l, in[i], strlen(in[i])), 0);
	names_sort(&l);
	assert_int_equal(l.n, ARRAY_LEN(out));
	for (size_t i = 0; i < l.n; i++)
		assert_string_equal(l.v[i], out[i]);
	assert_true(names_has(&l, "v10"));
	assert_false(names_has(&l, "v1"));
	assert_false(names_has(&l, ""));
	names_release(&l);
	assert_int_equal(l.n, 0);
	names_release(&l);
}

static void empty_list_is_fine(void **state)
{
	(void)state;
	struct names l = {0};
	names_sort(&l);
	assert_false(names_has(&l, "x"));
	names_release(&l);
}

static void many_names_and_cut_ones(void **state)
{
	(void)state;
	struct names l = {0};
	for (int i = 9999; i >= 0; i--) {
		char s[16];
		int n = snprintf(s, sizeof(s), "%05dxyz", i);
		assert_int_equal(names_add(&l, s, (size_t)n - 3), 0);
	}
	names_sort(&l);
	assert_int_equal(l.n, 10000);
	assert_string_equal(l.v[0], "00000");
	assert_string_equal(l.v[9999], "09999");
	assert_true(names_has(&l, "05000"));
	names_release(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sorted_without_duplicates),
	    cmocka_unit_test(empty_list_is_fine),
	    cmocka_unit_test(many_names_and_cut_ones),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
