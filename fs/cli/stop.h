/* SPDX-License-Identifier: Apache-2.0 */
/* stop — ends a mount on a signal, whatever hangs. Layer: fs/cli.
 *
 *	SIGTERM, SIGINT, SIGHUP   fs_stop; the main thread comes back from
 *	                          fs_serve, unmounts and leaves
 *	after STOP_GRACE_MS       the mount is detached and the process leaves,
 *	                          with status 0 if nothing of it is left behind
 *	after STOP_HARD_MS        the same from a signal handler, should that hang
 *
 * One thread takes the signals from a signalfd; they are blocked everywhere
 * else (stop_block_signals, before any thread and before there is a mount to
 * leave behind). It also makes the log's minute tick.
 */
#pragma once

#include <signal.h>

#include "base/err.h"
#include "fs/fs.h"

#define STOP_GRACE_MS 3800
#define STOP_HARD_MS  4800

struct stop;

/* Those that end a mount: not one that nohup, or a shell's "&", has had ignored. */
void stop_signals(sigset_t *ret);
/* Also ignores SIGPIPE. */
void stop_block_signals(void);
/* fs and mountpoint are borrowed: fs until stop_ending, mountpoint until
 * stop_free. minor: of the mount's device. */
NODISCARD int stop_new(struct fs *fs, const char *mountpoint, unsigned minor, struct stop **ret,
		       struct err *err);
/* fs_serve has returned: fs is not touched any more, and the limits above count
 * from now on, if they do not already. */
void stop_ending(struct stop *s);
/* Everything has ended. NULL is fine. */
void stop_free(struct stop *s);
/* Unmounts, at once if nothing is in the way, else lazily; only what has this
 * minor. True: nothing of it is left on the path. */
bool stop_unmount(const char *mountpoint, unsigned minor);
