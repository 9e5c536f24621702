/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "fs/cli/suggest.h"

static const char *best(const char *written)
{
	static const char *const words[] = {"cache",   "cache-size", "offline",
					    "timeout", "log-level",  "log-format"};
	struct suggest s;
	suggest_init(&s, written);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		suggest_add(&s, words[i]);
	return suggest_found(&s);
}

static void test_suggest(void **state)
{
	(void)state;
	assert_string_equal(best("chace"), "cache");
	assert_string_equal(best("cachesize"), "cache-size");
	assert_string_equal(best("ofline"), "offline");
	assert_string_equal(best("off"), "offline");
	assert_string_equal(best("log-formt"), "log-format");
	assert_null(best("mountpoint"));
	assert_null(best("x"));
	assert_null(best(""));
	assert_null(best("a-word-that-is-longer-than-any-that-there-is"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_suggest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
