/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "base/digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct digest d;
	if (digest_parse((const char *)data, size, &d) < 0)
		return 0;
	/* What is accepted has one spelling only. */
	char text[DIGEST_STRING_MAX];
	digest_string(&d, text);
	ASSERT(strlen(text) == size && memcmp(text, data, size) == 0);
	struct digest again;
	ASSERT(digest_parse(text, size, &again) == 0);
	ASSERT(digest_equal(&d, &again));
	return 0;
}
