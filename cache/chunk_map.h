/* SPDX-License-Identifier: Apache-2.0 */
/* chunk_map — which chunks of a blob are here. Layer: cache/; no I/O.
 *
 * A chunk is CHUNK_BYTES at a multiple of that; the last one may be shorter. A bit, once set, stays
 * set, so whoever sees it may read that chunk without a lock.
 *
 * On disk the map stands behind the blob's bytes in the same file, so that one lock, one name and
 * one removal are about both:
 *
 *	0 … size              the bytes; holes where a chunk is missing
 *	chunk_map_at(size)    head: magic, CHUNK_BYTES, size, boot id
 *	+ CHUNK_MAP_HEAD      one bit for each chunk, in words of 64, little end first
 *
 * A bit is written after its chunk, and neither is synced: that holds after a killed process, not
 * after a machine that lost its power. So the map counts in the boot that wrote it only.
 *
 * Threads: chunk_map_set and the questions from any; the rest by one that has it alone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

#define CHUNK_BYTES        (64u << 10)
#define CHUNK_MAP_HEAD     64
#define CHUNK_MAP_BLOB_MAX (1ull << 40) /* of larger blobs no map is kept */
#define CHUNK_MAP_BOOT     16           /* bytes of a boot id */

struct chunk_map;

/* size: 1 … CHUNK_MAP_BLOB_MAX. NULL: no memory, or no such size. */
struct chunk_map *chunk_map_new(uint64_t size);
void chunk_map_free(struct chunk_map *m); /* NULL is fine */

uint64_t chunk_map_count(const struct chunk_map *m); /* of chunks */
uint64_t chunk_map_present(const struct chunk_map *m);
bool chunk_map_has(const struct chunk_map *m, uint64_t n);
/* The first chunk from `from` on that is missing (or is here); the count: none. */
uint64_t chunk_map_missing(const struct chunk_map *m, uint64_t from);
uint64_t chunk_map_here(const struct chunk_map *m, uint64_t from);
/* False: it was set already. */
bool chunk_map_set(struct chunk_map *m, uint64_t n);
/* Where the chunk ends, at the most at the blob's end. */
uint64_t chunk_map_end(const struct chunk_map *m, uint64_t n);

/* On disk. */
uint64_t chunk_map_at(uint64_t size);
size_t chunk_map_len(uint64_t size); /* head and bits */
void chunk_map_head(const struct chunk_map *m, const uint8_t boot[CHUNK_MAP_BOOT],
		    uint8_t out[CHUNK_MAP_HEAD]);
/* The word that holds chunk n, and where it lies behind the head. */
uint64_t chunk_map_word(const struct chunk_map *m, uint64_t n, uint64_t *ret_at);
/* Takes over what stands there; m is empty before. -EINVAL: no map of this blob and this boot,
 * and m is as it was. */
NODISCARD int chunk_map_parse(struct chunk_map *m, const uint8_t boot[CHUNK_MAP_BOOT],
			      const void *data, size_t len);
