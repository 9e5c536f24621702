/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "registry/package_name.h"

static void test_labels(void **state)
{
	(void)state;
	static const char *const good[] = {"a",  "wasi",  "http", "wasi-http",
					   "a1", "a1-b2", "x-y-z"};
	static const char *const bad[] = {"",         "1a",   "a-",  "-a",  "a--b", "a-1",
					  "A",        "wAsi", "a_b", "a.b", "a:b",  "a b",
					  "\xc3\xa4", ".",    "..",  "a/b"};
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(package_is_label(good[i], strlen(good[i])));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (package_is_label(bad[i], strlen(bad[i])))
			fail_msg("'%s' is no label", bad[i]);
	}
	assert_false(package_is_label("a\0b", 3));
}

static void test_versions(void **state)
{
	(void)state;
	static const char *const good[] = {"0.0.0",
					   "1.2.3",
					   "18446744073709551615.0.0",
					   "1.0.0-alpha",
					   "1.0.0-0.3.7",
					   "1.0.0-x.7.z.92",
					   "1.0.0--",
					   "1.0.0-0a",
					   "1.0.0+20130313144700",
					   "1.0.0-beta+exp.sha.5114f85",
					   "1.0.0+001",
					   "1.0.0+a-b",
					   "1.0.0-a-b"};
	static const char *const bad[] = {"",
					  "1",
					  "1.2",
					  "1.2.3.4",
					  "01.2.3",
					  "1.02.3",
					  "1.2.03",
					  "v1.2.3",
					  "1.2.3-",
					  "1.2.3+",
					  "1.2.3-01",
					  "1.2.3-a.",
					  "1.2.3-.a",
					  "1.2.3+a..b",
					  "1.2.3-a_b",
					  "1.2.3_a",
					  "1.2.3+a+b",
					  "1.2.3 ",
					  " 1.2.3",
					  "1.2.x",
					  "latest",
					  "1.2.3a",
					  "1..3",
					  "-1.2.3",
					  "1.2.",
					  "18446744073709551616.0.0",
					  "1.2.3-\xc3\xa4"};
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		if (!package_is_version(good[i], strlen(good[i])))
			fail_msg("'%s' is a version", good[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (package_is_version(bad[i], strlen(bad[i])))
			fail_msg("'%s' is no version", bad[i]);
	}
}

static void test_files_and_tags(void **state)
{
	(void)state;
	static const struct {
		const char *file, *tag;
	} both[] = {{"1.0.0.wasm", "1.0.0"},
		    {"1.0.0-rc.1.wasm", "1.0.0-rc.1"},
		    {"1.0.0+x.wasm", "1.0.0_x"},
		    {"0.2.1-a+b.c.wasm", "0.2.1-a_b.c"}};
	static const char *const no_file[] = {
	    "",           ".wasm",       "1.0.0",        "1.0.0.WASM",
	    "1.0.wasm",   "latest.wasm", "1.0.0_x.wasm", "1.0.0.wat",
	    "v1.0.0.wasm"};
	static const char *const no_tag[] = {"",           "latest", "1.0",   "1.0.0_x_y",
					     "sha256-abc", "v1.0.0", "1.0.0_"};
	char tag[TAG_MAX + 1], file[PACKAGE_FILE_MAX];

	for (size_t i = 0; i < ARRAY_LEN(both); i++) {
		assert_int_equal(package_file_tag(both[i].file, tag), 0);
		assert_string_equal(tag, both[i].tag);
		assert_int_equal(package_tag_file(both[i].tag, file), 0);
		assert_string_equal(file, both[i].file);
	}
	for (size_t i = 0; i < ARRAY_LEN(no_file); i++)
		assert_int_equal(package_file_tag(no_file[i], tag), -EINVAL);
	for (size_t i = 0; i < ARRAY_LEN(no_tag); i++)
		assert_int_equal(package_tag_file(no_tag[i], file), -EINVAL);
}

static void test_no_longer_than_a_tag(void **state)
{
	(void)state;
	char name[256] = "1.0.0-", tag[TAG_MAX + 1], file[PACKAGE_FILE_MAX];

	memset(name + 6, 'a', TAG_MAX - 6);
	strcpy(name + TAG_MAX, ".wasm");
	assert_int_equal(package_file_tag(name, tag), 0);
	assert_int_equal(package_tag_file(tag, file), 0);
	assert_string_equal(file, name);
	strcpy(name + TAG_MAX, "a.wasm");
	assert_int_equal(package_file_tag(name, tag), -EINVAL);
	name[TAG_MAX + 1] = '\0';
	assert_int_equal(package_tag_file(name, file), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_labels),
	    cmocka_unit_test(test_versions),
	    cmocka_unit_test(test_files_and_tags),
	    cmocka_unit_test(test_no_longer_than_a_tag),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
