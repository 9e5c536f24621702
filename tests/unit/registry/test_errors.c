/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "registry/errors.h"

static void body_says(const char *body, const char *code, const char *message)
{
	struct registry_error e;

	errors_parse(body, strlen(body), &e);
	assert_string_equal(e.code, code);
	assert_string_equal(e.message, message);
}

static void bodies_in_all_their_forms(void **state)
{
	(void)state;
	body_says("{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"no  such\\nthing\"}]}",
		  "MANIFEST_UNKNOWN", "no such thing");
	body_says("{\"errors\":[{\"code\":\"DENIED\",\"detail\":\"why\"}]}", "DENIED", "why");
	body_says("{\"details\":\"incorrect username or password\"}", "",
		  "incorrect username or password");
	body_says("{\"code\":\"X\",\"message\":\"m\"}", "X", "m");
	body_says("Too Many Requests (HAP429)\n", "", "Too Many Requests (HAP429)");
	body_says("plain \033[31mred\r\nand more", "", "plain [31mred and more");
	body_says(" <html>nothing</html>", "", "");
	body_says("{not json", "", "");
	body_says("{\"errors\":[]}", "", "");
	body_says("{\"errors\":\"x\"}", "", "");
	body_says("{\"errors\":[{\"code\":7,\"message\":[]}]}", "", "");
	body_says("", "", "");
}

static void what_looks_like_a_secret_is_left_out(void **state)
{
	(void)state;
	body_says("token rejected: Bearer eyJhbGciOi.x-y", "", "token rejected: Bearer ...");
	body_says("bad Authorization: basic: bWU6c2VjcmV0, again", "",
		  "bad Authorization: basic: ..., again");
	body_says("Basic authentication is required", "", "Basic authentication is required");
	body_says("GET https://h/p?sig=SECRET&x=1 has expired; really?", "",
		  "GET https://h/p?... has expired; really?");
}

static void a_secret_is_hidden_wherever_it_stands(void **state)
{
	char body[] = "topsecret, topsecrettopsecre", stars[] = "say ********* twice";

	(void)state;
	errors_hide(body, strlen(body), "topsecret");
	assert_string_equal(body, "*********, *********topsecre");
	errors_hide(stars, strlen(stars), "********");
	assert_string_equal(stars, "say ********* twice");
}

static void a_long_message_is_cut_between_characters(void **state)
{
	char body[4000];
	struct registry_error e;

	(void)state;
	for (size_t i = 0; i + 1 < sizeof(body); i += 2)
		memcpy(body + i, "\xc3\xa4", 2);
	memcpy(body, "x", 1);
	errors_parse(body, sizeof(body), &e);
	assert_true(strlen(e.message) < ERRORS_MESSAGE_MAX);
}

static void statuses_have_their_errno(void **state)
{
	(void)state;
	assert_int_equal(errors_errno(404, "", false), -ENOENT);
	assert_int_equal(errors_errno(410, "", false), -ENOENT);
	assert_int_equal(errors_errno(404, "", true), -EPROTO);
	assert_int_equal(errors_errno(404, "NoSuchKey", true), -EPROTO);
	assert_int_equal(errors_errno(404, "MANIFEST_UNKNOWN", true), -ENOENT);
	assert_int_equal(errors_errno(404, "NAME_UNKNOWN", true), -ENOENT);
	assert_int_equal(errors_errno(404, "BLOB_UNKNOWN", true), -ENOENT);
	assert_int_equal(errors_errno(404, "UNSUPPORTED", true), -ENOENT);
	assert_int_equal(errors_errno(503, "NAME_UNKNOWN", true), -EHOSTUNREACH);
	assert_int_equal(errors_errno(400, "NAME_INVALID", false), -ENOENT);
	assert_int_equal(errors_errno(400, "TAG_INVALID", false), -ENOENT);
	assert_int_equal(errors_errno(400, "DIGEST_INVALID", false), -ENOENT);
	assert_int_equal(errors_errno(400, "MANIFEST_INVALID", false), -EPROTO);
	assert_int_equal(errors_errno(401, "", false), -EACCES);
	assert_int_equal(errors_errno(403, "DENIED", false), -EACCES);
	assert_int_equal(errors_errno(403, "", true), -EACCES);
	assert_int_equal(errors_errno(412, "", false), -EACCES);
	assert_int_equal(errors_errno(429, "", false), -EBUSY);
	assert_int_equal(errors_errno(500, "", false), -EHOSTUNREACH);
	assert_int_equal(errors_errno(503, "", false), -EHOSTUNREACH);
	assert_int_equal(errors_errno(501, "", false), -EPROTO);
	assert_int_equal(errors_errno(405, "", false), -EPROTO);
	assert_int_equal(errors_errno(302, "", false), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bodies_in_all_their_forms),
	    cmocka_unit_test(what_looks_like_a_secret_is_left_out),
	    cmocka_unit_test(a_secret_is_hidden_wherever_it_stands),
	    cmocka_unit_test(a_long_message_is_cut_between_characters),
	    cmocka_unit_test(statuses_have_their_errno),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
