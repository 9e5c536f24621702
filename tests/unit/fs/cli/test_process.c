/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/macros.h"
#include "fs/cli/process.h"

/* Descriptors and limits are a process's own, and so each case has one: it ends
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

static void set_limit(__rlimit_resource_t which, rlim_t soft, rlim_t hard)
{
	EXPECT(setrlimit(which, &(struct rlimit){.rlim_cur = soft, .rlim_max = hard}) == 0);
}

static rlim_t get_limit(__rlimit_resource_t which)
{
	struct rlimit limit;
	EXPECT(getrlimit(which, &limit) == 0);
	return limit.rlim_cur;
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

static void raise_soft_limits(void)
{
	struct err err;
	set_limit(RLIMIT_NOFILE, 20, 1000);
	set_limit(RLIMIT_FSIZE, 1000, RLIM_INFINITY);
	EXPECT(process_prepare_limits(&err) == 0);
	EXPECT(get_limit(RLIMIT_NOFILE) == 1000);
	EXPECT(get_limit(RLIMIT_FSIZE) == RLIM_INFINITY);
}

static void just_enough(void)
{
	struct err err;
	set_limit(RLIMIT_NOFILE, PROCESS_FILES_MIN, PROCESS_FILES_MIN);
	set_limit(RLIMIT_FSIZE, PROCESS_FILE_SIZE_MIN, PROCESS_FILE_SIZE_MIN);
	EXPECT(process_prepare_limits(&err) == 0);
	EXPECT(get_limit(RLIMIT_NOFILE) == PROCESS_FILES_MIN);
}

static void too_few_files(void)
{
	struct err err;
	set_limit(RLIMIT_NOFILE, 15, PROCESS_FILES_MIN - 1);
	EXPECT(process_prepare_limits(&err) == -EMFILE);
	EXPECT(strcmp(err.text, "a mount needs 128 open files, and the limit is 127; raise the "
				"hard limit (ulimit -Hn, or LimitNOFILE= in a systemd unit)") == 0);
}

static void too_small_files(void)
{
	struct err err;
	set_limit(RLIMIT_FSIZE, 1000 << 10, PROCESS_FILE_SIZE_MIN / 2);
	EXPECT(process_prepare_limits(&err) == -EFBIG);
	EXPECT(strcmp(err.text,
		      "a mount needs files of 2.0 GiB, and the limit is 1.0 GiB; raise "
		      "the hard limit (ulimit -Hf, or LimitFSIZE= in a systemd unit)") == 0);
}

/* SIGXFSZ would end the process without a word. */
static void beyond_the_file_size(void)
{
	struct err err;
	AUTO_FD int fd = memfd_create("test", MFD_CLOEXEC);
	EXPECT(fd >= 0);
	set_limit(RLIMIT_FSIZE, PROCESS_FILE_SIZE_MIN, PROCESS_FILE_SIZE_MIN);
	EXPECT(signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
	EXPECT(process_prepare_limits(&err) == 0);
	EXPECT(pwrite(fd, "x", 1, (off_t)PROCESS_FILE_SIZE_MIN) == -1 && errno == EFBIG);
}

static void test_open_standard(void **state)
{
	(void)state;
	in_a_child(open_standard);
}

static void test_limits(void **state)
{
	(void)state;
	in_a_child(raise_soft_limits);
	in_a_child(just_enough);
	in_a_child(too_few_files);
	in_a_child(too_small_files);
	in_a_child(beyond_the_file_size);
}

/* What is above the cap already is left alone. */
static void cap(void)
{
	struct rlimit limit;
	struct err err;
	EXPECT(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	EXPECT(process_prepare_limits(&err) == 0);
	rlim_t want = limit.rlim_max < PROCESS_FILES_WANT ? limit.rlim_max : PROCESS_FILES_WANT;
	EXPECT(get_limit(RLIMIT_NOFILE) == (limit.rlim_cur > want ? limit.rlim_cur : want));
}

static void test_cap(void **state)
{
	(void)state;
	in_a_child(cap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_open_standard),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_cap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
