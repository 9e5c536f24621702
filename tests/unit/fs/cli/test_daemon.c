/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/cli/daemon.h"

/* In the child: what is wrong with where it is, or NULL. */
static const char *check_detached(void)
{
	char cwd[64];
	struct stat out, null;
	if (getcwd(cwd, sizeof(cwd)) == NULL || strcmp(cwd, "/") != 0)
		return "working directory";
	if (getsid(0) != getpid())
		return "session";
	if (fstat(1, &out) < 0 || stat("/dev/null", &null) < 0 || out.st_rdev != null.st_rdev)
		return "standard output";
	return NULL;
}

static void test_ready(void **state)
{
	(void)state;
	struct err err = {""};
	int fd = -1;
	pid_t pid = daemon_fork(&fd, &err);
	if (pid == 0) {
		const char *wrong = check_detached();
		(void)daemon_report(fd, wrong != NULL, wrong);
		_exit(0);
	}
	assert_true(pid > 0);
	if (daemon_wait(fd, pid, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_failure(void **state)
{
	(void)state;
	struct err err;
	int fd = -1;
	pid_t pid = daemon_fork(&fd, &err);
	if (pid == 0) {
		(void)daemon_report(fd, 2, "the registry is on fire");
		_exit(1);
	}
	assert_int_equal(daemon_wait(fd, pid, &err), 2);
	assert_string_equal(err.text, "the registry is on fire");
	assert_int_equal(waitpid(pid, NULL, 0), -1);
}

static void test_death(void **state)
{
	(void)state;
	struct err err;
	int fd = -1;
	pid_t pid = daemon_fork(&fd, &err);
	if (pid == 0) {
		(void)raise(SIGKILL);
		_exit(1);
	}
	assert_int_equal(daemon_wait(fd, pid, &err), 1);
	assert_non_null(strstr(err.text, "signal 9"));
	pid = daemon_fork(&fd, &err);
	if (pid == 0)
		_exit(3);
	assert_int_equal(daemon_wait(fd, pid, &err), 1);
	assert_non_null(strstr(err.text, "without a word"));
}

/* The child learns that nobody waits any more. */
static void test_parent_gone(void **state)
{
	(void)state;
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	close(ends[0]);
	(void)signal(SIGPIPE, SIG_IGN);
	assert_int_equal(daemon_report(ends[1], 0, NULL), -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ready),
	    cmocka_unit_test(test_failure),
	    cmocka_unit_test(test_death),
	    cmocka_unit_test(test_parent_gone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
