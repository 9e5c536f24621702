/* SPDX-License-Identifier: Apache-2.0 */
/* clock — time in milliseconds, and microseconds where it is measured. Layer: base/. */
#pragma once

#include <stdint.h>

int64_t clock_ms(void);      /* monotonic: deadlines and TTLs of this process */
int64_t clock_us(void);      /* the same clock: 1000 × clock_ms, and what is between */
int64_t clock_wall_ms(void); /* since the epoch: what is written to disk or shown */
