/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "registry/challenge.h"

static struct challenge parsed(const char *s)
{
	struct challenge c;

	challenge_parse(s, strlen(s), &c);
	return c;
}

static void bearer_with_commas_in_quotes(void **state)
{
	struct challenge c = parsed("Bearer realm=\"https://auth.x/token\",service=\"reg\","
				    "scope=\"repository:a/b:pull,push\",error=\"invalid_token\"");

	(void)state;
	assert_true(c.bearer);
	assert_false(c.basic);
	assert_string_equal(c.realm, "https://auth.x/token");
	assert_string_equal(c.service, "reg");
	assert_string_equal(c.scope, "repository:a/b:pull,push");
	assert_string_equal(c.error, "invalid_token");
}

static void several_challenges_in_one_field(void **state)
{
	struct challenge c = parsed("Basic realm=\"x\", Bearer realm=\"https://y/\",service=z");

	(void)state;
	assert_true(c.basic && c.bearer);
	assert_string_equal(c.realm, "https://y/");
	assert_string_equal(c.service, "z");
	c = parsed("Bearer realm=\"https://y/\",service=z, Basic realm=\"x\", service=\"no\"");
	assert_true(c.basic && c.bearer);
	assert_string_equal(c.realm, "https://y/");
	assert_string_equal(c.service, "z");
}

static void unknown_schemes_are_passed_over(void **state)
{
	static const char *const before[] = {"Negotiate", "Negotiate YII=", "Negotiate YIIab==",
					     "Digest realm=\"d\", nonce=\"n,n\", qop=auth"};
	char s[256];

	(void)state;
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		struct challenge c;

		strcpy(s, before[i]);
		strcat(s, ", Basic realm=\"x\"");
		c = parsed(s);
		assert_true(c.basic);
		assert_false(c.bearer);
	}
}

static void loose_spelling(void **state)
{
	struct challenge c = parsed("bEARER Realm = https://y/t?a=b , SERVICE = \"s\\\"q\"");

	(void)state;
	assert_true(c.bearer);
	assert_string_equal(c.realm, "https://y/t?a=b");
	assert_string_equal(c.service, "s\"q");
	c = parsed("Bearer realm=\"https://1/\",realm=\"https://2/\"");
	assert_string_equal(c.realm, "https://1/");
}

static void nothing_usable(void **state)
{
	static const char *const odd[] = {"",
					  " ",
					  ",,,",
					  "=",
					  "\"",
					  "Bearer",
					  "Bearer service=\"x\"",
					  "Bearer realm=\"\"",
					  "realm=\"https://x/\"",
					  "\"Basic",
					  "Bearer realm=\"https://x/\r\nEvil: 1\""};

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		struct challenge c = parsed(odd[i]);

		assert_false(c.bearer);
		assert_false(c.basic);
	}
}

static void long_values_are_dropped(void **state)
{
	char s[3000] = "Bearer realm=\"https://x/\",scope=\"";

	(void)state;
	memset(s + strlen(s), 'a', 2000);
	strcat(s, "\"");
	assert_true(parsed(s).bearer);
	assert_string_equal(parsed(s).scope, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bearer_with_commas_in_quotes),
	    cmocka_unit_test(several_challenges_in_one_field),
	    cmocka_unit_test(unknown_schemes_are_passed_over),
	    cmocka_unit_test(loose_spelling),
	    cmocka_unit_test(nothing_usable),
	    cmocka_unit_test(long_values_are_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
