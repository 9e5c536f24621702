/* SPDX-License-Identifier: Apache-2.0 */
/* What memory stands in for while the disk has no room. */
#include "tests/unit/cache/support.h"

#include <errno.h>

#include "cache/store_impl.h"

#define LEN 100000u
#define MEM (4u << 20)

static int make_small_store(void **state)
{
	int rc = make_root(state);
	if (rc < 0)
		return rc;
	(void)open_store(*state, 10 * LEN, MEM);
	settle(*state); /* its first tick would move what the test puts there */
	return 0;
}

static void put_goes_to_memory_too(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	f->store->space.floor = UINT64_MAX / 2;
	assert_int_equal(store_put(f->store, &d, data, LEN, &b, &f->err), 0);
	assert_bytes(b, LEN, 1);
	blob_unref(b);
	assert_int_equal(disk_use(f), 0);
	f->store->memory_budget = LEN / 2;
	store_drop(f->store, &d);
	assert_int_equal(store_put(f->store, &d, data, LEN, &b, &f->err), -ENOSPC);
}

static struct blob *put_bytes(struct fixture *f, unsigned seed, size_t len, struct digest *ret)
{
	struct blob *b = NULL;
	AUTO_FREE char *data = make_bytes(len, seed, ret);
	assert_int_equal(store_put(f->store, ret, data, len, &b, &f->err), 0);
	return b;
}

static void what_memory_stood_in_for_goes_to_disk(void **state)
{
	struct fixture *f = *state;
	struct store_usage u;
	struct digest d[3], empty;
	struct blob *b;
	uint64_t floor = f->store->space.floor;
	f->store->space.floor = UINT64_MAX / 2;
	for (unsigned i = 0; i < 3; i++) {
		b = put_bytes(f, i, LEN / 4, &d[i]);
		if (i > 0)
			blob_unref(b);
	}
	blob_unref(put_bytes(f, 3, 0, &empty));
	b = NULL;
	put_settle(f->store);
	store_usage(f->store, &u);
	assert_int_equal(u.memory_bytes, 3 * (LEN / 4)); /* no room yet */

	f->store->space.floor = floor;
	put_settle(f->store);
	store_usage(f->store, &u);
	assert_int_equal(u.memory_bytes, LEN / 4); /* somebody has the first */
	for (unsigned i = 1; i < 3; i++) {
		assert_int_equal(store_get(f->store, &d[i], &b, &f->err), 0);
		assert_true(b->state == BLOB_DISK);
		assert_bytes(b, LEN / 4, i);
		blob_unref(b);
	}
	assert_int_equal(store_get(f->store, &empty, &b, &f->err), 0);
	assert_true(b->state == BLOB_DISK && blob_size(b) == 0);
	blob_unref(b);
	assert_int_equal(store_get(f->store, &d[0], &b, &f->err), 0);
	assert_true(b->state == BLOB_MEMORY);
	blob_unref(b);
	blob_unref(b); /* the reference of store_put */
	put_settle(f->store);
	store_usage(f->store, &u);
	assert_int_equal(u.memory_bytes, 0);
}

/* Small ones would use up the descriptors long before the bytes. */
static void blobs_in_memory_are_not_without_number(void **state)
{
	struct fixture *f = *state;
	f->store->space.floor = UINT64_MAX / 2;
	for (unsigned i = 0; i < f->store->idle_memory_max + 50; i++) {
		struct digest d;
		struct blob *b = NULL;
		AUTO_FREE char *data = make_bytes(8, i, &d);
		assert_int_equal(store_put(f->store, &d, data, 8, &b, &f->err), 0);
		blob_unref(b);
	}
	struct store_usage u;
	store_usage(f->store, &u);
	assert_int_equal(u.memory_bytes, f->store->idle_memory_max * 8);
}

#define WITH_SMALL(t) cmocka_unit_test_setup_teardown(t, make_small_store, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_SMALL(put_goes_to_memory_too),
	    WITH_SMALL(what_memory_stood_in_for_goes_to_disk),
	    WITH_SMALL(blobs_in_memory_are_not_without_number),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
