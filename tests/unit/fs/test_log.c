/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/err.h"
#include "fs/log.h"

static int saved_stderr, pipe_out;

/* What is logged goes into a pipe. */
static int capture(void **state)
{
	(void)state;
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	saved_stderr = dup(STDERR_FILENO);
	pipe_out = ends[0];
	(void)dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	return fcntl(pipe_out, F_SETFL, O_NONBLOCK);
}

static int release(void **state)
{
	(void)state;
	(void)dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(pipe_out);
	return 0;
}

static const char *logged(void)
{
	static char text[16384];
	ssize_t n = read(pipe_out, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void test_levels(void **state)
{
	(void)state;
	log_open(LOG_LEVEL_WARNING, LOG_FORMAT_TEXT, false);
	log_error("mount", "one %d", 1);
	log_warning("fetch", "two");
	log_info("mount", "three");
	log_debug("mount", "four");
	assert_string_equal(logged(), "error mount: one 1\nwarning fetch: two\n");
	log_open(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT, false);
	log_info("mount", "three");
	log_debug("mount", "four");
	assert_string_equal(logged(), "info mount: three\ndebug mount: four\n");
}

static void test_parse(void **state)
{
	(void)state;
	enum log_level level;
	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	assert_int_equal(log_level_parse("error", &level), 0);
	assert_int_equal(level, LOG_LEVEL_ERROR);
	assert_int_equal(log_level_parse("Debug", &level), -EINVAL);
	assert_int_equal(log_level_parse("", &level), -EINVAL);
}

/* One event is one line, whatever a registry says; errno is kept. */
static void test_one_line(void **state)
{
	(void)state;
	char longest[3 * ERR_TEXT_MAX];
	log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, false);
	errno = EXDEV;
	log_error("fetch", "a\nb\033[31m");
	assert_int_equal(errno, EXDEV);
	assert_string_equal(logged(), "error fetch: a?b?[31m\n");
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	log_error("fetch", "%s", longest);
	const char *line = logged();
	assert_int_equal(strlen(line), strlen("error fetch: ") + ERR_TEXT_MAX - 1 + 1);
}

static void test_json(void **state)
{
	(void)state;
	log_open(LOG_LEVEL_INFO, LOG_FORMAT_JSON, false);
	char text[ERR_TEXT_MAX];
	memset(text, '"', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_error("fetch", "%s", text);
	json_t *line = json_loads(logged(), 0, NULL);
	assert_non_null(line);
	assert_string_equal(json_string_value(json_object_get(line, "level")), "error");
	assert_string_equal(json_string_value(json_object_get(line, "component")), "fetch");
	assert_string_equal(json_string_value(json_object_get(line, "message")), text);
	assert_int_equal(strlen(json_string_value(json_object_get(line, "time"))),
			 strlen("2006-01-02T15:04:05.000Z"));
	json_decref(line);
	log_error("fetch", "bad \xff byte, \\ and \xc3\xa9");
	line = json_loads(logged(), 0, NULL);
	assert_string_equal(json_string_value(json_object_get(line, "message")),
			    "bad ? byte, \\ and \xc3\xa9");
	json_decref(line);
}

static void test_failure(void **state)
{
	(void)state;
	log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, false);
	for (int i = 0; i < 1000; i++)
		log_failure("fetch", "ghcr.io 113", "ghcr.io: refused");
	log_failure("fetch", "ghcr.io 110", "ghcr.io: silent");
	assert_string_equal(logged(),
			    "warning fetch: ghcr.io: refused\nwarning fetch: ghcr.io: silent\n");
	log_tick();
	assert_string_equal(logged(), "");
}

/* A reader who has stopped must not stop us. */
static void test_full_pipe(void **state)
{
	(void)state;
	log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, false);
	for (int i = 0; i < 100000; i++)
		log_info("mount", "the same line again and again, until the pipe is full");
	assert_non_null(strstr(logged(), "info mount: the same line"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_levels, capture, release),
	    cmocka_unit_test(test_parse),
	    cmocka_unit_test_setup_teardown(test_one_line, capture, release),
	    cmocka_unit_test_setup_teardown(test_json, capture, release),
	    cmocka_unit_test_setup_teardown(test_failure, capture, release),
	    cmocka_unit_test_setup_teardown(test_full_pipe, capture, release),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
