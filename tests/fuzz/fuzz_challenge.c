/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "registry/challenge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct challenge c;

	challenge_parse((const char *)data, size, &c);
	ASSERT(!c.bearer || c.realm[0] != '\0');
	ASSERT(strlen(c.realm) < sizeof(c.realm) && strlen(c.service) < sizeof(c.service));
	ASSERT(strlen(c.scope) < sizeof(c.scope) && strlen(c.error) < sizeof(c.error));
	/* It becomes a URL and a log line. */
	for (const char *p = c.realm; *p; p++)
		ASSERT((unsigned char)*p >= 0x20);
	return 0;
}
