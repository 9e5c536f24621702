/* SPDX-License-Identifier: Apache-2.0 */
/* program — another program that we start, listen to, and end. Layer: base/.
 *
 * It has a session and process group of its own, is in "/", has no descriptors but
 * 0, 1 and 2, and no signal is blocked. Whoever started it ends it, always: what is
 * left of its group is killed then, and it is reaped.
 *
 *	program_start → wait for pidfd, read what it says → program_end
 *
 * Threads: any, one at a time for each program.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/macros.h"

struct program {
	pid_t pid; /* 0: none */
	int pidfd; /* readable once it has ended; -1: none */
};
#define PROGRAM_NONE ((struct program){.pid = 0, .pidfd = -1})

struct program_options {
	const char *path;
	char *const *argv;
	char *const *env;
	int in, out; /* borrowed */
	int errors;  /* borrowed; -1: /dev/null */
};

/* -errno: it does not run; *ret is PROGRAM_NONE. */
NODISCARD int program_start(const struct program_options *o, struct program *ret);
/* Waits until it has ended by itself. False: it has not within ms. */
bool program_wait(const struct program *p, int ms);
/* Its exit status; -1: a signal ended it, which is *ret_signal (may be NULL). Of
 * PROGRAM_NONE -1 too. */
int program_end(struct program *p, int *ret_signal);
