/* SPDX-License-Identifier: Apache-2.0 */
/* rfc3339 — points in time as annotations write them
 * ("2026-01-02T03:04:05.678Z", "…+01:00"). Layer: registry/; a leaf. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Milliseconds since the epoch, which may be negative. False: not one. */
bool rfc3339_parse_ms(const char *s, int64_t *ret);
