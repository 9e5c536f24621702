/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/toml.h"

static struct toml *parse(const char *text)
{
	struct err err = {""};
	struct toml *root = NULL;

	if (toml_parse(text, strlen(text), &root, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return root;
}

/* Expects an error whose text begins with this. */
static void refuse(const char *text, const char *begin)
{
	struct err err = {""};
	struct toml *root = NULL;

	if (toml_parse(text, strlen(text), &root, &err) == 0)
		fail_msg("%s: taken", text);
	if (strncmp(err.text, begin, strlen(begin)) != 0)
		fail_msg("%s: %s", text, err.text);
}

static void assert_value(const char *text, const char *want)
{
	struct toml *root = parse(text);

	assert_int_equal(root->first->kind, TOML_STRING);
	assert_string_equal(root->first->string, want);
	toml_free(root);
}

static void strings_of_all_kinds(void **state)
{
	(void)state;
	assert_value("a = \"x\\t\\\"\\\\\\u00e9\\U0001F600\"", "x\t\"\\\xc3\xa9\xf0\x9f\x98\x80");
	assert_value("a = 'C:\\x'", "C:\\x");
	assert_value("a = \"\"", "");
	assert_value("a = ''", "");
	assert_value("a = \"\"\"\none\r\ntwo\\\n   \n three\"\"\"", "one\ntwothree");
	assert_value("a = \"\"\"say \"\"hi\"\"\"\"\"", "say \"\"hi\"\"");
	assert_value("a = '''\n'it\\'s'''''", "'it\\'s''");
	assert_value("a = \"\"\"\"\"\"", "");
	refuse("a = \"x", "line 1: a string that does not end");
	refuse("a = \"x\ny\"", "line 1: a string that does not end");
	refuse("\na = '''x\n", "line 3: a string that does not end");
	refuse("a = \"\\x41\"", "line 1: an unknown escape");
	refuse("a = \"\\", "line 1: an unknown escape");
	refuse("a = \"\\u12\"", "line 1: \\u and");
	refuse("a = \"\\u0000\"", "line 1: an escape for no character");
	refuse("a = \"\\ud800\"", "line 1: an escape for no character");
	refuse("a = \"\x01\"", "line 1: a control character");
	refuse("a = \"\xc0\x80\"", "line 1: not UTF-8");
	refuse("# \xed\xa0\x80", "line 1: not UTF-8");
}

static void assert_integer(const char *text, int64_t want)
{
	struct toml *root = parse(text);

	assert_int_equal(root->first->kind, TOML_INTEGER);
	assert_int_equal(root->first->integer, want);
	toml_free(root);
}

static void integers_and_truth(void **state)
{
	static const char *const bad[] = {"1.5",      "1e3", "inf", "nan", "1979-05-27",
					  "07:32:00", "0b2", "--1", "+"};
	struct toml *root = parse("a = true\nb = false # c\n");

	(void)state;
	assert_int_equal(toml_get(root, "a")->kind, TOML_BOOLEAN);
	assert_true(toml_get(root, "a")->boolean);
	assert_false(toml_get(root, "b")->boolean);
	toml_free(root);
	assert_integer("a = 0", 0);
	assert_integer("a = +99", 99);
	assert_integer("a = -17", -17);
	assert_integer("a = 1_000", 1000);
	assert_integer("a = 0xDEAD_beef", 0xdeadbeef);
	assert_integer("a = 0o755", 0755);
	assert_integer("a = 0b101", 5);
	assert_integer("a = 9223372036854775807", INT64_MAX);
	assert_integer("a = -9223372036854775808", INT64_MIN);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char text[64];

		snprintf(text, sizeof(text), "\na = %s", bad[i]);
		refuse(text, "line 2: no integer; dates and other numbers are not read here");
	}
	refuse("a = yes", "line 1: no value: text needs quotes");
	refuse("a =", "line 1: a value is missing");
	refuse("a = # b", "line 1: a value is missing");
}

static void arrays_and_tables_in_values(void **state)
{
	struct toml *root = parse("a = [ 1, 'x', # c\n [], [true,],\n]\n"
				  "b = { c = 1, d.e = 'f', \"\" = {} }\n");
	const struct toml *t = toml_get(root, "a");

	(void)state;
	assert_int_equal(t->kind, TOML_ARRAY);
	assert_int_equal(t->first->integer, 1);
	assert_string_equal(t->first->next->string, "x");
	assert_null(t->first->next->next->first);
	assert_true(t->last->first->boolean);
	t = toml_get(root, "b");
	assert_int_equal(t->line, 4);
	assert_string_equal(toml_get(toml_get(t, "d"), "e")->string, "f");
	assert_int_equal(toml_get(t, "")->kind, TOML_TABLE);
	toml_free(root);
	refuse("a = [1 2]", "line 1: an array goes on");
	refuse("a = [\n1,", "line 2: a value is missing");
	refuse("a = [,]", "line 1: a value is missing");
	refuse("a = {b = 1,}", "line 1: a key is missing");
	refuse("a = {b = 1", "line 1: a table in a value");
	refuse("a = {\nb = 1}", "line 1: a key is missing");
	refuse("a = {b = 1, b = 2}", "line 1: a key for the second time");
}

static void tables_keep_their_order(void **state)
{
	struct toml *root = parse("server = 'x'\n[host.\"https://z\"]\na = 1\n"
				  "[host.\"https://a\"]\n[host.\"https://z\".header]\nb = 'c'\n"
				  "[host . 'https://m']\r\n");
	const struct toml *t = toml_get(root, "host")->first;

	(void)state;
	assert_string_equal(t->key, "https://z");
	assert_string_equal(toml_get(toml_get(t, "header"), "b")->string, "c");
	assert_int_equal(t->line, 2);
	assert_string_equal(t->next->key, "https://a");
	assert_string_equal(t->next->next->key, "https://m");
	assert_null(t->next->next->next);
	toml_free(root);
}

static void arrays_of_tables(void **state)
{
	struct toml *root = parse("[[r]]\np = 1\n[[r.m]]\nl = 'a'\n[[r.m]]\nl = 'b'\n"
				  "[[r]]\np = 2\n[r.s]\n");
	const struct toml *t = toml_get(root, "r");

	(void)state;
	assert_int_equal(t->kind, TOML_ARRAY);
	assert_int_equal(toml_get(t->first, "p")->integer, 1);
	assert_string_equal(toml_get(toml_get(t->first, "m")->last, "l")->string, "b");
	assert_int_equal(toml_get(t->last, "p")->integer, 2);
	assert_non_null(toml_get(t->last, "s"));
	toml_free(root);
	refuse("a = []\n[[a]]", "line 2: an array of tables where");
	refuse("[a]\n[[a]]", "line 2: an array of tables where");
	refuse("[[a]]\n[a]", "line 2: a table for the second time");
	refuse("[[a]\n", "line 1: a table's name ends");
	refuse("[a]]\n", "line 1: something follows");
}

static void nothing_is_said_twice(void **state)
{
	struct toml *root = parse("[a.b.c]\n[a]\nx.y = 1\nx.z = 2\n[a.x.w]\n");

	(void)state;
	assert_int_equal(toml_get(toml_get(toml_get(root, "a"), "x"), "z")->integer, 2);
	toml_free(root);
	refuse("a = 1\na = 2", "line 2: a key for the second time");
	refuse("a = 1\n'a' = 2", "line 2: a key for the second time");
	refuse("[a]\n[a]", "line 2: a table for the second time");
	refuse("a = 1\n[a]", "line 2: a table for the second time");
	refuse("a = 1\na.b = 2", "line 2: a key adds to what is complete");
	refuse("a = {}\n[a.b]", "line 2: a key adds to what is complete");
	refuse("a = {}\na.b = 1", "line 2: a key adds to what is complete");
	refuse("a.b = 1\n[a]", "line 2: a table for the second time");
	refuse("[a.b.c]\n[a]\nb.d = 1", "line 3: a key adds to what is complete");
	refuse("a = [{}]\n[a.b]", "line 2: a key adds to what is complete");
}

static void lines_that_make_no_sense(void **state)
{
	(void)state;
	toml_free(parse(""));
	toml_free(parse("# only this"));
	refuse("a", "line 1: '=' is missing");
	refuse("\n\n= 1", "line 3: a key is missing");
	refuse("a b = 1", "line 1: '=' is missing");
	refuse("a = 1 b = 2", "line 1: something follows");
	refuse("a. = 1", "line 1: a key is missing");
	refuse("[]", "line 1: a key is missing");
	refuse("[a\n]", "line 1: a table's name ends");
	refuse("\xef\xbb\xbf"
	       "a = 1",
	       "line 1: a key is missing");
	refuse("a = 1\rb = 2", "line 1: a control character");
	refuse("\"\"\"a\"\"\" = 1", "line 1: '=' is missing");
}

static void everything_has_a_limit(void **state)
{
	AUTO_FREE char *text = malloc(TOML_TEXT_MAX + 2);
	struct toml *root = NULL;
	char *s = text;

	(void)state;
	assert_non_null(text);
	memset(text, '\n', TOML_TEXT_MAX + 1);
	assert_int_equal(toml_parse(text, TOML_TEXT_MAX + 1, &root, NULL), -EFBIG);
	for (int i = 0; i <= TOML_NODES_MAX; i++)
		s += sprintf(s, "[[a]]\n");
	assert_int_equal(toml_parse(text, (size_t)(s - text), &root, NULL), -EFBIG);
	memset(text, '[', TOML_TEXT_MAX);
	memcpy(text, "a=", 2);
	assert_int_equal(toml_parse(text, TOML_TEXT_MAX, &root, NULL), -EFBIG);
	refuse("a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a = 1", "line 1: a key of more than 16 parts");
	assert_int_equal(toml_parse("a=1\0", 4, &root, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(strings_of_all_kinds),
	    cmocka_unit_test(integers_and_truth),
	    cmocka_unit_test(arrays_and_tables_in_values),
	    cmocka_unit_test(tables_keep_their_order),
	    cmocka_unit_test(arrays_of_tables),
	    cmocka_unit_test(nothing_is_said_twice),
	    cmocka_unit_test(lines_that_make_no_sense),
	    cmocka_unit_test(everything_has_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
