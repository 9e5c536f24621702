/* SPDX-License-Identifier: Apache-2.0 */
/* units — sizes ("64K", "30M", "8G", plain bytes; powers of 1024) and
 * durations ("500ms", "8s", "5m", "2h", "7d") as people write them. Layer: base/.
 * -EINVAL: not one. -ERANGE: too large. */
#pragma once

#include <stdint.h>

#include "base/macros.h"

NODISCARD int units_parse_size(const char *s, uint64_t *ret);
NODISCARD int units_parse_duration_ms(const char *s, int64_t *ret);
/* "8.0 GiB", "30 MiB", "144 B": for people. */
#define UNITS_SIZE_MAX 16
void units_format_size(uint64_t bytes, char out[UNITS_SIZE_MAX]);
