/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "cache/ref_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char out[REF_NAME_MAX], again[REF_NAME_MAX];
	int n = ref_name_unescape((const char *)data, size, out, sizeof(out));
	if (n >= 0) {
		/* One spelling only. */
		ASSERT(strlen(out) == (size_t)n);
		int m = ref_name_escape(out, (size_t)n, again, sizeof(again));
		ASSERT(m < 0 || ((size_t)m == size && memcmp(again, data, size) == 0));
	}
	n = ref_name_escape((const char *)data, size, out, sizeof(out));
	if (n >= 0) {
		ASSERT(strchr(out, '/') == NULL && out[0] != '.' && out[0] != '\0');
		bool has_nul = memchr(data, 0, size) != NULL;
		int m = ref_name_unescape(out, (size_t)n, again, sizeof(again));
		ASSERT(has_nul || ((size_t)m == size && memcmp(again, data, size) == 0));
	}
	return 0;
}
