/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "base/units.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = malloc(size + 1);
	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	uint64_t bytes = 0;
	int64_t ms = 0;
	if (units_parse_size(text, &bytes) == 0) {
		char out[UNITS_SIZE_MAX];
		units_format_size(bytes, out);
		ASSERT(strlen(out) >= 3);
	}
	if (units_parse_duration_ms(text, &ms) == 0)
		ASSERT(ms >= 0);
	return 0;
}
