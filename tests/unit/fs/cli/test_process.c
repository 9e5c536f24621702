/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/cli/process.h"

/* Descriptors are a process's own, and so each case has one: it ends
 * with 0, or with the line of what is wrong. */
#define EXPECT(cond)                                                                               \
	do {                                                                                       \
		if (!(cond))                                                                       \
			_exit(__LINE__ & 0xff);                                                    \
	} while (0)

static void in_a_child(void (*body)(void))
{
	int status = 0;
	pid_t pid = fork();
	if (pid == 0) {
		body();
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		fail_msg("ended by signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status) != 0)
		fail_msg("line %d (modulo 256)", WEXITSTATUS(status));
}

static bool is_null(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

static void open_standard(void)
{
	for (int closed = 0; closed < 8; closed++) {
		struct stat before[3], now;
		for (int fd = 0; fd < 3; fd++) {
			if ((closed & 1 << fd) != 0)
				(void)close(fd);
			else
				EXPECT(fstat(fd, &before[fd]) == 0);
		}
		process_open_standard();
		for (int fd = 0; fd < 3; fd++) {
			if ((closed & 1 << fd) != 0)
				EXPECT(is_null(fd));
			else
				EXPECT(fstat(fd, &now) == 0 && now.st_ino == before[fd].st_ino &&
				       now.st_dev == before[fd].st_dev);
		}
		int next = open("/", O_RDONLY);
		EXPECT(next > 2);
		(void)close(next);
	}
	EXPECT(write(STDOUT_FILENO, "x", 1) == -1 && errno == EBADF);
	EXPECT(write(STDERR_FILENO, "x", 1) == 1);
}

static void test_open_standard(void **state)
{
	(void)state;
	in_a_child(open_standard);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_open_standard),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
