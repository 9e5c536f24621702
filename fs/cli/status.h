/* SPDX-License-Identifier: Apache-2.0 */
/* status — how the objects of fs/cli/report.h are shown to people. Layer:
 * fs/cli. Their strings may come from another user's daemon: they are made
 * printable here. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

/* Mounts in an aligned table, and below it, of each, its hosts and what is being transferred. To
 * fit in that many columns (at least TABLE_WIDTH_MIN), names and reasons that are too long are cut
 * in the middle; 0: nothing is cut. */
void status_show_table(FILE *f, const json_t *mounts, size_t columns);
/* Everything about one mount; lines that are too long are cut at their end. */
void status_show_one(FILE *f, const json_t *mount, size_t columns);
