/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cache/chunks.h"
#include "tests/unit/cache/support.h"

#define SIZE  (5 * (size_t)CHUNK_BYTES + 123)
#define COUNT 6u

static struct chunks *open_chunks(struct fixture *f, const struct digest *d)
{
	struct chunks *c = NULL;
	int rc = store_chunks(f->store, d, SIZE, &f->call, &c, &f->err);
	if (rc < 0)
		fail_msg("%d: %s", rc, f->err.text);
	return c;
}

static void put(struct fixture *f, struct chunks *c, const char *bytes, uint64_t n)
{
	uint64_t from = n * CHUNK_BYTES, end = chunk_map_end(chunks_map(c), n);
	assert_int_equal(chunks_write(c, bytes + from, end - from, from, &f->err), 0);
	assert_int_equal(chunks_done(c, n, &f->err), 0);
}

static void hash_all(struct fixture *f, struct chunks *c)
{
	int rc;
	while ((rc = chunks_hash(c, &f->err)) > 0)
		;
	assert_int_equal(rc, 0);
}

static void it_arrives_in_any_order(void **state)
{
	static const uint64_t order[COUNT] = {5, 2, 0, 4, 1, 3};
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	char *bytes = make_bytes(SIZE, 1, &d), *got = malloc(SIZE);
	struct chunks *c = open_chunks(f, &d);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_false(chunks_hashed(c));
		assert_false(store_has(f->store, &d, NULL));
		put(f, c, bytes, order[i]);
		hash_all(f, c);
	}
	assert_true(chunks_hashed(c));
	assert_int_equal(chunks_commit(c, &b, &f->err), 0);
	assert_bytes(b, SIZE, 1);
	/* Who reads still may go on. */
	assert_int_equal(file_pread_full(chunks_fd(c), got, SIZE, 0), SIZE);
	assert_memory_equal(got, bytes, SIZE);
	chunks_free(c);
	blob_unref(b);
	reopen_store(f);
	assert_true(store_has(f->store, &d, NULL));
	assert_int_equal(count_files(f, "partial"), 0);
	struct stat st;
	assert_int_equal(stat(blob_file(f, &d), &st), 0);
	assert_int_equal(st.st_size, SIZE);
	free(bytes);
	free(got);
}

static void what_was_closed_is_continued(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	char *bytes = make_bytes(SIZE, 2, &d);
	struct chunks *c = open_chunks(f, &d);
	put(f, c, bytes, 1);
	put(f, c, bytes, 4);
	chunks_close(c);
	chunks_free(c);
	reopen_store(f);
	assert_true(used_bytes(f) >= 2 * CHUNK_BYTES);
	c = open_chunks(f, &d);
	assert_int_equal(chunk_map_present(chunks_map(c)), 2);
	assert_true(chunk_map_has(chunks_map(c), 1) && chunk_map_has(chunks_map(c), 4));
	for (uint64_t n = 0; n < COUNT; n++)
		if (!chunk_map_has(chunks_map(c), n))
			put(f, c, bytes, n);
	hash_all(f, c);
	assert_int_equal(chunks_commit(c, &b, &f->err), 0);
	assert_bytes(b, SIZE, 2);
	chunks_free(c);
	blob_unref(b);
	free(bytes);
}

static void what_does_not_match_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	char *bytes = make_bytes(SIZE, 3, &d);
	struct chunks *c = open_chunks(f, &d);
	bytes[SIZE - 1] ^= 1;
	for (uint64_t n = 0; n < COUNT; n++)
		put(f, c, bytes, n);
	hash_all(f, c);
	assert_int_equal(chunks_commit(c, &b, &f->err), -EBADMSG);
	assert_null(b);
	chunks_free(c);
	assert_int_equal(count_files(f, "partial"), 0);
	assert_int_equal(used_bytes(f), 0);
	free(bytes);
}

/* A whole fetch has no use for holes, and the other way round there is no map. */
static void the_two_kinds_of_partials_begin_anew(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	char *bytes = make_bytes(SIZE, 4, &d);
	struct chunks *c = open_chunks(f, &d);
	put(f, c, bytes, 0);
	chunks_close(c);
	chunks_free(c);
	struct partial *p = begin(f, &d, SIZE);
	assert_int_equal(partial_have(p), 0);
	assert_int_equal(partial_write(p, bytes, CHUNK_BYTES, &f->err), 0);
	partial_close(p);
	c = open_chunks(f, &d);
	assert_int_equal(chunk_map_present(chunks_map(c)), 0);
	chunks_drop(c);
	chunks_free(c);
	assert_int_equal(count_files(f, "partial"), 0);
	free(bytes);
}

static void a_map_that_was_changed_counts_for_nothing(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	char *bytes = make_bytes(SIZE, 5, &d);
	struct chunks *c = open_chunks(f, &d);
	put(f, c, bytes, 0);
	chunks_close(c);
	chunks_free(c);
	int fd = open(partial_file(f, &d, SIZE), O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "x", 1, (off_t)chunk_map_at(SIZE) + 33), 1);
	close(fd);
	c = open_chunks(f, &d);
	assert_int_equal(chunk_map_present(chunks_map(c)), 0);
	chunks_close(c);
	chunks_free(c);
	assert_int_equal(count_files(f, "partial"), 0); /* nothing worth keeping */
	free(bytes);
}

static void what_is_there_already_is_said(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct chunks *c = NULL;
	fetch(f, SIZE, 6, &d);
	assert_int_equal(store_chunks(f->store, &d, SIZE, &f->call, &c, &f->err), -EEXIST);
	assert_null(c);
}

static void what_can_never_fit_is_refused(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct chunks *c = NULL;
	free(make_bytes(10, 7, &d));
	assert_int_equal(store_chunks(f->store, &d, CHUNK_MAP_BLOB_MAX + 1, &f->call, &c, &f->err),
			 -EFBIG);
	assert_null(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(it_arrives_in_any_order, make_store, remove_root),
	    cmocka_unit_test_setup_teardown(what_was_closed_is_continued, make_store, remove_root),
	    cmocka_unit_test_setup_teardown(what_does_not_match_is_dropped, make_store,
					    remove_root),
	    cmocka_unit_test_setup_teardown(the_two_kinds_of_partials_begin_anew, make_store,
					    remove_root),
	    cmocka_unit_test_setup_teardown(a_map_that_was_changed_counts_for_nothing, make_store,
					    remove_root),
	    cmocka_unit_test_setup_teardown(what_is_there_already_is_said, make_store, remove_root),
	    cmocka_unit_test_setup_teardown(what_can_never_fit_is_refused, make_store, remove_root),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
