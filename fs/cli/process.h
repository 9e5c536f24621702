/* SPDX-License-Identifier: Apache-2.0 */
/* process — what a process has from whoever started it, and may not be enough:
 * descriptors and limits. Layer: fs/cli. Before there are threads. */
#pragma once

#include <stdint.h>

#include "base/err.h"

/* Open files: the least that a mount starts with, and what it asks for if the
 * hard limit allows it. */
#define PROCESS_FILES_MIN  128
#define PROCESS_FILES_WANT 65536
/* Bytes of a file: the table of nodes is one in memory, of a little more than 1 GiB. */
#define PROCESS_FILE_SIZE_MIN (UINT64_C(2) << 30)

/* Opens those of 0, 1 and 2 that are closed, before another file can land
 * there: on /dev/null, but what is written to standard output still fails. */
void process_open_standard(void);
/* For a mount: raises both limits to the hard ones. A write beyond that on a
 * file's size then fails (EFBIG) instead of ending the process. -EMFILE, -EFBIG:
 * they are below what a mount needs. */
NODISCARD int process_prepare_limits(struct err *err);
