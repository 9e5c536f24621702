/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>

#include "registry/content_range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct content_range r;

	if (content_range_parse((const char *)data, size, &r) < 0)
		return 0;
	ASSERT(r.satisfied || r.has_total);
	ASSERT(!r.satisfied || r.first <= r.last);
	ASSERT(!r.satisfied || !r.has_total || r.last < r.total);
	return 0;
}
