/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/chunk_map.h"

#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN 4096u

struct chunk_map {
	uint64_t size, count, words;
	_Atomic uint64_t present;
	_Atomic uint64_t bits[];
};

struct head {
	char magic[16];
	uint64_t chunk_bytes, size; /* little end first */
	uint8_t boot[CHUNK_MAP_BOOT];
	uint8_t unused[16];
};
_Static_assert(sizeof(struct head) == CHUNK_MAP_HEAD, "the head");

static const char magic[16] = "wasmocifs-map-1";

static uint64_t words_of(uint64_t size)
{
	uint64_t count = (size + CHUNK_BYTES - 1) / CHUNK_BYTES;
	return (count + 63) / 64;
}

struct chunk_map *chunk_map_new(uint64_t size)
{
	if (size == 0 || size > CHUNK_MAP_BLOB_MAX)
		return NULL;
	uint64_t words = words_of(size);
	struct chunk_map *m = calloc(1, sizeof(*m) + words * sizeof(m->bits[0]));
	if (!m)
		return NULL;
	m->size = size;
	m->count = (size + CHUNK_BYTES - 1) / CHUNK_BYTES;
	m->words = words;
	return m;
}

void chunk_map_free(struct chunk_map *m)
{
	free(m);
}

uint64_t chunk_map_count(const struct chunk_map *m)
{
	return m->count;
}

uint64_t chunk_map_present(const struct chunk_map *m)
{
	return atomic_load(&m->present);
}

bool chunk_map_has(const struct chunk_map *m, uint64_t n)
{
	return n < m->count && (atomic_load(&m->bits[n / 64]) >> n % 64 & 1) != 0;
}

/* The first one from `from` on whose bit, or with `flip` its opposite, is set. */
static uint64_t find(const struct chunk_map *m, uint64_t from, uint64_t flip)
{
	for (uint64_t i = from / 64; i < m->words; i++) {
		uint64_t word = atomic_load(&m->bits[i]) ^ flip;
		if (i == from / 64)
			word &= UINT64_MAX << from % 64;
		if (word == 0)
			continue;
		uint64_t n = i * 64 + (uint64_t)__builtin_ctzll(word);
		return n < m->count ? n : m->count;
	}
	return m->count;
}

uint64_t chunk_map_missing(const struct chunk_map *m, uint64_t from)
{
	return find(m, from, UINT64_MAX);
}

uint64_t chunk_map_here(const struct chunk_map *m, uint64_t from)
{
	return find(m, from, 0);
}

bool chunk_map_set(struct chunk_map *m, uint64_t n)
{
	uint64_t bit = UINT64_C(1) << n % 64;
	if (n >= m->count || (atomic_fetch_or(&m->bits[n / 64], bit) & bit) != 0)
		return false;
	atomic_fetch_add(&m->present, 1);
	return true;
}

uint64_t chunk_map_end(const struct chunk_map *m, uint64_t n)
{
	return n + 1 < m->count ? (n + 1) * CHUNK_BYTES : m->size;
}

uint64_t chunk_map_at(uint64_t size)
{
	return (size + ALIGN - 1) / ALIGN * ALIGN;
}

size_t chunk_map_len(uint64_t size)
{
	return CHUNK_MAP_HEAD + (size_t)words_of(size) * sizeof(uint64_t);
}

void chunk_map_head(const struct chunk_map *m, const uint8_t boot[CHUNK_MAP_BOOT],
		    uint8_t out[CHUNK_MAP_HEAD])
{
	struct head head = {.chunk_bytes = htole64(CHUNK_BYTES), .size = htole64(m->size)};
	memcpy(head.magic, magic, sizeof(magic));
	memcpy(head.boot, boot, CHUNK_MAP_BOOT);
	memcpy(out, &head, sizeof(head));
}

uint64_t chunk_map_word(const struct chunk_map *m, uint64_t n, uint64_t *ret_at)
{
	*ret_at = n / 64 * sizeof(uint64_t);
	return htole64(atomic_load(&m->bits[n / 64]));
}

int chunk_map_parse(struct chunk_map *m, const uint8_t boot[CHUNK_MAP_BOOT], const void *data,
		    size_t len)
{
	const uint8_t *bits = (const uint8_t *)data + CHUNK_MAP_HEAD;
	uint8_t head[CHUNK_MAP_HEAD];
	uint64_t word, present = 0;
	chunk_map_head(m, boot, head);
	if (len != chunk_map_len(m->size) || memcmp(head, data, sizeof(head)) != 0)
		return -EINVAL;
	/* None behind the last one. */
	memcpy(&word, bits + (m->words - 1) * sizeof(word), sizeof(word));
	if (m->count % 64 != 0 && le64toh(word) >> m->count % 64 != 0)
		return -EINVAL;
	for (uint64_t i = 0; i < m->words; i++) {
		memcpy(&word, bits + i * sizeof(word), sizeof(word));
		atomic_store(&m->bits[i], le64toh(word));
		present += (uint64_t)__builtin_popcountll(word);
	}
	atomic_store(&m->present, present);
	return 0;
}
