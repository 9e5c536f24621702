/* SPDX-License-Identifier: Apache-2.0 */
/* Between fork and _exit nothing is called that takes a lock: another thread may have held it. */
#include "fs/page_drop.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"
#include "fs/fuse_uapi.h"
#include "fs/handover.h"

/* 0, or the errno of the last that failed. A node that the kernel does not know has no pages. */
static int ask_kernel(const struct page_drop *d)
{
	struct {
		struct fuse_out_header head;
		struct fuse_notify_inval_inode_out out;
	} m = {.head = {.len = sizeof(m), .error = FUSE_NOTIFY_INVAL_INODE}};
	int r = 0;
	for (size_t i = 0; i < d->n; i++) {
		m.out.ino = d->inos[i];
		if (write(d->fuse_fd, &m, sizeof(m)) < 0 && errno != ENOENT)
			r = errno;
	}
	return r;
}

/* Locks of files are theirs who has them open, and we may outlive them. */
static void close_others(const int keep[], size_t n)
{
	unsigned from = 3;
	for (;;) {
		unsigned next = ~0u;
		for (size_t i = 0; i < n; i++) {
			if (keep[i] >= (int)from && (unsigned)keep[i] < next)
				next = (unsigned)keep[i];
		}
		if (next > from)
			(void)close_range(from, next == ~0u ? next : next - 1, 0);
		if (next == ~0u)
			return;
		from = next + 1;
	}
}

static int wait_for(pid_t pid)
{
	int status = 0;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return ECHILD;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

/* True: who asks has ended. False: nobody serves any more. */
static bool outlived(const struct page_drop *d, int asker)
{
	struct pollfd p[] = {{.fd = asker, .events = POLLIN},
			     {.fd = d->worker_fd, .events = POLLIN},
			     {.fd = d->keeper_fd, .events = POLLIN}};
	for (;;) {
		bool alone = p[1].fd < 0 && p[2].fd < 0;
		int n = poll(p, ARRAY_LEN(p), alone ? PAGE_DROP_GRACE_MS : -1);
		if (n == 0)
			return false;
		if (n < 0)
			continue;
		if (p[0].revents != 0)
			return true;
		for (size_t i = 1; i < ARRAY_LEN(p); i++) {
			if (p[i].revents != 0)
				p[i].fd = -1;
		}
	}
}

static void refuse(int fd, const struct fuse_in_header *head)
{
	struct fuse_out_header reply = {
	    .len = sizeof(reply), .error = -ENOTCONN, .unique = head->unique};
	/* These have no answer. */
	if (head->opcode != FUSE_FORGET && head->opcode != FUSE_BATCH_FORGET &&
	    head->opcode != FUSE_INTERRUPT)
		(void)!write(fd, &reply, sizeof(reply));
}

/* asker: a pidfd; -1: there is nobody to look for. */
static void refuse_all(int fd, int asker, int64_t until_ms)
{
	union {
		struct fuse_in_header head;
		char bytes[HANDOVER_BUFFER];
	} request;
	struct fuse_out_header resend = {.len = sizeof(resend), .error = UAPI_NOTIFY_RESEND};
	struct pollfd p[] = {{.fd = asker, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	(void)!write(fd, &resend, sizeof(resend));
	for (;;) {
		int64_t left = until_ms == INT64_MAX ? -1 : until_ms - clock_ms();
		if (until_ms != INT64_MAX && left <= 0)
			return;
		if (poll(p, ARRAY_LEN(p), (int)left) <= 0)
			continue;
		if (p[0].revents != 0 || (p[1].revents & POLLERR) != 0)
			return;
		ssize_t n = read(fd, request.bytes, sizeof(request));
		if (n >= (ssize_t)sizeof(request.head))
			refuse(fd, &request.head);
		else if (n >= 0 || errno == ENODEV || errno == ECONNABORTED)
			return;
	}
}

static int watch_over(const struct page_drop *d)
{
	pid_t pid = fork();
	if (pid == 0) {
		close_others(&d->fuse_fd, 1);
		_exit(ask_kernel(d));
	}
	if (pid < 0) /* no process to spare */
		return ask_kernel(d);
	int asker = (int)syscall(SYS_pidfd_open, pid, 0);
	if (asker >= 0 && !outlived(d, asker))
		refuse_all(d->fuse_fd, asker, INT64_MAX);
	return wait_for(pid);
}

int page_drop(const struct page_drop *d)
{
	const int keep[] = {d->fuse_fd, d->worker_fd, d->keeper_fd};
	pid_t pid = d->n > 0 ? fork() : 0;
	if (d->n == 0)
		return 0;
	if (pid == 0) {
		close_others(keep, ARRAY_LEN(keep));
		_exit(watch_over(d));
	}
	return -(pid < 0 ? ask_kernel(d) : wait_for(pid));
}

void page_drop_refuse(int fuse_fd, int ms)
{
	refuse_all(fuse_fd, -1, clock_ms() + ms);
}
