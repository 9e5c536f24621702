/* SPDX-License-Identifier: Apache-2.0 */
/* session — the FUSE connection, with its I/O in our hands. Layer: fs/.
 *
 * libfuse parses and dispatches; we read /dev/fuse (fuse_session_custom_io), because
 * what libfuse 3.14 does not do must be done: the answer to INIT (fs/init.h), and taking
 * over a connection from a process that died.
 *
 * Taking over, in this order, by one thread before there is another one that reads: INIT
 * is given to libfuse again, and its answer thrown away; the FORGETs that were read and not
 * done are done (fs/handover.h); the kernel is asked to send again what has no answer. The
 * process before must be gone. (A request that is answered before INIT is EIO to its caller,
 * and one that is read before the demand is delivered twice.)
 *
 * Threads: SESSION_THREADS threads read the one fd. None may block on the network, a
 * lock held across I/O, or another request.
 *
 * Calling sequence
 *
 *	mount_open (fs/mount.h) → fd → init_serve (fs/init.h)
 *	session_new(fd, ops, …) → session_run (returns when unmounted, or after
 *	session_stop) → session_free
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <fuse_lowlevel.h>

#include "base/err.h"
#include "fs/handover.h"
#include "fs/init.h"

struct session;

#define SESSION_THREADS HANDOVER_BUFFERS

struct session_options {
	int fd; /* /dev/fuse, INIT answered; owned by the session from now on */
	/* Without forget and forget_multi. */
	const struct fuse_lowlevel_ops *ops;
	void *userdata;
	/* The kernel's FORGET of one node. Must not block. */
	void (*forget)(void *userdata, uint64_t ino, uint64_t count);
	/* Runs once, when requests begin to be answered. NULL: nothing. */
	void (*ready)(void *userdata);
	struct handover *handover; /* borrowed; INIT is in it */
	bool resend;               /* somebody has served this connection before */
	bool refuse_resent; /* what is sent again is answered with EIO: it kills those who try */
	pid_t keeper;       /* who has the next process serve when this one is gone; 0: nobody */
};

/* -EMFILE, -ENOMEM, … */
NODISCARD int session_new(const struct session_options *o, struct session **ret, struct err *err);
/* 0: unmounted or stopped. -errno: the connection failed. */
NODISCARD int session_run(struct session *s, struct err *err);
/* From any thread, or a signal handler's companion: session_run returns soon. */
void session_stop(struct session *s);
void session_free(struct session *s); /* NULL is fine */
/* Drops the kernel's pages of these files (fs/page_drop.h), and waits for their READs that are
 * under way: never from a thread that serves, nor by one whom they wait for. -errno: some may be
 * there still. */
NODISCARD int session_drop_pages(struct session *s, const uint64_t *inos, size_t n);
/* The kernel's number for the request that this thread is handling; 0: it handles none. */
uint64_t session_unique(void);
int session_fd(const struct session *s); /* borrowed: for ioctl */
