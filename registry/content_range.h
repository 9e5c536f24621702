/* SPDX-License-Identifier: Apache-2.0 */
/* content_range — the Content-Range field (RFC 9110 §14.4), bytes only.
 * Layer: registry/, internal; no I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct content_range {
	bool satisfied;       /* false: "bytes *" and a total, as with 416 */
	uint64_t first, last; /* inclusive; satisfied only */
	bool has_total;
	uint64_t total;
};

/* -EINVAL: not in the grammar, last < first, or last >= total. */
NODISCARD int content_range_parse(const char *s, size_t len, struct content_range *ret);
