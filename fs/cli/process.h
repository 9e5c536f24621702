/* SPDX-License-Identifier: Apache-2.0 */
/* process — what a process has from whoever started it, and may not be enough:
 * descriptors. Layer: fs/cli. Before there are threads. */
#pragma once

/* Opens those of 0, 1 and 2 that are closed, before another file can land
 * there: on /dev/null, but what is written to standard output still fails. */
void process_open_standard(void);
