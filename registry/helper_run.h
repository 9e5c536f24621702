/* SPDX-License-Identifier: Apache-2.0 */
/* helper_run — one run of a credential helper. Layer: registry/, internal.
 *
 * As in base/program.h, with the input as descriptor 0, /dev/null as 2 (what
 * helpers say there may be a secret), and our environment. A descendant that
 * keeps the pipe open is not waited for.
 *
 * Threads: any. BLOCKS until the program has ended.
 */
#pragma once

#include <stddef.h>

#include "base/call.h"

#define HELPER_OUTPUT_MAX (64u << 10) /* bytes */
#define HELPER_INPUT_MAX  1024

struct helper_output {
	char *text; /* NUL-terminated */
	size_t len;
	int exit_code; /* -1: a signal ended it */
};

void helper_output_release(struct helper_output *o); /* wipes it */
/* Runs `path get` with `input` on stdin, for limit_ms at the most. -EACCES: it
 * cannot be run, took longer, or printed too much; -ETIMEDOUT, -ECANCELED: the
 * call has ended; -ENOMEM. */
NODISCARD int helper_run(const char *path, const char *input, int64_t limit_ms, struct call *call,
			 struct helper_output *ret, struct err *err);
