/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fs/cli/config.h"
#include "fs/cli/config_lines.h"
#include "fs/log.h"

static struct cli_args args;
static struct err err;

/* The command line first, as `mount` does it. */
static int apply_after(const char *word, const char *text)
{
	static char copy[2048];
	static char wasmocifs[] = "x", option[64];
	char *argv[] = {wasmocifs, option, NULL};
	snprintf(copy, sizeof(copy), "%s", text);
	snprintf(option, sizeof(option), "%s", word);
	cli_args_release(&args);
	cli_args_init(&args);
	err.text[0] = '\0';
	assert_int_equal(options_parse(CLI_MOUNT, 2, argv, &args, &err), 0);
	return config_apply_text("F", copy, strlen(copy), &args, &err);
}

static int apply(const char *text)
{
	return apply_after("a", text);
}

static void test_lines(void **state)
{
	(void)state;
	char text[] = "\n# one\n  cache\t=  /srv/a b  # c\r\noffline\nall=true#x\nlog-level = \n"
		      "hosts_dir = \"/a # \" # b\nall #";
	static const struct {
		unsigned number;
		const char *key, *value;
	} wanted[] = {{3, "cache", "/srv/a b"}, {4, "offline", NULL},      {5, "all", "true#x"},
		      {6, "log-level", ""},     {7, "hosts_dir", "/a # "}, {8, "all", NULL}};
	struct config_lines l;
	config_lines_init(&l, text, strlen(text));
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		assert_int_equal(config_lines_next(&l, &err), 1);
		assert_int_equal(l.number, wanted[i].number);
		assert_string_equal(l.key, wanted[i].key);
		assert_int_equal(l.value == NULL, wanted[i].value == NULL);
		if (l.value != NULL)
			assert_string_equal(l.value, wanted[i].value);
	}
	assert_int_equal(config_lines_next(&l, &err), 0);
}

static void test_what_it_says_counts(void **state)
{
	(void)state;
	assert_int_equal(apply("cache = /srv/cache\ncache_size = 2G\noffline\nall = true\n"
			       "allow-host = 10.0.0.1\nallow-host = [::1]:5000\n"
			       "log-level = debug\ntag-ttl = 5m\nallow-other = false\n"),
			 0);
	assert_string_equal(args.cache, "/srv/cache");
	assert_int_equal(args.cache_size, UINT64_C(2) << 30);
	assert_int_equal(args.tag_ttl_ms, 300000);
	assert_int_equal(args.log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(args.allow_hosts.n, 2);
	assert_true(args.offline && args.all && !args.allow_other);
	assert_int_equal(args.given, 0);
}

static void test_the_command_line_wins(void **state)
{
	(void)state;
	assert_int_equal(apply_after("--cache=/mine", "cache = /srv/cache\n"), 0);
	assert_string_equal(args.cache, "/mine");
	assert_int_equal(apply_after("--offline=false", "offline\n"), 0);
	assert_false(args.offline);
	assert_int_equal(
	    apply_after("-ooffline=false,log_level=error", "log-level = debug\noffline = true\n"),
	    0);
	assert_false(args.offline);
	assert_int_equal(args.log_level, LOG_LEVEL_ERROR);
	assert_int_equal(apply_after("--allow-host=10.0.0.2", "allow-host = 10.0.0.1\n"), 0);
	assert_int_equal(args.allow_hosts.n, 1);
	assert_string_equal(args.allow_hosts.v[0], "10.0.0.2");
}

static const struct {
	const char *text, *said;
} mistakes[] = {
    {"\n\nchace = /x\n", "F:3: unknown option 'chace'; did you mean 'cache'?"},
    {"frobnicate\n", "F:1: unknown option 'frobnicate'; see 'wasmocifs mount --help'"},
    {"help\n", "F:1: unknown option 'help'; see 'wasmocifs mount --help'"},
    {"foreground\n", "F:1: 'foreground' is for the command line only"},
    {"ready-fd = 2\n", "F:1: 'ready-fd' is for the command line only"},
    {"config = /x\n", "F:1: 'config' is for the command line only"},
    {"cache\n", "F:1: cache needs a value: cache = DIR"},
    {"cache =\n", "F:1: cache needs a value: cache = DIR"},
    {"cache = srv\n", "F:1: cache: 'srv' is not an absolute path"},
    {"auth-file = ~/x\n", "F:1: auth-file: '~/x' is not an absolute path"},
    {"offline = yes\n", "F:1: offline: 'yes' is neither true nor false"},
    {"tag-ttl = 1h30\n", "F:1: tag-ttl: '1h30' is not a duration; write it as 500ms, 8s or 5m"},
    {"all\nall\n", "F:2: 'all' is given twice"},
    {"list-ttl = 5s\nlist_ttl = 5s\n", "F:2: 'list-ttl' is given twice"},
    {"cache /srv\n", "F:1: no '=' after 'cache'; write a line as option = value"},
    {"[mount]\n", "F:1: '[mount]' is no option; write a line as option = value"},
    {"--cache = /x\n", "F:1: unknown option '--cache'; did you mean 'cache'?"},
    {"= x\n", "F:1: '= x' is no option; write a line as option = value"},
    {"Cache = x\n", "F:1: 'Cache = x' is no option; write a line as option = value"},
    {"cache = \"/x\n", "F:1: there is no '\"' at the end of the value"},
    {"cache = \"/x\" y\n", "F:1: there is more after the value that ends in '\"'"},
    {"cache = /x\x01\n", "F:1: there is a control character in this line"},
    {"# \x1b[2J\n", "F:1: there is a control character in this line"},
};

static void test_mistakes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
		assert_int_equal(apply(mistakes[i].text), -EINVAL);
		assert_string_equal(err.text, mistakes[i].said);
	}
}

/* Whatever options there are and will be: each is taken, or said to be the command line's. */
static void test_every_option(void **state)
{
	(void)state;
	size_t n;
	const struct option_spec *table = options_table(&n);
	for (size_t i = 0; i < n; i++) {
		const struct option_spec *o = &table[i];
		if (!options_in_words(o))
			continue;
		char line[128];
		snprintf(line, sizeof(line), "%s = \n", o->name);
		assert_int_equal(apply(line), -EINVAL);
		assert_true((strstr(err.text, "for the command line only") == NULL) ==
			    options_in_file(o));
		assert_null(strstr(err.text, "unknown"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lines),
	    cmocka_unit_test(test_what_it_says_counts),
	    cmocka_unit_test(test_the_command_line_wins),
	    cmocka_unit_test(test_mistakes),
	    cmocka_unit_test(test_every_option),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	cli_args_release(&args);
	return failed;
}
