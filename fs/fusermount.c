/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/fusermount.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/child.h"

#define HELPER       "fusermount3"
#define COMM_FD      3
#define COMM_FD_TEXT "3"
#define SAID_MAX     400 /* bytes of what it says */

/* The helper while it runs: our ends of its stderr and of its socket. */
struct helper {
	pid_t pid;
	int said;
	int comm;
	int64_t deadline_ms;
};

static void helper_release(struct helper *h)
{
	auto_close_(&h->said);
	auto_close_(&h->comm);
}

#define AUTO_HELPER __attribute__((cleanup(helper_release)))

static int spawn(const char *const argv[], int comm, int said, pid_t *ret)
{
	/* The C locale, so that its words can be told apart. */
	static const char *const env[] = {"_FUSE_COMMFD=" COMM_FD_TEXT,
					  "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	posix_spawn_file_actions_t actions;
	int r = posix_spawn_file_actions_init(&actions);

	if (r != 0)
		return -r;
	/* stderr first: `said` may be the very number that the socket takes. */
	r = posix_spawn_file_actions_adddup2(&actions, said, STDERR_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, comm, COMM_FD);
	if (r == 0)
		r = posix_spawnp(ret, HELPER, &actions, NULL, (char *const *)(uintptr_t)argv,
				 (char *const *)(uintptr_t)env);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

static int helper_start(const char *const argv[], struct helper *h, struct err *err)
{
	int comm[2] = {-1, -1}, said[2] = {-1, -1};
	int r = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, comm) < 0 ||
	    pipe2(said, O_CLOEXEC) < 0)
		r = -errno;
	if (r == 0)
		r = spawn(argv, comm[1], said[1], &h->pid);
	auto_close_(&comm[1]);
	auto_close_(&said[1]);
	h->comm = comm[0];
	h->said = said[0];
	h->deadline_ms = clock_ms() + FUSERMOUNT_WAIT_MS;
	if (r == -ENOENT)
		return err_set(err, -EPERM,
			       HELPER " is not installed, and only root mounts without "
				      "it: install the package fuse3");
	return r < 0 ? err_errno(err, r, "cannot run " HELPER) : 0;
}

/* Its first line, without its own name in front. */
static const char *first_line(char *text)
{
	static const char prefix[] = HELPER ": ";
	size_t skip = sizeof(prefix) - 1;

	text[strcspn(text, "\n")] = '\0';
	if (text[0] == '\0')
		return "failed without a message";
	return strncmp(text, prefix, skip) == 0 ? text + skip : text;
}

/* Until it has closed its stderr, which it does by ending. */
static bool helper_listen(struct helper *h, char text[SAID_MAX])
{
	size_t len = 0;
	bool ended = false;

	while (!ended && child_poll(h->said, h->deadline_ms)) {
		char rest[256];
		bool full = len + 1 >= SAID_MAX;
		ssize_t n = full ? read(h->said, rest, sizeof(rest))
				 : read(h->said, text + len, SAID_MAX - 1 - len);

		ended = n == 0 || (n < 0 && errno != EINTR);
		if (n > 0 && !full)
			len += (size_t)n;
	}
	text[len] = '\0';
	return ended;
}

static int helper_finish(struct helper *h, struct err *err)
{
	char text[SAID_MAX];
	int status = 0;

	if (!helper_listen(h, text) || !child_wait(h->pid, h->deadline_ms, &status)) {
		kill(h->pid, SIGKILL);
		(void)waitpid(h->pid, &status, WNOHANG);
		return err_set(err, -ETIMEDOUT, HELPER " did not end within %d s",
			       FUSERMOUNT_WAIT_MS / 1000);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	const char *said = first_line(text);
	return err_set(err, strstr(said, "resource busy") ? -EBUSY : -EPERM, HELPER ": %s", said);
}

static int receive_fd(int sock, int *ret)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *c;

	if (recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
		return -EIO;
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EIO;
	memcpy(ret, CMSG_DATA(c), sizeof(*ret));
	return 0;
}

int fusermount_mount(const char *mountpoint, const char *options, int *ret, struct err *err)
{
	const char *const argv[] = {HELPER, "-o", options, "--", mountpoint, NULL};
	AUTO_HELPER struct helper h = {.said = -1, .comm = -1};
	int r = helper_start(argv, &h, err);

	if (r == 0)
		r = helper_finish(&h, err);
	if (r < 0)
		return r;
	r = receive_fd(h.comm, ret);
	return r < 0 ? err_set(err, r, HELPER " mounted, but gave us no connection") : 0;
}

int fusermount_unmount(const char *mountpoint, bool lazy, struct err *err)
{
	const char *const argv[] = {HELPER, lazy ? "-uz" : "-u", "--", mountpoint, NULL};
	AUTO_HELPER struct helper h = {.said = -1, .comm = -1};
	int r = helper_start(argv, &h, err);

	return r < 0 ? r : helper_finish(&h, err);
}
