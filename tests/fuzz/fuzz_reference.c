/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "registry/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *s = (const char *)data;
	struct entry_reference r;

	if (reference_is_component(s, size)) {
		ASSERT(size <= NAME_COMPONENT_MAX && reference_is_repository(s, size));
		ASSERT(s[0] != '.' && memchr(s, '/', size) == NULL &&
		       memchr(s, '\0', size) == NULL);
	}
	if (reference_is_repository(s, size))
		ASSERT(memchr(s, ':', size) == NULL && s[0] != '/' && s[size - 1] != '/');
	if (reference_is_referrer_tag(s, size))
		ASSERT(reference_is_tag(s, size));
	if (reference_parse_entry(s, size, &r) < 0)
		return 0;
	ASSERT(reference_is_component(s, r.name_len) && r.name_len < size);
	ASSERT(r.tag[0] != '\0' || digest_is_set(&r.digest));
	ASSERT(r.tag[0] == '\0' || reference_is_tag(r.tag, strlen(r.tag)));
	return 0;
}
