/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cache/support.h"

#include <errno.h>
#include <string.h>

#include "cache/partial_impl.h"

#define LEN    300000u
#define MIB    (1u << 20)
#define BUDGET (2u * MIB)

static const struct digest any = {.alg = DIGEST_SHA256};

static struct partial *begin_unsized(struct fixture *f, const struct digest *d)
{
	struct partial *p = NULL;
	assert_int_equal(store_unsized(f->store, d, &p, &f->err), 0);
	return p;
}

/* In pieces that no reservation ends at. */
static int write_all(struct fixture *f, struct partial *p, const char *data, size_t len)
{
	int rc = 0;
	for (size_t at = 0, piece; rc == 0 && at < len; at += piece) {
		piece = len - at < 77777 ? len - at : 77777;
		rc = partial_write(p, data + at, piece, &f->err);
	}
	return rc;
}

static void digest_is_found_out(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	struct partial *p = begin_unsized(f, &any);
	assert_int_equal(write_all(f, p, data, LEN), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	assert_true(digest_equal(blob_digest(b), &d));
	assert_bytes(b, LEN, 1);
	blob_unref(b);
	settle(f);
	assert_int_equal(count_files(f, "partial"), 0);
	assert_int_equal(used_bytes(f), disk_use(f));
	assert_int_equal(store_get(f->store, &d, &b, &f->err), 0);
	blob_unref(b);
}

static void nothing_is_a_blob_too(void **state)
{
	struct fixture *f = *state;
	struct blob *b = NULL;
	assert_int_equal(partial_commit(begin_unsized(f, &any), &b, &f->err), 0);
	assert_int_equal(blob_size(b), 0);
	blob_unref(b);
}

static void other_bytes_than_expected_are_ebadmsg(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	struct partial *p = begin_unsized(f, &d);
	assert_int_equal(write_all(f, p, data, LEN - 1), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), -EBADMSG);
	settle(f);
	assert_int_equal(count_files(f, "partial"), 0);
	assert_int_equal(count_files(f, "blobs/sha256"), 0);
	assert_int_equal(used_bytes(f), 0);
}

static void nothing_is_kept_of_one_that_is_given_up(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	struct partial *p = begin_unsized(f, &any);
	assert_int_equal(write_all(f, p, data, LEN), 0);
	partial_close(p);
	settle(f);
	assert_int_equal(count_files(f, "partial"), 0);
	assert_int_equal(used_bytes(f), 0);
}

/* The reservation runs ahead of the bytes, but not beyond the cap. */
static void all_of_the_cap_can_be_used(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	close_store(f);
	(void)open_store(f, 8 * MIB, BUDGET);
	AUTO_FREE char *data = make_bytes(8 * MIB + 1, 1, &d);
	struct partial *p = begin_unsized(f, &any);
	assert_int_equal(write_all(f, p, data, 8 * MIB), 0);
	assert_int_equal(partial_write(p, data, 1, &f->err), -EFBIG);
	assert_non_null(strstr(f->err.text, "more than the cache may hold"));
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	blob_unref(b);
	settle(f);
	assert_int_equal(used_bytes(f), disk_use(f));
}

static int full_disk(int fd, struct statvfs *fs)
{
	int rc = fstatvfs(fd, fs);
	fs->f_bavail = 0;
	return rc;
}

static void full_disk_sends_it_to_memory(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	close_store(f);
	(void)open_store(f, 1u << 30, BUDGET);
	f->store->space.ask_disk = full_disk;
	AUTO_FREE char *data = make_bytes(BUDGET + 1, 1, &d);
	struct partial *p = begin_unsized(f, &any);
	assert_int_equal(write_all(f, p, data, MIB), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	assert_bytes(b, MIB, 1);
	d = *blob_digest(b);
	blob_unref(b);
	store_drop(f->store, &d);
	assert_int_equal(f->store->memory_bytes, 0);

	p = begin_unsized(f, &any);
	assert_int_equal(write_all(f, p, data, BUDGET + 1), -ENOSPC);
	partial_close(p);
	assert_int_equal(f->store->memory_bytes, 0);
	settle(f);
	assert_int_equal(count_files(f, "partial"), 0);
}

#define WITH_STORE(t) cmocka_unit_test_setup_teardown(t, make_store, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_STORE(digest_is_found_out),
	    WITH_STORE(nothing_is_a_blob_too),
	    WITH_STORE(other_bytes_than_expected_are_ebadmsg),
	    WITH_STORE(nothing_is_kept_of_one_that_is_given_up),
	    WITH_STORE(all_of_the_cap_can_be_used),
	    WITH_STORE(full_disk_sends_it_to_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
