/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	char buf[CMSG_SPACE(sizeof(int) * LINK_FDS)];
	struct cmsghdr align;
};

int link_pair(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0 ? -errno : 0;
}

int link_send(int fd, const struct link_message *m, const int *fds)
{
	union control control = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)m, .iov_len = sizeof(*m)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;
	if (fds != NULL) {
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * LINK_FDS);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * LINK_FDS);
	}
	do
		n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int link_say(int fd, enum link_kind kind, uint32_t number, const char *text)
{
	struct link_message m = {.version = LINK_VERSION, .kind = kind, .number = number};
	snprintf(m.text, sizeof(m.text), "%s", text);
	return link_send(fd, &m, NULL);
}

static void take_fds(struct msghdr *msg, int got[LINK_FDS])
{
	for (size_t i = 0; i < LINK_FDS; i++)
		got[i] = -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(got, CMSG_DATA(c), (n < LINK_FDS ? n : LINK_FDS) * sizeof(int));
	}
}

int link_receive(int fd, bool wait, struct link_message *ret, int *fds)
{
	union control control = {0};
	struct iovec iov = {.iov_base = ret, .iov_len = sizeof(*ret)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	int got[LINK_FDS];
	ssize_t n;
	memset(ret, 0, sizeof(*ret));
	do
		n = recvmsg(fd, &msg, (wait ? 0 : MSG_DONTWAIT) | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	take_fds(&msg, got);
	int rc = n == 0 ? -EPIPE : 0;
	if (n > 0 && ((size_t)n != sizeof(*ret) || ret->version != LINK_VERSION))
		rc = -EPROTO;
	ret->text[sizeof(ret->text) - 1] = '\0';
	for (size_t i = 0; i < LINK_FDS; i++) {
		if (rc == 0 && fds != NULL)
			fds[i] = got[i];
		else if (got[i] >= 0)
			close(got[i]);
	}
	return rc;
}
