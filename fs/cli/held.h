/* SPDX-License-Identifier: Apache-2.0 */
/* held — a mount in the kernel, and the tables that its workers hand over: what must not die with
 * a worker. Layer: fs/cli; for the keeper. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "fs/cli/link.h"

struct handover;
struct nodes;

struct held_options {
	const char *mountpoint;
	/* The mountpoint's descriptor (O_PATH), -1: none; the first held_open takes it. An
	 * automount of systemd lets only those walk there who are in the process group of mount(8),
	 * and the keeper has left that. */
	int *place;
	bool allow_other, noexec, no_passthrough;
	bool no_resend; /* behave as on a kernel that cannot send again */
	/* Which mount it is: its sources and options, as a digest; borrowed. */
	const char *identity;
};

struct held {
	char title[LINK_TEXT_MAX]; /* of the sources, for people: what the mount is called */
	int fuse_fd;
	unsigned minor; /* of the mount's device */
	struct nodes *nodes;
	struct handover *handover;
	bool resend; /* the kernel can send again what was not answered */
	bool served; /* by a worker, ever */
};

#define HELD_NONE ((struct held){.fuse_fd = -1})

/* Mounts, and answers INIT. Under its title. Errors of mount_open and init_serve. */
NODISCARD int held_open(struct held *h, const struct held_options *o, struct err *err);
/* Somebody has unmounted it, or ended the connection. */
bool held_is_gone(const struct held *h);
/* Unmounts, at once if nothing is in the way, else lazily; only what is ours. True: nothing of it
 * is left on the path. */
bool held_unmount(const struct held *h, const char *mountpoint);
/* Ends the connection whoever holds it, so that nobody waits in it; where that is not allowed,
 * those who wait are answered for HELD_REFUSE_MS. */
#define HELD_REFUSE_MS 1000
void held_abort(const struct held *h, const char *mountpoint);
void held_release(struct held *h); /* keeps the title; again is fine */
