/* SPDX-License-Identifier: Apache-2.0 */
/* on_mount — a command that is about one MOUNTPOINT and nothing else. Layer: fs/cli. */
#pragma once

#include "fs/cli/mounts.h"
#include "fs/cli/options.h"

/* What `fn` returns for the mount that the one operand names; else the exit status of what was
 * complained about. command: for the complaint. */
int on_mount(const char *command, const struct cli_args *args,
	     int (*fn)(const struct mounts_entry *mount));
