/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/chunk_map.h"
#include "tests/unit/cache/support.h"

static const uint8_t boot[CHUNK_MAP_BOOT] = {1, 2, 3};

/* As on disk. */
static uint8_t *image_of(const struct chunk_map *m, uint64_t size, size_t *ret_len)
{
	size_t len = chunk_map_len(size);
	uint8_t *data = calloc(1, len);
	assert_non_null(data);
	chunk_map_head(m, boot, data);
	for (uint64_t n = 0; n < chunk_map_count(m); n++) {
		uint64_t at, word = chunk_map_word(m, n, &at);
		memcpy(data + CHUNK_MAP_HEAD + at, &word, sizeof(word));
	}
	*ret_len = len;
	return data;
}

static void sizes_and_ends(void **state)
{
	(void)state;
	assert_null(chunk_map_new(0));
	assert_null(chunk_map_new(CHUNK_MAP_BLOB_MAX + 1));
	struct chunk_map *m = chunk_map_new(2 * CHUNK_BYTES + 1);
	assert_int_equal(chunk_map_count(m), 3);
	assert_int_equal(chunk_map_end(m, 0), CHUNK_BYTES);
	assert_int_equal(chunk_map_end(m, 2), 2 * CHUNK_BYTES + 1);
	assert_int_equal(chunk_map_at(2 * CHUNK_BYTES + 1) % 4096, 0);
	assert_true(chunk_map_at(2 * CHUNK_BYTES + 1) > 2 * CHUNK_BYTES);
	assert_false(chunk_map_has(m, 3));
	assert_false(chunk_map_set(m, 3));
	chunk_map_free(m);
}

static void what_is_here_and_what_is_not(void **state)
{
	uint64_t size = 200 * (uint64_t)CHUNK_BYTES;
	struct chunk_map *m = chunk_map_new(size);
	(void)state;
	assert_int_equal(chunk_map_here(m, 0), 200);
	assert_int_equal(chunk_map_missing(m, 0), 0);
	for (uint64_t n = 60; n < 130; n++)
		assert_true(chunk_map_set(m, n));
	assert_false(chunk_map_set(m, 64));
	assert_int_equal(chunk_map_present(m), 70);
	assert_int_equal(chunk_map_here(m, 0), 60);
	assert_int_equal(chunk_map_missing(m, 60), 130);
	assert_int_equal(chunk_map_here(m, 130), 200);
	assert_int_equal(chunk_map_missing(m, 200), 200);
	for (uint64_t n = 0; n < 200; n++)
		(void)chunk_map_set(m, n);
	assert_int_equal(chunk_map_present(m), 200);
	assert_int_equal(chunk_map_missing(m, 0), 200);
	chunk_map_free(m);
}

static void it_is_read_as_it_was_written(void **state)
{
	uint64_t size = 130 * (uint64_t)CHUNK_BYTES - 7;
	struct chunk_map *m = chunk_map_new(size), *again = chunk_map_new(size);
	size_t len;
	(void)state;
	for (uint64_t n = 0; n < 130; n += 3)
		assert_true(chunk_map_set(m, n));
	uint8_t *data = image_of(m, size, &len);
	assert_int_equal(chunk_map_parse(again, boot, data, len), 0);
	assert_int_equal(chunk_map_present(again), chunk_map_present(m));
	for (uint64_t n = 0; n < 130; n++)
		assert_int_equal(chunk_map_has(again, n), n % 3 == 0);
	free(data);
	chunk_map_free(m);
	chunk_map_free(again);
}

static void what_is_no_map_is_refused(void **state)
{
	static const uint8_t other[CHUNK_MAP_BOOT] = {1, 2, 4};
	uint64_t size = 130 * (uint64_t)CHUNK_BYTES;
	struct chunk_map *m = chunk_map_new(size), *longer = chunk_map_new(size + 1);
	size_t len;
	(void)state;
	uint8_t *data = image_of(m, size, &len);
	assert_int_equal(chunk_map_parse(m, boot, data, len - 1), -EINVAL);
	assert_int_equal(chunk_map_parse(m, other, data, len), -EINVAL);
	assert_int_equal(chunk_map_parse(longer, boot, data, len), -EINVAL);
	for (size_t i = 0; i < CHUNK_MAP_HEAD; i++) {
		data[i] ^= 1;
		assert_int_equal(chunk_map_parse(m, boot, data, len), -EINVAL);
		data[i] ^= 1;
	}
	/* A chunk behind the last one. */
	data[len - 1] = 0x80;
	assert_int_equal(chunk_map_parse(m, boot, data, len), -EINVAL);
	assert_int_equal(chunk_map_present(m), 0);
	free(data);
	chunk_map_free(m);
	chunk_map_free(longer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sizes_and_ends),
	    cmocka_unit_test(what_is_here_and_what_is_not),
	    cmocka_unit_test(it_is_read_as_it_was_written),
	    cmocka_unit_test(what_is_no_map_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
