/* SPDX-License-Identifier: Apache-2.0 */
/* report_counts — the members of fs/cli/report.h that count and measure. Layer: fs/cli.
 *
 * A count of what took its time is {count, seconds, buckets[]}: seconds is the sum, and
 * buckets are how many took no longer than the bound at the same place of latency_bounds,
 * and longer than the one before; the last has no bound.
 *
 * Each returns a new value, or NULL without memory. From memory only; any thread.
 */
#pragma once

#include <jansson.h>

#include "fs/fs.h"

/* In seconds. */
json_t *report_latency_bounds(void);
/* [{operation, outcome, count, seconds, buckets}]: what happened at all. */
json_t *report_operations(struct fs *fs);
/* [{outcome, count, seconds, buckets}] */
json_t *report_outcomes(const struct source_requests *r);
/* [{host, host_bytes, outcomes}] */
json_t *report_package_hosts(struct fs *fs);
/* [{source, repository, digest, size, bytes (of them that are here), rate (bytes per second since
 * it began; null: too early to say), waiting (requests that do), queued}] */
json_t *report_transfers(struct fs *fs);
