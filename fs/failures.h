/* SPDX-License-Identifier: Apache-2.0 */
/* failures — what failed last, by what was wanted, so that it can be explained
 * afterwards. Layer: fs/.
 *
 * One for each want (fs/flight.h), of a blob whatever its size was said to be: the
 * latest, until the same succeeds. Bounded:
 * the one that happened or was asked about longest ago is forgotten.
 *
 * Threads: any; the lock is that of a memo, a leaf.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct want;

#define FAILURES_MAX 1024

struct failure {
	int code; /* -errno */
	int64_t wall_ms;
	struct err err;
};

struct failures;

NODISCARD int failures_new(struct failures **ret);
void failures_free(struct failures *f); /* NULL is fine */
/* Now, by the wall clock. */
void failures_put(struct failures *f, const struct want *w, int code, const struct err *err);
void failures_drop(struct failures *f, const struct want *w);
bool failures_find(struct failures *f, const struct want *w, struct failure *ret);
