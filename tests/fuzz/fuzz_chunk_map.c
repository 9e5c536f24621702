/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "cache/chunk_map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The size of the blob goes first. What is accepted is written again as the same bits. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t boot[CHUNK_MAP_BOOT] = "0123456789abcde";
	uint32_t blob;
	if (size < sizeof(blob))
		return 0;
	memcpy(&blob, data, sizeof(blob));
	data += sizeof(blob);
	size -= sizeof(blob);
	struct chunk_map *m = chunk_map_new(blob);
	if (!m)
		return 0;
	if (chunk_map_parse(m, boot, data, size) == 0) {
		uint64_t here = 0;
		for (uint64_t n = 0; n < chunk_map_count(m); n++) {
			uint64_t at, word = chunk_map_word(m, n, &at);
			ASSERT(memcmp(data + CHUNK_MAP_HEAD + at, &word, sizeof(word)) == 0);
			here += chunk_map_has(m, n);
		}
		ASSERT(here == chunk_map_present(m));
	} else {
		ASSERT(chunk_map_present(m) == 0);
	}
	ASSERT(chunk_map_missing(m, 0) <= chunk_map_count(m));
	chunk_map_free(m);
	return 0;
}
