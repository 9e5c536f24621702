/* SPDX-License-Identifier: Apache-2.0 */
/* retry — what is worth another try, and when. Layer: registry/, internal;
 * no I/O. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RETRY_ATTEMPTS         5
#define RETRY_CONNECT_ATTEMPTS 3 /* where nobody listens, or the name is unknown */
#define RETRY_BASE_MS          250
#define RETRY_CAP_MS           30000
#define RETRY_AFTER_MAX_MS     30000 /* a longer Retry-After is a failure */
/* For so long a host is not asked at the most, whatever it says. */
#define RETRY_GATE_MAX_MS (60 * 60 * 1000)
/* And one that is out of order: it may be well before it thinks. */
#define RETRY_GATE_DOWN_MS (60 * 1000)

/* A status that a later try may turn into another. */
bool retry_status(int status);
/* How long to wait before try number `attempt` + 1 (the first is 1): anything
 * up to base·2^(attempt-1), capped ("full jitter"). */
int64_t retry_backoff_ms(unsigned attempt, int64_t base_ms);
/* Retry-After (RFC 9110 §10.2.3) as milliseconds from now: seconds, a date, or
 * (seen in the wild) a fraction or a Unix time. A date is one of the server's
 * clock, and so is `date` (its Date field, or NULL): where that can be read it is
 * what the server calls now, and wall_ms, our clock, where not. 0 for what has
 * passed, -1 where it cannot be read; INT64_MAX at the most. */
int64_t retry_after_ms(const char *value, const char *date, int64_t wall_ms);
