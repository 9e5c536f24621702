/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "cache/ref_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted is written again as the same bytes. */
static void try_tag(const char *data, size_t size)
{
	struct tag_record r;
	char line[REF_LINE_MAX];
	if (ref_record_parse_tag(data, size, "v1", &r) < 0)
		return;
	ASSERT(ref_record_format_tag(&r, "v1", line) == (int)size);
	ASSERT(memcmp(line, data, size) == 0);
}

static void try_named(const char *data, size_t size)
{
	struct descriptor d;
	char line[REF_LINE_MAX];
	if (ref_record_parse_named(data, size, &d) < 0)
		return;
	ASSERT(ref_record_format_named(&d, line) == (int)size + 1);
	ASSERT(memcmp(line, data, size) == 0);
}

static void try_listing(const char *data, size_t size)
{
	struct names names = {0};
	int64_t seen = 0;
	if (ref_record_parse_listing(data, size, &names, &seen) < 0)
		return;
	char *text = NULL;
	size_t len = 0;
	ASSERT(seen >= 0 && names.n <= size);
	ASSERT(ref_record_format_listing(&names, seen, &text, &len) == 0);
	ASSERT(len <= size);
	free(text);
	names_release(&names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_tag((const char *)data, size);
	try_named((const char *)data, size);
	try_listing((const char *)data, size);
	return 0;
}
