/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_text — the objects of fs/cli/report.h in Prometheus' text format, version 0.0.4.
 * Layer: fs/cli.
 *
 * Every sample has the label mountpoint. A metric's samples stand together, mount after mount,
 * as the format wants it; what a mount does not say (one of an older version, one that does
 * not answer) is left out, and of two mounts on one path the one that is seen is shown.
 * Counters are those of the process that serves: they begin anew with wasmocifs_worker_generation.
 * The numbers and names may come from another user's daemon: they are checked, or escaped.
 */
#pragma once

#include <jansson.h>
#include <stdio.h>

/* mounts: an array, as `status --json` has it. */
void metrics_text(FILE *f, const json_t *mounts);
