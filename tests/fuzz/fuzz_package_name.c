/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "registry/package_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is shown under a name is found by it, and a name is that of one tag. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = dup_text((const char *)data, size);
	char file[PACKAGE_FILE_MAX], tag[TAG_MAX + 1];

	if (!text)
		return 0;
	if (package_tag_file(text, file) == 0) {
		ASSERT(package_file_tag(file, tag) == 0);
		/* A tag with '+' is none: no registry has one. */
		ASSERT(strchr(text, '+') || strcmp(tag, text) == 0);
		ASSERT(!strchr(file, '/') && !strchr(file, '_'));
	}
	if (package_file_tag(text, tag) == 0) {
		ASSERT(reference_is_tag(tag, strlen(tag)));
		ASSERT(package_tag_file(tag, file) == 0 && strcmp(file, text) == 0);
	}
	if (package_is_label((const char *)data, size))
		ASSERT(size > NAME_COMPONENT_MAX ||
		       reference_is_component((const char *)data, size));
	if (package_is_version((const char *)data, size))
		ASSERT(strlen(text) == size);
	return 0;
}
