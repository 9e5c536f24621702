/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "cache/account.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct account a;
	char text[ACCOUNT_LEN + 1];
	if (account_parse((const char *)data, size, &a) < 0)
		return 0;
	account_format(&a, text);
	ASSERT(size == ACCOUNT_LEN && memcmp(text, data, size) == 0);
	return 0;
}
