/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

/* What goes through the pipe: one byte, the status and this; then the text of a failure. */
#define STATUS_BASE 'A'
#define READY       STATUS_BASE
#define FAILED      1

static int detach(struct err *err)
{
	AUTO_FD int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0)
		return err_errno(err, -errno, "/dev/null");
	if (setsid() < 0 || chdir("/") < 0)
		return err_errno(err, -errno, "cannot go into the background");
	for (int fd = 0; fd <= 2; fd++) {
		if (dup2(null_fd, fd) < 0)
			return err_errno(err, -errno, "cannot go into the background");
	}
	return 0;
}

pid_t daemon_fork(int *ret_fd, struct err *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "cannot go into the background");
	pid_t pid = fork();
	if (pid != 0) {
		close(ends[1]);
		*ret_fd = ends[0];
		if (pid > 0)
			return pid;
		int rc = err_errno(err, -errno, "cannot go into the background");
		close(ends[0]);
		return rc;
	}
	close(ends[0]);
	struct err why;
	if (detach(&why) < 0) {
		(void)daemon_report(ends[1], FAILED, why.text);
		_exit(1);
	}
	*ret_fd = ends[1];
	return 0;
}

int daemon_report(int fd, int status, const char *failure)
{
	char report[ERR_TEXT_MAX + 1];
	int n = snprintf(report, sizeof(report), "%c%s", STATUS_BASE + status,
			 status != 0 ? failure : "");
	int rc =
	    file_write_all(fd, report, (size_t)n < sizeof(report) ? (size_t)n : sizeof(report) - 1);
	close(fd);
	return rc;
}

/* Bytes of the report so far; a report ends with the pipe, or with READY. */
static int read_report(int fd, int64_t until_ms, char report[ERR_TEXT_MAX])
{
	size_t have = 0;
	while (have < ERR_TEXT_MAX - 1 && report[0] != READY) {
		struct pollfd pfd = {.fd = fd, .events = POLLIN};
		int64_t left = until_ms - clock_ms();
		int n = poll(&pfd, 1, left > 0 ? (int)left : 0);
		if (n == 0)
			return -ETIMEDOUT;
		ssize_t got = n > 0 ? read(fd, report + have, ERR_TEXT_MAX - 1 - have) : -1;
		if (got == 0)
			break;
		if (got < 0 && errno != EINTR)
			return -errno;
		have += got > 0 ? (size_t)got : 0;
	}
	return 0;
}

int daemon_wait(int fd, pid_t child, struct err *err)
{
	char report[ERR_TEXT_MAX] = "";
	int rc = read_report(fd, clock_ms() + DAEMON_WAIT_MS, report);
	close(fd);
	if (rc == 0 && report[0] == READY)
		return 0;
	if (rc < 0)
		(void)kill(child, SIGKILL);
	int status = 0;
	(void)waitpid(child, &status, 0);
	if (rc < 0)
		(void)err_errno(err, rc, "the process in the background does not report");
	else if (report[0] > STATUS_BASE)
		(void)err_set(err, -EIO, "%s", report + 1);
	else if (WIFSIGNALED(status))
		(void)err_set(err, -EIO,
			      "the process in the background was ended by signal %d (%s)",
			      WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		(void)err_set(err, -EIO, "the process in the background ended without a word");
	return report[0] > STATUS_BASE ? report[0] - STATUS_BASE : FAILED;
}
