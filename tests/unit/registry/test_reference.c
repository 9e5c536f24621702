/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "registry/reference.h"
#include "registry/source.h"

#define HEX64  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HEX128 HEX64 HEX64

static bool component(const char *s)
{
	return reference_is_component(s, strlen(s));
}

static bool repository(const char *s)
{
	return reference_is_repository(s, strlen(s));
}

static bool tag(const char *s)
{
	return reference_is_tag(s, strlen(s));
}

static void components_follow_the_grammar(void **state)
{
	(void)state;
	static const char *const good[] = {"a",   "0",      "hello",      "a.b",  "a_b",  "a__b",
					   "a-b", "a----b", "a.b_c__d-e", "tags", "blobs"};
	static const char *const bad[] = {
	    "",  ".",   "..",  "-a",  "a-",  "_a",       "a_",  "a..b", "a___b", "a.-b", "a-_b",
	    "A", "a/b", "a:b", "a@b", "a b", "\xc3\xa4", "a\n", ".a",   "a.",    "a__",  "%41"};
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(component(good[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(component(bad[i]));
	assert_false(reference_is_component("a\0b", 3));
}

static void lengths_are_bounded(void **state)
{
	(void)state;
	char long_name[NAME_COMPONENT_MAX + 2];
	memset(long_name, 'a', sizeof(long_name));
	assert_true(reference_is_component(long_name, NAME_COMPONENT_MAX));
	assert_false(reference_is_component(long_name, NAME_COMPONENT_MAX + 1));
	assert_true(reference_is_repository(long_name, REPOSITORY_MAX - 1));
	assert_false(reference_is_repository(long_name, REPOSITORY_MAX));
	assert_true(reference_is_tag(long_name, TAG_MAX));
	assert_false(reference_is_tag(long_name, TAG_MAX + 1));
}

static void repositories_are_components_joined(void **state)
{
	(void)state;
	static const char *const good[] = {"a", "a/b", "library/hello-world", "a/b/c/d/e.f"};
	static const char *const bad[] = {"", "/", "/a", "a/", "a//b", "a/../b", "a/./b", "a/B"};
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(repository(good[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(repository(bad[i]));
}

static void tags_follow_the_grammar(void **state)
{
	(void)state;
	static const char *const good[] = {"v1", "latest", "1.2.3-rc.1", "_x", "A", "0", "a..b"};
	static const char *const bad[] = {"", ".a", "-a", "..", "a/b", "a:b", "a+b", "a b", "a\n"};
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(tag(good[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(tag(bad[i]));
	assert_false(reference_is_tag("a\0", 2));
}

static void referrer_tags_are_known(void **state)
{
	(void)state;
	static const char *const yes[] = {"sha256-" HEX64, "sha256-" HEX64 ".sig",
					  "sha256-" HEX64 ".att", "sha256-" HEX64 ".sbom",
					  "sha512-" HEX64};
	static const char *const no[] = {
	    "sha256-" HEX64 ".sih",
	    "sha256-" HEX64 "0",
	    "sha256-",
	    "sha1-" HEX64,
	    "v1",
	    "sha256-" HEX64 ".sig.sig",
	    "sha256-E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca4959"
	    "91b7852b855"};
	for (size_t i = 0; i < ARRAY_LEN(yes); i++)
		assert_true(reference_is_referrer_tag(yes[i], strlen(yes[i])));
	for (size_t i = 0; i < ARRAY_LEN(no); i++)
		assert_false(reference_is_referrer_tag(no[i], strlen(no[i])));
}

static int entry(const char *s, struct entry_reference *ret)
{
	return reference_parse_entry(s, strlen(s), ret);
}

static void entries_are_taken_apart(void **state)
{
	(void)state;
	struct entry_reference r;
	struct digest empty;
	assert_int_equal(digest_parse("sha256:" HEX64, 71, &empty), 0);

	assert_int_equal(entry("hello:v1", &r), 0);
	assert_int_equal(r.name_len, 5);
	assert_string_equal(r.tag, "v1");
	assert_false(digest_is_set(&r.digest));

	assert_int_equal(entry("a@sha256:" HEX64, &r), 0);
	assert_int_equal(r.name_len, 1);
	assert_string_equal(r.tag, "");
	assert_true(digest_equal(&r.digest, &empty));

	assert_int_equal(entry("a:v1@sha256:" HEX64, &r), 0);
	assert_string_equal(r.tag, "v1");
	assert_true(digest_equal(&r.digest, &empty));

	assert_int_equal(entry("a@sha512:" HEX128, &r), 0);
	assert_int_equal(r.digest.alg, DIGEST_SHA512);
}

static void other_entries_are_refused(void **state)
{
	(void)state;
	struct entry_reference r = {.name_len = 77};
	static const char *const bad[] = {"",
					  "hello",
					  ":v1",
					  "@sha256:" HEX64,
					  "a:",
					  "a@",
					  "A:v1",
					  "a:v1:v2",
					  "a:v1@",
					  "a:@sha256:" HEX64,
					  "a@sha256",
					  "a@:",
					  "a@sha256:00",
					  "a/b:v1",
					  "a@sha256:" HEX64 "@sha256:" HEX64,
					  "a: v1",
					  "a:../b",
					  "..:v1",
					  "a@sha256:" HEX64 ":v1"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(entry(bad[i], &r), -EINVAL);
	assert_int_equal(entry("a@blake3:" HEX64, &r), -EOPNOTSUPP);
	assert_int_equal(r.name_len, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(components_follow_the_grammar),
	    cmocka_unit_test(lengths_are_bounded),
	    cmocka_unit_test(repositories_are_components_joined),
	    cmocka_unit_test(tags_follow_the_grammar),
	    cmocka_unit_test(referrer_tags_are_known),
	    cmocka_unit_test(entries_are_taken_apart),
	    cmocka_unit_test(other_entries_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
