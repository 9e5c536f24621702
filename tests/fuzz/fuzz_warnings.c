/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "registry/warnings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *value = calloc(1, size + 1);
	const char *at = value, *before = value;
	char text[WARNING_TEXT_MAX];

	ASSERT(value);
	if (size > 0)
		memcpy(value, data, size);
	while (warnings_parse(&at, text)) {
		ASSERT(at > before && at <= value + strlen(value));
		ASSERT(text[0] && strlen(text) < sizeof(text));
		for (const char *p = text; *p; p++)
			ASSERT((unsigned char)*p >= 0x20 && *p != 0x7f);
		before = at;
	}
	ASSERT(*at == '\0');
	return 0;
}
