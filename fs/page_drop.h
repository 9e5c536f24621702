/* SPDX-License-Identifier: Apache-2.0 */
/* page_drop — has the kernel drop its pages of some files. Layer: fs/.
 *
 * The kernel waits for READs of them that are under way, in a sleep that no signal ends, and until
 * then the process that asked is not gone and its /dev/fuse not closed. So not the worker asks, or
 * it would, when it is killed, wait for READs that only the next one answers; and whoever asks may
 * be what keeps a connection alive that nobody serves. Hence two processes:
 *
 *	the one that asks    sleeps in the kernel
 *	one that watches it  until it has ended. When the worker and the keeper are both gone first,
 *	                     and PAGE_DROP_GRACE_MS later, it has the kernel send again what was
 *	                     not answered, and answers all of it with ENOTCONN: so the READs end,
 *	                     the other one wakes up, both end, and with the last /dev/fuse the
 *	                     connection does
 *
 * In the time of grace a service manager that holds the connection for the next keeper
 * (fs/cli/fdstore.h) kills what is left of the last one: what waits then is answered by the next.
 *
 * Somebody who kills both of these too, at once with the worker and the keeper, leaves a connection
 * that only `wasmocifs abort` ends. Before Linux 6.9 what was read and not answered cannot be sent
 * again, so there it is the same without that.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PAGE_DROP_GRACE_MS 5000

struct page_drop {
	int fuse_fd;              /* in non-blocking mode */
	int worker_fd, keeper_fd; /* pidfds; -1: nobody is there to be waited for */
	const uint64_t *inos;
	size_t n;
};

/* Waits for all of that: from no thread that serves. Not after seccomp has refused fork or
 * pidfd_open. -errno: some pages may be there still. */
int page_drop(const struct page_drop *d);

/* For whoever ends a connection that he cannot abort, though one that asks may be left in it,
 * without its watcher: for so long all that waits there is answered with ENOTCONN, so that it ends.
 */
void page_drop_refuse(int fuse_fd, int ms);
