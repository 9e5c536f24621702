/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fs/place.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What can be read is written as it was, but for leading zeros. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct place one, two;
	char text[PLACE_MAX];
	char *copy = calloc(1, size + 1);
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (place_parse(copy, &one) == 0) {
		place_format(&one, text);
		int r = place_parse(text, &two);
		ASSERT(r == 0 && strcmp(one.repo, two.repo) == 0 && one.member == two.member &&
		       one.layer == two.layer);
	}
	free(copy);
	return 0;
}
