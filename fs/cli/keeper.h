/* SPDX-License-Identifier: Apache-2.0 */
/* keeper — the process that a mount belongs to: it holds the connection to the kernel, and
 * sees to it that a worker serves it. Layer: fs/cli.
 *
 * It does next to nothing, so that it does not die: one thread, no libfuse, no network, no
 * cache. All that a request touches is in the worker, a process of its own, which it starts
 * (fs/cli/worker.h) as `wasmocifs serve` with the options of the mount.
 *
 * Life of a mount
 *
 *	a worker is prepared (source, cache: what can be wrong is found before there is a
 *	mount) → mounted, INIT answered → SERVE → READY: whoever started us is told
 *
 *	the worker dies           the next is prepared, and serves as soon as it is: nobody
 *	                          notices (fs/session.h). Those that die young are started
 *	                          again later and later, up to KEEPER_PAUSE_MAX_MS
 *	it is told to end by a signal, and we are not
 *	                          the same
 *	none serves for KEEPER_DOWN_MS
 *	                          the mount is given up: detached, and the connection ended,
 *	                          so that nobody waits in it for ever
 *	upgrade                   the same way: the worker of the new program is prepared, then
 *	                          the old one is killed. If the new one does not get ready,
 *	                          the old program's serve again
 *	the kernel cannot send requests again (before Linux 6.9)
 *	                          a dead worker's requests are lost: the mount is made anew on
 *	                          its mountpoint, and the log says so
 *	SIGTERM, SIGINT, SIGHUP, SIGQUIT
 *	                          the worker is told (fs/cli/stop.h), and killed if it is not
 *	                          gone after KEEPER_STOP_MS
 *	it lives and does not answer
 *	                          the mount is asked now and then (fs/cli/heartbeat.h): the
 *	                          worker is killed, and the next one answers
 *	KEEPER_LEAVE_SIGNAL       where a service manager holds the connection (fs/cli/fdstore.h):
 *	                          the processes end, the mount stays for the next keeper
 *	unmounted                 the worker ends with status 0, and so do we
 *	the keeper dies           the worker serves on, and nobody comes after it
 *
 * What a dead worker was waiting for (fs/cli/spawn.h) is ended with it. No wait of the keeper's is
 * without an end: a worker that does not die, as it waits for a disk, is left behind, and the
 * connection is ended.
 *
 * The program of the workers is held open, so a worker that dies is followed by one of
 * the same, whatever lies at its path by now.
 */
#pragma once

#include "base/err.h"
#include "fs/cli/held.h"

#define KEEPER_LEAVE_SIGNAL SIGUSR2
#define KEEPER_PAUSE_MAX_MS 5000
#define KEEPER_YOUNG_MS     2000 /* a worker that dies before it is as old has died young */
#define KEEPER_DOWN_MS      60000
#define KEEPER_PREPARE_MS   20000 /* for a worker to get prepared, and then ready */
#define KEEPER_STOP_MS      5500
#define KEEPER_END_MS       3000 /* for a worker whose connection has ended */

struct keeper_options {
	struct held_options mount;
	struct held *held; /* HELD_NONE, or what a keeper before us held; owned by keeper_run */
	/* Of the worker, NULL at its end; a word "--keeper-fd=N" is put behind the first two. */
	char **argv;
	/* Runs once, when the mount answers. Not 0: nobody wants it any more. */
	int (*ready)(void *ctx);
	void *ctx;
};

/* Returns when the mount is gone: the exit status of the program, and why, in err, if that is
 * not 0. Signals must be blocked (stop_block_signals); before there are threads. */
int keeper_run(const struct keeper_options *o, struct err *err);
