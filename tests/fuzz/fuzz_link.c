/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "registry/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Wherever a link leads, it leads to our own origin. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct url page = {0}, next = {0};
	char *target = NULL;

	if (link_next((const char *)data, size, &target) != 1)
		return 0;
	ASSERT(url_parse("https://registry.example/v2/x/tags/list?n=1", &page) == 0);
	if (link_resolve(&page, target, &next) == 0) {
		ASSERT(url_same_origin(&page, &next));
		ASSERT(next.target[0] == '/');
		for (const char *p = next.text; *p; p++)
			ASSERT((unsigned char)*p > 0x20 && (unsigned char)*p < 0x7f);
		url_release(&next);
	}
	url_release(&page);
	free(target);
	return 0;
}
