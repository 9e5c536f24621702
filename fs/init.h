/* SPDX-License-Identifier: Apache-2.0 */
/* init — the first exchange with the kernel: what it offers, and what we take. Layer: fs/;
 * no libfuse.
 *
 * The keeper of a mount answers it itself, once, so that it cannot be half made by a worker
 * that dies; each worker gives it to its libfuse again and throws that answer away
 * (fs/session.h). What was agreed upon stays for as long as the mount lives, so a later
 * version of this program must cope with what an earlier one took.
 *
 * Why these: docs/architecture.md, "INIT". Protocol: <linux/fuse.h>, struct fuse_init_in
 * and _out.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "fs/handover.h"

/* What was agreed upon. */
struct init_features {
	uint32_t proto_major, proto_minor;
	bool parallel_dirops, passthrough, init_ext;
	bool resend; /* the kernel can send again what was not answered (Linux 6.9) */
	uint32_t max_background;
	uint32_t max_readahead;
};

/* Waits for INIT on a connection that was just mounted, at most INIT_WAIT_MS, and answers
 * it. -EPROTO: a kernel of another major version; -ETIMEDOUT; -ENODEV: unmounted. */
#define INIT_WAIT_MS 10000
NODISCARD int init_serve(int fuse_fd, bool no_passthrough, struct handover_init *ret,
			 struct err *err);
/* The reply to a request of that many bytes, its header in front; its length, or 0: that is no
 * INIT that we understand. */
size_t init_answer(const void *request, size_t len, bool no_passthrough,
		   unsigned char ret[HANDOVER_INIT_MAX]);
/* Zero where there was no exchange. */
void init_features(const struct handover_init *init, struct init_features *ret);

/* How long a request may wait, in ms; 0: as long as it likes. The kernel aborts a whole mount one
 * of whose requests waits longer (Linux 6.15: fs.fuse.default_request_timeout and
 * max_request_timeout). dir: of these files, INIT_SYSCTL_DIR. */
#define INIT_SYSCTL_DIR "/proc/sys/fs/fuse"
int64_t init_request_limit_ms(const char *dir);
