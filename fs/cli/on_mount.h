/* SPDX-License-Identifier: Apache-2.0 */
/* on_mount — a command that is about one MOUNTPOINT and nothing else,
 * or about one PATH in it. Layer: fs/cli. */
#pragma once

#include <jansson.h>

#include "fs/cli/mounts.h"
#include "fs/cli/options.h"

/* What `fn` returns for the mount that the one operand names; else the exit status of what was
 * complained about. command: for the complaint. */
int on_mount(const char *command, const struct cli_args *args,
	     int (*fn)(const struct mounts_entry *mount));

/* The same of a PATH in a mount, which the process of the mount is asked about by `op` of
 * fs/control.h: what `show` returns for the answer. */
int on_path(const char *command, const char *op, const struct cli_args *args,
	    int (*show)(const struct cli_args *args, const struct mounts_entry *mount,
			json_t *answer));

/* Root may, and whose mount it is. */
bool may_ask(const struct mounts_entry *e);
/* CLI_DONE, or what was complained about: the mount is another user's, who alone can do `what`
 * ("unmount it"). */
int check_user(const struct mounts_entry *e, const char *what);

/* "", or what else than its death it may be that nobody listens where a mount's process is to be
 * asked. */
const char *or_elsewhere(void);
