/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "registry/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct token t = {0};

	if (token_parse((const char *)data, size, &t, NULL) < 0)
		return 0;
	ASSERT(t.text[0] != '\0' && strpbrk(t.text, "\r\n ") == NULL);
	ASSERT(t.life_ms >= TOKEN_LIFE_MIN_S * 1000 &&
	       t.life_ms <= TOKEN_LIFE_MAX_S * INT64_C(1000));
	token_release(&t);
	return 0;
}
