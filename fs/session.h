/* SPDX-License-Identifier: Apache-2.0 */
/* session — the FUSE connection, with its I/O in our hands. Layer: fs/.
 *
 * libfuse parses and dispatches; we read /dev/fuse, and see every reply
 * before it is written (fuse_session_custom_io), because three things that
 * this file system needs stand in the INIT reply and libfuse 3.14 does not
 * send them: parallel directory operations, passthrough, and the stacking
 * depth (docs/architecture.md, "INIT").
 *
 * Threads: SESSION_THREADS threads read the one fd. The first alone handles
 * everything up to INIT; the others start only then. None may block on the
 * network, a lock held across I/O, or another request.
 *
 * Calling sequence
 *
 *	mount_open (fs/mount.h) → fd
 *	session_new(fd, ops, …) → session_run (returns when unmounted, or after
 *	session_stop) → session_free
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fuse_lowlevel.h>

#include "base/err.h"

struct session;

#define SESSION_THREADS 4

struct session_options {
	int fd; /* /dev/fuse, mounted; owned by the session from now on */
	const struct fuse_lowlevel_ops *ops;
	void *userdata;
	/* Runs once, in the thread that handled INIT, after its reply was written:
	 * the mount answers. NULL: nothing. */
	void (*ready)(void *userdata);
	bool no_passthrough; /* do not offer it (for tests and for --no-passthrough) */
};

/* What was agreed upon with the kernel. */
struct session_features {
	uint32_t proto_major, proto_minor;
	bool parallel_dirops, passthrough, init_ext;
	uint32_t max_background;
	uint32_t max_readahead;
	/* Seconds, 0: none, as of session_new. The kernel aborts a whole mount one
	 * of whose requests waits longer. */
	uint32_t default_timeout_s, max_timeout_s;
};

/* The INIT request and the reply as written, headers included: a later worker
 * replays them. reply_len is 0 until there was one. */
#define SESSION_INIT_MAX 512
struct session_init {
	size_t request_len, reply_len;
	unsigned char request[SESSION_INIT_MAX];
	unsigned char reply[SESSION_INIT_MAX];
};

/* -EMFILE, -ENOMEM, … */
NODISCARD int session_new(const struct session_options *o, struct session **ret, struct err *err);
/* 0: unmounted or stopped. -errno: the connection failed. */
NODISCARD int session_run(struct session *s, struct err *err);
/* From any thread, or a signal handler's companion: session_run returns soon. */
void session_stop(struct session *s);
void session_free(struct session *s); /* NULL is fine */
/* Both from any thread; zero before INIT, but for the timeouts. */
void session_features(struct session *s, struct session_features *ret);
void session_init(struct session *s, struct session_init *ret);
int session_fd(const struct session *s); /* borrowed: for ioctl */
struct fuse_session *session_fuse(struct session *s);
