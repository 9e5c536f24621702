/* SPDX-License-Identifier: Apache-2.0 */
/* status — how the objects of fs/cli/report.h are shown to people. Layer:
 * fs/cli. Their strings may come from another user's daemon: they are made
 * printable here. */
#pragma once

#include <jansson.h>
#include <stdio.h>

#define STATUS_WIDTH 80

/* An aligned table that fits STATUS_WIDTH columns; what is too long is cut. */
void status_show_table(FILE *f, const json_t *mounts);
/* Everything about one mount. */
void status_show_one(FILE *f, const json_t *mount);
