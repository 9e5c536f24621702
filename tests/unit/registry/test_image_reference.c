/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "registry/image_reference.h"

#define HEX64  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SHA256 "sha256:" HEX64

static void what_docker_writes_is_understood(void **state)
{
	(void)state;
	static const struct {
		const char *text, *source, *path, *tag;
		bool digest;
	} good[] = {
	    {"ghcr.io/org/app:v1", "ghcr.io", "org/app", "v1", false},
	    {"ghcr.io/org/app", "ghcr.io", "org/app", "latest", false},
	    {"ghcr.io/org/app@" SHA256, "ghcr.io", "org/app", "", true},
	    {"ghcr.io/org/app:v1@" SHA256, "ghcr.io", "org/app", "", true},
	    {"GHCR.io:443/app:V1", "ghcr.io", "app", "V1", false},
	    {"localhost:5000/a/b/c:1.0-rc_1", "localhost:5000", "a/b/c", "1.0-rc_1", false},
	    {"localhost/app:v1", "localhost", "app", "v1", false},
	    {"registry-1.docker.io/alpine", "docker.io", "alpine", "latest", false},
	    {"http://reg.internal:8080/app:v1", "http://reg.internal:8080", "app", "v1", false},
	    {"https://ghcr.io/app:v1", "https://ghcr.io", "app", "v1", false},
	    {"[::1]:5000/app:v1", "[::1]:5000", "app", "v1", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct image_reference r;
		struct err err = {""};
		if (image_reference_parse(good[i].text, &r, &err) != 0)
			fail_msg("%s: %s", good[i].text, err.text);
		assert_string_equal(r.source, good[i].source);
		assert_string_equal(r.path, good[i].path);
		assert_string_equal(r.tag, good[i].tag);
		assert_int_equal(digest_is_set(&r.digest), good[i].digest);
	}
}

static void all_else_is_refused_with_a_word(void **state)
{
	(void)state;
	static const struct {
		const char *text, *why;
	} bad[] = {
	    {"", "empty"},
	    {"alpine", "no registry"},
	    {"org/app:v1", "which registry?"},
	    {"oci:/srv/layout", "no HOST"},
	    {"ghcr.io/", "no repository"},
	    {"ghcr.io/:v1", "no repository"},
	    {"ghcr.io/App:v1", "lower-case"},
	    {"ghcr.io/a//b:v1", "lower-case"},
	    {"ghcr.io/app:", "tag"},
	    {"ghcr.io/app:-v1", "tag"},
	    {"ghcr.io/app:v1:v2", "lower-case"},
	    {"ghcr.io/app@", "digest"},
	    {"ghcr.io/app@sha256:12", "digest"},
	    {"ghcr.io/app@" SHA256 "@" SHA256, "lower-case"},
	    {"ghcr.io:99999/app:v1", "HOST[:PORT]"},
	    {"/app:v1", "HOST[:PORT]"},
	    {"../app:v1", "HOST[:PORT]"},
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct image_reference r;
		struct err err = {""};
		assert_int_equal(image_reference_parse(bad[i].text, &r, &err), -EINVAL);
		if (strstr(err.text, bad[i].why) == NULL)
			fail_msg("%s: %s", bad[i].text, err.text);
		assert_non_null(strstr(err.text, "write HOST"));
	}
}

static void a_digest_that_cannot_be_verified_is_told_apart(void **state)
{
	(void)state;
	struct image_reference r;
	struct err err;
	assert_int_equal(
	    image_reference_parse("ghcr.io/a@md5:0123456789abcdef0123456789abcdef", &r, &err),
	    -EOPNOTSUPP);
}

static void a_password_is_not_said_again(void **state)
{
	(void)state;
	static const char *const texts[] = {"https://me:hunter2@ghcr.io/app:v1",
					    "me:hunter2@ghcr.io/app:v1", "me:hunter2@ghcr.io"};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct image_reference r;
		struct err err;
		assert_int_equal(image_reference_parse(texts[i], &r, &err), -EINVAL);
		assert_null(strstr(err.text, "hunter2"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_docker_writes_is_understood),
	    cmocka_unit_test(all_else_is_refused_with_a_word),
	    cmocka_unit_test(a_digest_that_cannot_be_verified_is_told_apart),
	    cmocka_unit_test(a_password_is_not_said_again),
	};
	return cmocka_run_group_tests_name("image_reference", tests, NULL, NULL);
}
