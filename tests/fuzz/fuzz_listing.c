/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "registry/listing.h"
#include "registry/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct names names = {0};
	struct listing_page page;

	if (listing_parse((const char *)data, size, "tags", reference_is_tag, 100, &names, &page,
			  NULL) == 0)
		ASSERT(page.last[0] == '\0' || names.n > 0);
	ASSERT(names.n <= 100);
	for (size_t i = 0; i < names.n; i++)
		ASSERT(reference_is_tag(names.v[i], strlen(names.v[i])));
	names_release(&names);
	return 0;
}
