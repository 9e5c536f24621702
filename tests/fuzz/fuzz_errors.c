/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "base/macros.h"
#include "registry/errors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct registry_error e;

	errors_parse((const char *)data, size, &e);
	ASSERT(strlen(e.code) < sizeof(e.code) && strlen(e.message) < sizeof(e.message));
	for (const char *p = e.message; *p; p++)
		ASSERT((unsigned char)*p >= 0x20 && *p != 0x7f);
	return 0;
}
