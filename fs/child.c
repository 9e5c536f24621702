/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/child.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/macros.h"

bool child_poll(int fd, int64_t deadline_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	for (;;) {
		int64_t left = deadline_ms - clock_ms();
		int n = poll(&p, 1, left <= 0 ? 0 : left < INT_MAX ? (int)left : INT_MAX);

		if (n > 0)
			return true;
		if (n == 0 && left <= 0)
			return false;
		if (n < 0 && errno != EINTR)
			return true; /* let the read say what is wrong */
	}
}

bool child_wait(pid_t pid, int64_t deadline_ms, int *ret_status)
{
	AUTO_FD int fd = pidfd_open(pid, 0);
	pid_t r;

	/* Without pidfds (before Linux 5.3) there is no wait that ends in time. */
	if (fd < 0 || !child_poll(fd, deadline_ms))
		return false;
	do
		r = waitpid(pid, ret_status, 0);
	while (r < 0 && errno == EINTR);
	return r == pid;
}
