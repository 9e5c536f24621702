/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_file — a file of metrics that is kept fresh: --metrics-file, for the textfile
 * collector of a node exporter. Layer: fs/cli.
 *
 * A thread of the worker writes it at once, and every METRICS_FILE_MS: into ".NAME.tmp" in the same
 * directory (no collector reads a name without ".prom" at its end), which then takes its place,
 * with mode 0644. So a reader has one whole file or the other. What a worker that was killed left
 * behind is written over by the next one.
 *
 * One file is one mount's. Who has written it keeps it open and locked, against no one but other
 * writers, and the lock goes with the process: a file that is locked, and has another mountpoint in
 * it, is another mount's. Whoever may read it cannot make it look so. A mount does not begin with
 * such a file; one that has lost it in between, to a mount that began while no worker of its own
 * was there, says so and leaves it alone until it is free.
 *
 * A directory that is gone, full or forbidden is one line in the log, until it is well again. The
 * thread alone waits for that disk, and the end of the process does not wait longer for it than
 * fs/cli/stop.h says.
 *
 * The file goes with the mount: metrics_file_remove.
 */
#pragma once

#include "fs/cli/report.h"

#define METRICS_FILE_MS 15000

struct metrics_file;

/* path: absolute; both are borrowed until metrics_file_free. -errno: no thread. */
NODISCARD int metrics_file_new(const char *path, const struct report *r, struct metrics_file **ret,
			       struct err *err);
/* Ends the thread; the file stays. NULL is fine. */
void metrics_file_free(struct metrics_file *m);
/* -EBUSY: it is another's than this mountpoint's; -EEXIST: what is there is no mount's. NULL is
 * fine. */
NODISCARD int metrics_file_check(const char *path, const char *mountpoint, struct err *err);
/* We write it no more. One that a process writes stays. NULL, and none, are fine. */
void metrics_file_remove(const char *path);
