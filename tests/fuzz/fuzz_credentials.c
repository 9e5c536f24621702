/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "registry/credentials.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const hosts[] = {"ghcr.io", "docker.io", "127.0.0.1:5000"};

	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		struct credential c = {0};
		char *basic = NULL;
		int r = credentials_parse((const char *)data, size, hosts[i], "ns/repo", &c, NULL);

		if (r <= 0)
			continue;
		ASSERT(c.kind != CREDENTIAL_NONE && c.secret && digest_is_set(&c.id));
		if (c.user) {
			ASSERT(credential_basic(&c, &basic) == 0);
			ASSERT(strpbrk(basic, "\r\n") == NULL);
		}
		if (c.kind == CREDENTIAL_BEARER)
			ASSERT(strpbrk(c.secret, "\r\n ") == NULL);
		free(basic);
		credential_release(&c);
	}
	return 0;
}
