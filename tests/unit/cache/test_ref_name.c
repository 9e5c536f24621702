/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "cache/ref_name.h"

static void names_become_components_and_back(void **state)
{
	(void)state;
	static const struct {
		const char *name, *component;
	} cases[] = {
	    {"library/alpine", "library%2Falpine"},
	    {"https://[::1]:5000", "https%3A%2F%2F%5B%3A%3A1%5D%3A5000"},
	    {"a%2Fb", "a%252Fb"},
	    {"..", "%2E."},
	    {".", "%2E"},
	    {"...", "%2E.."},
	    {"", "%"},
	    {"%", "%25"},
	    {"V1.0_a-b", "V1.0_a-b"},
	    {"\xC3\xBC", "%C3%BC"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char component[REF_NAME_MAX], name[REF_NAME_MAX];
		assert_int_equal(ref_name_encode(cases[i].name, component), 0);
		assert_string_equal(component, cases[i].component);
		assert_false(ref_name_is_hashed(component));
		assert_int_equal(
		    ref_name_unescape(component, strlen(component), name, sizeof(name)),
		    strlen(cases[i].name));
		assert_string_equal(name, cases[i].name);
	}
}

static void other_spellings_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "", ".", "..", ".a", "a/b", "%2f", "%41", "%%", "a%", "a%2", "%00", "%G0", "a b",
	};
	char name[REF_NAME_MAX];
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(ref_name_unescape(bad[i], strlen(bad[i]), name, sizeof(name)),
				 -EINVAL);
	}
}

static void long_names_are_hashed(void **state)
{
	(void)state;
	char name[400], a[REF_NAME_MAX], b[REF_NAME_MAX];
	memset(name, 'x', sizeof(name));
	name[252] = '\0';
	assert_int_equal(ref_name_encode(name, a), 0);
	assert_false(ref_name_is_hashed(a));
	name[252] = 'x';
	name[300] = '\0';
	assert_int_equal(ref_name_encode(name, a), 0);
	assert_true(ref_name_is_hashed(a));
	assert_true(strlen(a) < REF_NAME_MAX);
	name[299] = 'y';
	assert_int_equal(ref_name_encode(name, b), 0);
	assert_string_not_equal(a, b);
}

static void small_buffers_are_respected(void **state)
{
	(void)state;
	char out[8];
	assert_int_equal(ref_name_escape("abcdefgh", 8, out, sizeof(out)), -ENAMETOOLONG);
	assert_int_equal(ref_name_unescape("abcdefgh", 8, out, sizeof(out)), -ENAMETOOLONG);
	assert_int_equal(ref_name_unescape("abcdefg", 7, out, sizeof(out)), 7);
	assert_int_equal(ref_name_escape("", 0, out, 1), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_become_components_and_back),
	    cmocka_unit_test(other_spellings_are_refused),
	    cmocka_unit_test(long_names_are_hashed),
	    cmocka_unit_test(small_buffers_are_respected),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
