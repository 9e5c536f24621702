/* SPDX-License-Identifier: Apache-2.0 */
/* stop — ends a worker on a signal, whatever hangs. Layer: fs/cli.
 *
 *	SIGTERM, SIGINT, SIGHUP, SIGQUIT
 *	                          fs_stop; the main thread comes back from fs_serve and
 *	                          leaves. The keeper unmounts then
 *	after STOP_GRACE_MS       the process leaves, and what does not end with it
 *	after STOP_HARD_MS        the same from a signal handler, should that hang
 *
 * One thread takes the signals from a signalfd; they are blocked everywhere
 * else (stop_block_signals, before any thread and before there is a mount to
 * leave behind). It also makes the log's minute tick.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>

#include "base/err.h"
#include "fs/fs.h"

#define STOP_GRACE_MS 3800
#define STOP_HARD_MS  4800

struct stop;

/* Those that end a mount: not one that nohup, or a shell's "&", has had ignored. */
void stop_signals(sigset_t *ret);
/* Also ignores SIGPIPE. */
void stop_block_signals(void);
/* fs is borrowed until stop_ending; mountpoint, for the log, until stop_free. */
NODISCARD int stop_new(struct fs *fs, const char *mountpoint, struct stop **ret, struct err *err);
/* fs_serve has returned: fs is not touched any more, and the limits above count
 * from now on, if they do not already. */
void stop_ending(struct stop *s);
/* A signal has ended it, and nobody has unmounted. */
bool stop_was_signalled(const struct stop *s);
/* Everything has ended. NULL is fine. */
void stop_free(struct stop *s);
