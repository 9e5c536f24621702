/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "registry/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_host(const char *host)
{
	ASSERT(host[0] != '\0' && host[0] != '.');
	for (; *host != '\0'; host++) {
		ASSERT(*host > ' ' && *host < 0x7f && strchr("/@?#[]\\%\"", *host) == NULL);
		ASSERT(*host < 'A' || *host > 'Z');
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct source_spec s = {0};
	struct err err = {""};
	char *spec = malloc(size + 1);

	ASSERT(spec != NULL);
	if (size > 0)
		memcpy(spec, data, size);
	spec[size] = '\0';
	if (reference_parse_source(spec, &s, &err) < 0) {
		ASSERT(err.text[0] != '\0' && s.host[0] == '\0');
	} else if (s.kind == SOURCE_LAYOUT) {
		ASSERT(s.directory[0] == '/');
	} else {
		check_host(s.host);
		ASSERT(s.https || s.http);
		ASSERT(s.port <= 65535);
		size_t len = strlen(s.namespace);
		ASSERT(len == 0 || reference_is_repository(s.namespace, len));
	}
	free(spec);
	return 0;
}
