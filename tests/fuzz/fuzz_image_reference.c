/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "registry/image_reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image_reference r;
	struct source_spec again;
	struct err err = {""};
	char *s = malloc(size + 1);

	ASSERT(s != NULL);
	memcpy(s, data, size);
	s[size] = '\0';
	int rc = image_reference_parse(s, &r, &err);
	free(s);
	if (rc < 0) {
		ASSERT((rc == -EINVAL || rc == -EOPNOTSUPP) && err.text[0] != '\0');
		return 0;
	}
	ASSERT(reference_is_repository(r.path, strlen(r.path)));
	ASSERT((r.tag[0] != '\0') != digest_is_set(&r.digest));
	ASSERT(r.tag[0] == '\0' || reference_is_tag(r.tag, strlen(r.tag)));
	ASSERT(reference_parse_source(r.source, &again, &err) == 0);
	ASSERT(again.kind == SOURCE_REGISTRY && strcmp(again.host, r.spec.host) == 0);
	return 0;
}
