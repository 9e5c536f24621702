/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>

/* The file itself, which is a leaf: its library would bring libfuse along. */
#include "fs/cli/config_lines.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = dup_text((const char *)data, size);
	struct config_lines l;
	struct err err = {""};
	unsigned before = 0;
	int rc;

	if (!text)
		return 0;
	config_lines_init(&l, text, size);
	while ((rc = config_lines_next(&l, &err)) > 0) {
		ASSERT(l.number > before && l.key[0] != '\0');
		ASSERT(l.key[strspn(l.key, KEY_BYTES)] == '\0');
		ASSERT(l.key >= text && l.key + strlen(l.key) <= text + size);
		if (l.value)
			ASSERT(l.value > l.key && l.value + strlen(l.value) <= text + size);
		if (l.value)
			ASSERT(is_text(l.value, strlen(l.value)));
		before = l.number;
	}
	ASSERT((rc < 0) == (err.text[0] != '\0'));
	return 0;
}
