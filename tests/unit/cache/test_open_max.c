/* SPDX-License-Identifier: Apache-2.0 */
/* How many blobs are open at once. */
#include "tests/unit/cache/support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cache/store_impl.h"

#define LEN 1000u
#define MAX 8u

static int make_small_store(void **state)
{
	int rc = make_root(state);
	if (rc < 0)
		return rc;
	struct fixture *f = *state;
	struct store_options o = {.dir = f->dir, .limit = 1 << 30, .floor = 1, .open_max = MAX};
	assert_int_equal(store_open(&o, &f->store, &f->err), 0);
	settle(f);
	return 0;
}

static uint64_t open_blobs(struct fixture *f)
{
	struct store_usage u;
	settle(f); /* what nobody has is closed in the background */
	store_usage(f->store, &u);
	assert_int_equal(u.open_max, MAX);
	return u.open;
}

static void open_many(struct fixture *f, unsigned from, unsigned n, struct blob **ret)
{
	struct digest d;
	for (unsigned i = 0; i < n; i++) {
		fetch(f, LEN, from + i, &d);
		assert_int_equal(store_verify(f->store, &d, &f->call, &ret[i], &f->err), 0);
	}
}

static void no_more_are_open_than_may_be(void **state)
{
	struct fixture *f = *state;
	struct blob *held[MAX];
	struct digest cached, other;
	struct partial *p = NULL;
	struct blob *b = NULL;
	fetch(f, LEN, 100, &cached);
	open_many(f, 0, MAX, held);
	assert_int_equal(open_blobs(f), MAX);

	assert_int_equal(store_get(f->store, &cached, &b, &f->err), -EAGAIN);
	assert_int_equal(store_verify(f->store, &cached, &f->call, &b, &f->err), -EMFILE);
	assert_non_null(strstr(f->err.text, "8 files are open"));
	assert_non_null(strstr(f->err.text, "LimitNOFILE="));
	assert_int_equal(store_verify(f->store, &cached, &f->call, &b, &f->err), -EMFILE);
	free(make_bytes(LEN, 101, &other));
	assert_int_equal(store_partial(f->store, &other, LEN, &f->call, &p, &f->err), -EMFILE);
	assert_true(store_has(f->store, &cached, NULL)); /* refused, and not absent */
	/* What is open stays so, and is one however often it is opened. */
	assert_int_equal(store_get(f->store, blob_digest(held[0]), &b, &f->err), 0);
	assert_bytes(b, LEN, 0);
	blob_unref(b);

	blob_unref(held[0]);
	assert_int_equal(store_verify(f->store, &cached, &f->call, &b, &f->err), 0);
	assert_bytes(b, LEN, 100);
	blob_unref(b);
	for (unsigned i = 1; i < MAX; i++)
		blob_unref(held[i]);
	blobs_close_idle(f->store);
	assert_int_equal(open_blobs(f), 0);
}

static void what_nobody_has_makes_room(void **state)
{
	struct fixture *f = *state;
	for (unsigned round = 0; round < 5; round++) {
		struct blob *held[MAX];
		open_many(f, round * MAX, MAX, held);
		for (unsigned i = 0; i < MAX; i++)
			blob_unref(held[i]);
		assert_true(open_blobs(f) <= MAX);
	}
}

static void what_is_put_has_a_little_more(void **state)
{
	struct fixture *f = *state;
	struct blob *held[MAX], *more[MAX / 4], *b = NULL;
	open_many(f, 0, MAX, held);
	for (unsigned i = 0; i < MAX / 4; i++) {
		struct digest d;
		AUTO_FREE char *data = make_bytes(LEN, 200 + i, &d);
		assert_int_equal(store_put(f->store, &d, data, LEN, &more[i], &f->err), 0);
	}
	struct digest d;
	AUTO_FREE char *data = make_bytes(LEN, 300, &d);
	assert_int_equal(store_put(f->store, &d, data, LEN, &b, &f->err), -EMFILE);
	for (unsigned i = 0; i < MAX / 4; i++)
		blob_unref(more[i]);
	for (unsigned i = 0; i < MAX; i++)
		blob_unref(held[i]);
}

static void blobs_in_memory_make_room_too(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	f->store->space.floor = UINT64_MAX / 2;
	for (unsigned i = 0; i < 3 * MAX; i++) {
		AUTO_FREE char *data = make_bytes(LEN, i, &d);
		assert_int_equal(store_put(f->store, &d, data, LEN, &b, &f->err), 0);
		blob_unref(b);
		assert_true(open_blobs(f) <= MAX / 2);
	}
}

static void dropped_ones_count_while_they_are_open(void **state)
{
	struct fixture *f = *state;
	struct blob *held[MAX], *b = NULL;
	struct digest d;
	open_many(f, 0, MAX, held);
	store_drop(f->store, blob_digest(held[0]));
	free(make_bytes(LEN, 400, &d));
	assert_int_equal(open_blobs(f), MAX);
	struct partial *p = NULL;
	assert_int_equal(store_partial(f->store, &d, LEN, &f->call, &p, &f->err), -EMFILE);
	blob_unref(held[0]);
	assert_int_equal(open_blobs(f), MAX - 1);
	fetch(f, LEN, 400, &d);
	assert_int_equal(store_verify(f->store, &d, &f->call, &b, &f->err), 0);
	blob_unref(b);
	for (unsigned i = 1; i < MAX; i++)
		blob_unref(held[i]);
}

static void half_of_what_the_process_may_have(void **state)
{
	struct fixture *f = *state;
	struct rlimit files;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	(void)open_store(f, 1 << 30, 0);
	assert_int_equal(f->store->open_max, files.rlim_cur / 2);
	assert_true(f->store->idle_memory_max <= f->store->open_max / 2);
}

#define WITH_SMALL(t) cmocka_unit_test_setup_teardown(t, make_small_store, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_SMALL(no_more_are_open_than_may_be),
	    WITH_SMALL(what_nobody_has_makes_room),
	    WITH_SMALL(what_is_put_has_a_little_more),
	    WITH_SMALL(blobs_in_memory_make_room_too),
	    WITH_SMALL(dropped_ones_count_while_they_are_open),
	    cmocka_unit_test_setup_teardown(half_of_what_the_process_may_have, make_root,
					    remove_root),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
