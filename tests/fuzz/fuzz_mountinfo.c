/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The file itself, which is a leaf: its library would bring libfuse along. */
#include "fs/mountinfo.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *line = malloc(size + 1);
	struct mountinfo_entry e;

	if (!line)
		return 0;
	memcpy(line, data, size);
	line[size] = '\0';
	if (mountinfo_parse(line, &e) == 0)
		ASSERT(e.mountpoint[0] != '\0' || strchr(line, '\\'));
	return 0;
}
