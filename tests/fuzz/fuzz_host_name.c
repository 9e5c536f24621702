/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "registry/host_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One host has one spelling without a colon, and it means that host. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char source[HOST_NAME_SIZE], spelt[HOST_NAME_SIZE], again[HOST_NAME_SIZE];
	struct source_spec s, t;
	char *name = malloc(size + 1);

	ASSERT(name != NULL);
	if (size > 0)
		memcpy(name, data, size);
	name[size] = '\0';
	if (host_name_parse(name, source, &s) == 0) {
		ASSERT(s.kind == SOURCE_REGISTRY && s.host[0] && !s.namespace[0]);
		ASSERT(strchr(source, '/') == NULL);
		if (host_name_spell(&s, spelt) == 0) {
			ASSERT(strpbrk(spelt, ":/") == NULL);
			ASSERT(host_name_parse(spelt, source, &t) == 0);
			ASSERT(strcmp(s.host, t.host) == 0 && s.port == t.port);
			ASSERT(s.http == t.http && s.https == t.https);
			ASSERT(host_name_spell(&t, again) == 0 && strcmp(spelt, again) == 0);
		}
	}
	if (host_name_of_origin(name, spelt) == 0)
		ASSERT(host_name_parse(spelt, source, &s) == 0);
	free(name);
	return 0;
}
