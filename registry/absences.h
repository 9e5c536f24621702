/* SPDX-License-Identifier: Apache-2.0 */
/* absences — of which repositories something is known to be missing, and until
 * when that holds. Layer: registry/, internal; no I/O.
 *
 * Bounded: beyond ABSENCES_MAX the one that ends first is forgotten, so that it is
 * asked about again.
 *
 * Threads: any; the lock is a leaf.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/lock.h"

#define ABSENCES_MAX 256

struct absence {
	char *repo; /* owned; NULL: free */
	int64_t until_ms;
};

struct absences {
	struct lock lock;
	struct absence v[ABSENCES_MAX]; /* guarded by lock */
};

void absences_init(struct absences *a);
void absences_release(struct absences *a);
/* By clock_ms(). Without memory it is not noted. */
void absences_note(struct absences *a, const char *repo, int64_t until_ms);
void absences_forget(struct absences *a, const char *repo);
bool absences_has(struct absences *a, const char *repo);
