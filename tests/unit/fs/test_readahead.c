/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fs/readahead.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

static void a_reader_who_goes_on_has_a_window_that_doubles(void **state)
{
	struct readahead ra = {0};
	uint64_t from, to, ahead = 0, widest = 0;
	unsigned asked = 0;

	(void)state;
	for (uint64_t off = 0; off < 256 * MIB; off += 128 * KIB) {
		if (!readahead_note(&ra, off, 128 * KIB, &from, &to))
			continue;
		/* Nothing is asked for twice, and there is no gap. */
		if (ahead)
			assert_int_equal(from, ahead);
		assert_true(from >= off + 128 * KIB);
		assert_true(to - from >= widest);
		assert_true(to - from <= READAHEAD_MOST);
		widest = to - from;
		ahead = to;
		asked++;
	}
	assert_int_equal(widest, READAHEAD_MOST);
	assert_true(ahead >= 256 * MIB);
	assert_true(asked < 20);
}

static void the_first_read_asks_for_nothing_more(void **state)
{
	struct readahead ra = {0};
	uint64_t from, to;

	(void)state;
	assert_false(readahead_note(&ra, 0, 128 * KIB, &from, &to));
	assert_false(readahead_note(&ra, 128 * KIB, 128 * KIB, &from, &to));
	assert_true(readahead_note(&ra, 256 * KIB, 128 * KIB, &from, &to));
	assert_int_equal(from, 384 * KIB);
	assert_int_equal(to, 384 * KIB + READAHEAD_LEAST);
}

static void who_reads_here_and_there_has_none(void **state)
{
	struct readahead ra = {0};
	uint64_t from, to, place = 1;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		place = place * 6364136223846793005ull + 1442695040888963407ull;
		assert_false(readahead_note(&ra, (place >> 24) % (1ull << 40), 4096, &from, &to));
	}
}

static void several_readers_are_told_apart(void **state)
{
	struct readahead ra = {0};
	uint64_t from, to;
	unsigned asked[READAHEAD_READERS - 1] = {0};

	(void)state;
	for (uint64_t off = 0; off < 16 * MIB; off += 128 * KIB)
		for (unsigned i = 0; i < READAHEAD_READERS - 1; i++)
			if (readahead_note(&ra, i * 1000 * MIB + off, 128 * KIB, &from, &to)) {
				assert_true(from >= i * 1000 * MIB && from < (i + 1) * 1000 * MIB);
				asked[i]++;
			}
	for (unsigned i = 0; i < READAHEAD_READERS - 1; i++)
		assert_true(asked[i] >= 3);
}

static void reads_that_arrive_in_another_order_are_one_reader(void **state)
{
	struct readahead ra = {0};
	uint64_t from, to;
	unsigned asked = 0;

	(void)state;
	asked += readahead_note(&ra, 0, 128 * KIB, &from, &to);
	asked += readahead_note(&ra, 128 * KIB, 128 * KIB, &from, &to);
	for (uint64_t off = 256 * KIB; off < 16 * MIB; off += 256 * KIB) {
		asked += readahead_note(&ra, off + 128 * KIB, 128 * KIB, &from, &to);
		asked += readahead_note(&ra, off, 128 * KIB, &from, &to);
	}
	assert_true(asked >= 3 && asked < 10);
}

static void who_begins_again_elsewhere_begins_small(void **state)
{
	struct readahead ra = {0};
	uint64_t from, to;

	(void)state;
	for (uint64_t off = 0; off < 64 * MIB; off += 128 * KIB)
		(void)readahead_note(&ra, off, 128 * KIB, &from, &to);
	assert_false(readahead_note(&ra, 500 * MIB, 128 * KIB, &from, &to));
	assert_false(readahead_note(&ra, 500 * MIB + 128 * KIB, 128 * KIB, &from, &to));
	assert_true(readahead_note(&ra, 500 * MIB + 256 * KIB, 128 * KIB, &from, &to));
	assert_int_equal(to - from, READAHEAD_LEAST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_reader_who_goes_on_has_a_window_that_doubles),
	    cmocka_unit_test(the_first_read_asks_for_nothing_more),
	    cmocka_unit_test(who_reads_here_and_there_has_none),
	    cmocka_unit_test(several_readers_are_told_apart),
	    cmocka_unit_test(reads_that_arrive_in_another_order_are_one_reader),
	    cmocka_unit_test(who_begins_again_elsewhere_begins_small),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
