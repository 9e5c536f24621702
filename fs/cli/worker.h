/* SPDX-License-Identifier: Apache-2.0 */
/* worker — `wasmocifs serve`: the process that answers a mount's requests, until it is
 * unmounted, told to stop, or killed. Layer: fs/cli. The keeper starts it
 * (fs/cli/keeper.h), with the options of the mount, all paths absolute, and
 * "--keeper-fd=N"; nobody else does.
 *
 * It may be killed at any instruction: what the next one needs lies in the tables
 * (fs/nodes.h, fs/handover.h) and in the cache. Should the keeper die it serves on. */
#pragma once

#include "fs/cli/options.h"

/* With what it says of itself: fs/cli/report.h. */
int worker_main(const struct cli_args *args);
