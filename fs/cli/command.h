/* SPDX-License-Identifier: Apache-2.0 */
/* command — what the program can be told to do. Layer: fs/cli. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/macros.h"
#include "fs/cli/options.h"

/* Exit status of the program. */
enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct command {
	const char *name;
	unsigned id;          /* CLI_MOUNT, … */
	const char *operands; /* "[options] SOURCE MOUNTPOINT" */
	const char *summary;  /* for the list of commands */
	const char *text;     /* for its own help: what it does, line by line */
	const char *examples;
	int (*run)(const struct cli_args *args); /* returns the exit status */
};

const struct command *commands(size_t *ret_n);
const struct command *command_find(const char *name); /* NULL: unknown */

int mount_main(const struct cli_args *args);
/* What is wrong with the words of a mount, as far as nothing needs to be there for that. -EINVAL */
NODISCARD int mount_check(const struct cli_args *args, struct err *err);
int unmount_main(const struct cli_args *args);
int abort_main(const struct cli_args *args);
int upgrade_main(const struct cli_args *args);
int status_main(const struct cli_args *args);
int refresh_main(const struct cli_args *args);
int pull_main(const struct cli_args *args);
int cache_main(const struct cli_args *args);
int why_main(const struct cli_args *args);
/* As mount.wasmocifs; exit status of mount(8). */
int helper_main(int argc, char **argv);

/* "wasmocifs: …" on stderr, one line. Returns `status`. */
int complain(int status, const char *fmt, ...) PRINTF(2, 3);
/* Takes over v; NULL: there was no memory for it. The exit status. That standard output takes
 * nothing is said at the end of the program, once. */
int print_json(json_t *v);
