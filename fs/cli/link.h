/* SPDX-License-Identifier: Apache-2.0 */
/* link — what a keeper and a worker say to each other. Layer: fs/cli.
 *
 * A pair of sockets (SOCK_SEQPACKET); a message is a struct of fixed size, with
 * descriptors where it says so. Its layout is an interface: a keeper goes on when a later
 * version's workers come (fs/cli/keeper.h), so LINK_VERSION must stay, or be understood.
 *
 *	worker → keeper
 *	PREPARED   all is opened that needs no mount. text: the sources, for people
 *	READY      requests are answered
 *	FAILED     it ends. number: the exit status for the user; text: why
 *	UPGRADE    somebody wants another program to serve. text: its path
 *	keeper → worker
 *	SERVE      nobody else serves. number: generation; minor; pid: the keeper's;
 *	           flags; with fds[]: /dev/fuse, the nodes, the handover
 *	REFUSED    an upgrade has failed. text: its program, a newline, why
 *
 * The other side's end is the end of the socket.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define LINK_VERSION  1u
#define LINK_TEXT_MAX 4096
#define LINK_FDS      3

enum link_kind {
	LINK_PREPARED = 1,
	LINK_READY,
	LINK_FAILED,
	LINK_UPGRADE,
	LINK_SERVE,
	LINK_REFUSED,
};

enum link_flag {
	LINK_SERVED_BEFORE = 1, /* of SERVE: the connection had a worker before */
	LINK_REFUSE_RESENT = 2, /* of SERVE: answer with EIO what is sent again */
};

struct link_message {
	uint32_t version;
	uint32_t kind; /* enum link_kind */
	uint32_t number;
	uint32_t minor;
	int32_t pid;
	uint32_t flags;           /* enum link_flag */
	char text[LINK_TEXT_MAX]; /* cut, if need be; NUL-terminated */
};

/* Neither is inherited by a program that is started. */
NODISCARD int link_pair(int fds[2]);
/* fds: NULL, or LINK_FDS of them, which stay the caller's. Never blocks: -EAGAIN, -EPIPE. */
NODISCARD int link_send(int fd, const struct link_message *m, const int *fds);
/* A short message without descriptors. Who does not hear it has ended. */
int link_say(int fd, enum link_kind kind, uint32_t number, const char *text);
/* wait: blocks until there is one; else -EAGAIN. fds: filled with LINK_FDS, -1 where there is
 * none, the caller's from now on; NULL: those that come are closed. -EPIPE: the other side is
 * gone; -EPROTO: it does not speak our language. */
NODISCARD int link_receive(int fd, bool wait, struct link_message *ret, int *fds);
