/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_file — a file of metrics that is kept fresh: --metrics-file, for the textfile
 * collector of a node exporter. Layer: fs/cli.
 *
 * A thread of the worker writes it at once, and every METRICS_FILE_MS: into ".NAME.tmp" in the same
 * directory (no collector reads a name without ".prom" at its end), which then takes its place,
 * with mode 0644. So a reader has one whole file or the other. What a worker that was killed left
 * behind is written over by the next one.
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
/* Nobody writes it any more. NULL, and none, are fine. */
void metrics_file_remove(const char *path);
