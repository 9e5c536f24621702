/* SPDX-License-Identifier: Apache-2.0 */
/* histogram — how often something took how long. Layer: base/.
 *
 * Counters that only grow, in buckets of fixed bounds from 10 µs to a minute, so that
 * those of different places can be added and compared. Zeroed memory is an empty one.
 *
 * Threads: any at once, without a lock; an addition is one or two atomic ones that
 * order nothing. What is read is of one moment for each counter, not for all: but the
 * count is the sum of the buckets that were read, so these two always agree.
 *
 * Units: microseconds.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define HISTOGRAM_BOUNDS  14                     /* buckets that have one */
#define HISTOGRAM_BUCKETS (HISTOGRAM_BOUNDS + 1) /* and one for all beyond */

/* The longest time that each bucket counts, rising. */
extern const uint32_t histogram_bounds_us[HISTOGRAM_BOUNDS];

struct histogram {
	_Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
	_Atomic uint64_t sum_us;
};

/* What was read of one. buckets: each without those below it. */
struct histogram_view {
	uint64_t buckets[HISTOGRAM_BUCKETS];
	uint64_t count, sum_us;
};

/* us < 0 counts as 0. */
void histogram_add(struct histogram *h, int64_t us);
void histogram_read(const struct histogram *h, struct histogram_view *ret);
