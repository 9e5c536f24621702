/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "registry/warnings.h"

static void says(const char *value, const char *first, const char *second)
{
	char text[WARNING_TEXT_MAX];

	assert_int_equal(warnings_parse(&value, text), first != NULL);
	assert_string_equal(text, first ? first : "");
	if (!first)
		return;
	assert_int_equal(warnings_parse(&value, text), second != NULL);
	assert_string_equal(text, second ? second : "");
}

static void what_counts(void **state)
{
	(void)state;
	says("299 - \"use v2\"", "use v2", NULL);
	says("299 - \"one\", 299 - \"two, \\\"quoted\\\"\"", "one", "two, \"quoted\"");
	says("110 - \"stale\", 299 - \"this\"", "this", NULL);
	says("199 - \"x, 299 - \\\"no\\\"\"", NULL, NULL);
	says("299 - \"a\\u\x1b[31m\nb\" \"Wed, 21 Oct 2015 07:28:00 GMT\"", "au [31m b", NULL);
	says("299 registry.example \"host\"", "host", NULL);
	says("299 -", NULL, NULL);
	says("299 - \"", NULL, NULL);
	says("299 - \"no end", "no end", NULL);
	says("299 - \"\", 299 - \"next\"", "next", NULL);
	says("2999 - \"x\"", NULL, NULL);
	says(",,, ", NULL, NULL);
	says("", NULL, NULL);
}

static void each_is_said_once(void **state)
{
	char text[WARNING_TEXT_MAX];
	struct warnings w;

	(void)state;
	warnings_init(&w);
	assert_false(warnings_take(&w, text));
	warnings_note(&w, "299 - \"one\", 299 - \"two\"");
	assert_true(warnings_take(&w, text));
	assert_string_equal(text, "one");
	warnings_note(&w, "299 - \"one\"");
	assert_true(warnings_take(&w, text));
	assert_string_equal(text, "two");
	assert_false(warnings_take(&w, text));
	warnings_release(&w);
}

static void a_host_cannot_go_on_for_ever(void **state)
{
	char text[WARNING_TEXT_MAX], value[2 * WARNING_TEXT_MAX];
	struct warnings w;
	int n = 0;

	(void)state;
	warnings_init(&w);
	for (int i = 0; i < 3 * WARNINGS_MAX; i++) {
		snprintf(value, sizeof(value), "299 - \"%d%0*d\"", i, WARNING_TEXT_MAX, 0);
		warnings_note(&w, value);
	}
	while (warnings_take(&w, text)) {
		assert_true(strlen(text) < WARNING_TEXT_MAX);
		n++;
	}
	assert_int_equal(n, WARNINGS_MAX);
	warnings_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_counts),
	    cmocka_unit_test(each_is_said_once),
	    cmocka_unit_test(a_host_cannot_go_on_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
