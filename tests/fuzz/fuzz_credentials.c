/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "registry/credential_helper.h"
#include "registry/header_field.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const hosts[] = {"ghcr.io", "docker.io", "127.0.0.1:5000"};
	static const enum credentials_form forms[] = {CREDENTIALS_DOCKER, CREDENTIALS_AUTHS,
						      CREDENTIALS_LEGACY};

	struct names lines = {0};
	ASSERT(credentials_parse_headers((const char *)data, size, &lines) == 0);
	ASSERT(lines.n <= HEADER_FIELDS_MAX);
	for (size_t i = 0; i < lines.n; i++)
		ASSERT(!strpbrk(lines.v[i], "\r\n") && strpbrk(lines.v[i], ":;"));
	names_release(&lines);
	for (size_t i = 0; i < ARRAY_LEN(hosts) * ARRAY_LEN(forms); i++)
		(void)credentials_parse_mention((const char *)data, size,
						forms[i / ARRAY_LEN(hosts)],
						hosts[i % ARRAY_LEN(hosts)]);
	for (size_t i = 0; i < ARRAY_LEN(hosts) * ARRAY_LEN(forms); i++) {
		struct credential c = {0};
		char helper[HELPER_NAME_MAX];
		char *basic = NULL;
		int r = credentials_parse((const char *)data, size, forms[i / ARRAY_LEN(hosts)],
					  hosts[i % ARRAY_LEN(hosts)], "ns/repo", &c, helper, NULL);

		ASSERT(helper[0] == '\0' || (r == 1 && helper_name_is_good(helper)));
		if (r <= 0 || helper[0])
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
