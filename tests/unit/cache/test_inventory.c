/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cache/support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "cache/inventory.h"
#include "cache/pins.h"
#include "cache/store_impl.h"

#define MIB (1u << 20)

static const char *pin_file(const struct fixture *f, const struct digest *d)
{
	static char path[256];
	char hex[DIGEST_HEX_MAX];
	digest_hex(d, hex);
	snprintf(path, sizeof(path), "%s/pins/%s/%s", f->dir, digest_alg_name(d), hex);
	return path;
}

static struct inventory look(struct fixture *f)
{
	struct inventory v;
	assert_int_equal(inventory_read(f->store, &v, &f->err), 0);
	return v;
}

static void test_what_is_there(void **state)
{
	struct fixture *f = *state;
	struct digest d[3];
	struct blob *b = NULL;
	for (unsigned i = 0; i < 3; i++)
		fetch(f, 1000 + i, i, &d[i]);
	reopen_store(f);
	assert_int_equal(store_verify(f->store, &d[1], &f->call, &b, &f->err), 0);
	assert_int_equal(pins_put(f->store, &d[2], NULL, &f->err), 0);
	struct inventory v = look(f);
	assert_int_equal(v.n, 3);
	for (unsigned i = 0; i < 3; i++) {
		const struct inventory_blob *one = inventory_find(&v, &d[i]);
		assert_non_null(one);
		assert_int_equal(one->size, 1000 + i);
		assert_int_equal(one->held, i == 1);
		assert_int_equal(one->pinned, i == 2);
		assert_true(llabs(one->used_ms - clock_wall_ms()) < 3600000);
	}
	inventory_release(&v);
	blob_unref(b);
}

static void test_removal_leaves_what_is_open_or_pinned(void **state)
{
	struct fixture *f = *state;
	struct digest d[3], other;
	struct blob *b = NULL;
	uint64_t freed = 1;
	free(make_bytes(10, 99, &other));
	for (unsigned i = 0; i < 3; i++)
		fetch(f, 100000, i, &d[i]);
	reopen_store(f);
	assert_int_equal(store_verify(f->store, &d[1], &f->call, &b, &f->err), 0);
	assert_int_equal(pins_put(f->store, &d[2], NULL, &f->err), 0);
	uint64_t before = used_bytes(f);
	assert_int_equal(inventory_remove(f->store, &other, true, &freed, &f->err), -ENOENT);
	assert_int_equal(inventory_remove(f->store, &d[1], true, &freed, &f->err), -EBUSY);
	assert_int_equal(inventory_remove(f->store, &d[2], false, &freed, &f->err), -EPERM);
	assert_int_equal(used_bytes(f), before);
	assert_int_equal(inventory_remove(f->store, &d[0], false, &freed, &f->err), 0);
	assert_true(freed >= 100000);
	assert_int_equal(used_bytes(f), before - freed);
	assert_int_equal(inventory_remove(f->store, &d[2], true, &freed, &f->err), 0);
	assert_false(pins_has(f->store, &d[2]));
	assert_int_equal(used_bytes(f), disk_use(f));
	assert_bytes(b, 100000, 1);
	blob_unref(b);
}

static void test_partials_go_unless_somebody_fetches(void **state)
{
	struct fixture *f = *state;
	struct digest left, held;
	uint64_t n = 0, freed = 0;
	char *bytes = make_bytes(MIB, 1, &left);
	struct partial *p = begin(f, &left, MIB);
	assert_int_equal(partial_write(p, bytes, MIB / 2, &f->err), 0);
	partial_close(p);
	free(bytes);
	free(make_bytes(MIB, 2, &held));
	p = begin(f, &held, MIB);
	int64_t future = clock_wall_ms() + 3600000, past = clock_wall_ms() - 3600000;
	assert_int_equal(inventory_remove_partials(f->store, past, false, &n, &freed, &f->err), 0);
	assert_int_equal(n, 0);
	assert_int_equal(inventory_remove_partials(f->store, 0, true, &n, &freed, &f->err), 0);
	assert_int_equal(n, 1);
	assert_int_equal(count_files(f, "partial"), 2);
	assert_int_equal(inventory_remove_partials(f->store, future, false, &n, &freed, &f->err),
			 0);
	assert_int_equal(n, 1);
	assert_true(freed >= MIB / 2);
	assert_int_equal(count_files(f, "partial"), 1);
	partial_drop(p);
	assert_int_equal(used_bytes(f), 0);
}

static void flip(const char *path)
{
	char byte;
	assert_int_equal(chmod(path, 0600), 0);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, &byte, 1, 5000), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, 5000), 1);
	close(fd);
}

static void test_a_wrong_one_is_found_and_dropped(void **state)
{
	struct fixture *f = *state;
	struct digest good, bad;
	uint64_t size = 0;
	bool removed = true;
	fetch(f, 10000, 1, &good);
	fetch(f, 10000, 2, &bad);
	reopen_store(f);
	flip(blob_file(f, &bad));
	assert_int_equal(inventory_check(f->store, &good, true, &f->call, &size, &removed, &f->err),
			 0);
	assert_int_equal(size, 10000);
	assert_int_equal(inventory_check(f->store, &bad, false, &f->call, &size, &removed, &f->err),
			 -EBADMSG);
	assert_false(removed);
	assert_true(store_has(f->store, &bad, NULL));
	assert_int_equal(inventory_check(f->store, &bad, true, &f->call, &size, &removed, &f->err),
			 -EBADMSG);
	assert_true(removed);
	assert_int_equal(inventory_check(f->store, &bad, true, &f->call, &size, &removed, &f->err),
			 -ENOENT);
	assert_int_equal(used_bytes(f), disk_use(f));
	call_cancel(&f->call);
	assert_int_equal(inventory_check(f->store, &good, true, &f->call, &size, &removed, &f->err),
			 -ECANCELED);
	assert_true(store_has(f->store, &good, NULL));
}

static void test_documents(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	char *text = NULL;
	size_t len = 0;
	fetch(f, 10000, 1, &d);
	reopen_store(f);
	assert_int_equal(inventory_document(f->store, &d, 9999, &text, &len, &f->err), -EFBIG);
	assert_int_equal(inventory_document(f->store, &d, 10000, &text, &len, &f->err), 0);
	assert_int_equal(len, 10000);
	free(text);
	flip(blob_file(f, &d));
	assert_int_equal(inventory_document(f->store, &d, 10000, &text, &len, &f->err), -EBADMSG);
}

static int count_pin(void *ctx, const struct digest *d)
{
	(void)d;
	++*(int *)ctx;
	return 0;
}

static void test_pins(void **state)
{
	struct fixture *f = *state;
	struct digest d, other;
	bool fresh = false;
	int n = 0;
	free(make_bytes(10, 1, &d));
	free(make_bytes(10, 2, &other));
	assert_false(pins_has(f->store, &d));
	assert_int_equal(pins_drop(f->store, &d, &f->err), -ENOENT);
	assert_int_equal(pins_each(f->store, count_pin, &n, &f->err), 0);
	assert_int_equal(pins_put(f->store, &d, &fresh, &f->err), 0);
	assert_true(fresh);
	assert_int_equal(pins_put(f->store, &d, &fresh, &f->err), 0);
	assert_false(fresh);
	reopen_store(f);
	assert_true(pins_has(f->store, &d));
	assert_false(pins_has(f->store, &other));
	assert_int_equal(pins_each(f->store, count_pin, &n, &f->err), 0);
	assert_int_equal(n, 1);
	assert_int_equal(pins_drop(f->store, &d, &f->err), 0);
	assert_false(pins_has(f->store, &d));
}

/* A link or a directory is no pin, and does not keep one from being made. */
static void test_planted_pins(void **state)
{
	struct fixture *f = *state;
	struct digest d, other;
	int n = 0;
	free(make_bytes(10, 1, &d));
	free(make_bytes(10, 2, &other));
	assert_int_equal(pins_put(f->store, &d, NULL, &f->err), 0);
	assert_int_equal(unlink(pin_file(f, &d)), 0);
	assert_int_equal(symlink("/etc/passwd", pin_file(f, &d)), 0);
	assert_int_equal(mkdir(pin_file(f, &other), 0700), 0);
	assert_false(pins_has(f->store, &d));
	assert_false(pins_has(f->store, &other));
	assert_int_equal(pins_each(f->store, count_pin, &n, &f->err), 0);
	assert_int_equal(n, 0);
	assert_int_equal(pins_put(f->store, &d, NULL, &f->err), 0);
	assert_int_equal(pins_put(f->store, &other, NULL, &f->err), 0);
	assert_true(pins_has(f->store, &d));
	assert_true(pins_has(f->store, &other));
}

/* What stands in its place, or in that of the directory above it. */
static void test_no_directory_of_pins(void **state)
{
	struct fixture *f = *state;
	struct digest d, other;
	uint64_t freed = 0;
	int n = 0;
	fetch(f, 1000, 1, &d);
	free(make_bytes(10, 2, &other));
	settle(f);
	blobs_close_idle(f->store);
	assert_int_equal(pins_put(f->store, &d, NULL, &f->err), 0);
	char elsewhere[128];
	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", f->root);
	for (int i = 0; i < 4; i++) {
		char at[128];
		snprintf(at, sizeof(at), "%s", path_in(f, i < 2 ? "pins/sha256" : "pins"));
		assert_int_equal(rename(at, elsewhere), 0);
		if (i % 2 == 0)
			assert_int_equal(symlink(elsewhere, at), 0);
		else
			assert_int_equal(close(creat(at, 0600)), 0);
		assert_true(pins_has(f->store, &d));
		assert_true(pins_has(f->store, &other));
		assert_int_equal(pins_each(f->store, count_pin, &n, &f->err), -EIO);
		assert_non_null(strstr(f->err.text, path_in(f, "pins/sha256")));
		assert_int_equal(pins_drop(f->store, &d, &f->err), -EIO);
		assert_int_equal(inventory_remove(f->store, &d, false, &freed, &f->err), -EPERM);
		assert_int_equal(unlink(at), 0);
		assert_int_equal(rename(elsewhere, at), 0);
	}
	assert_int_equal(pins_each(f->store, count_pin, &n, &f->err), 0);
	assert_int_equal(n, 1);
}

/* Eviction takes the younger one, and what is larger than what is left is refused. */
static void test_eviction_leaves_what_is_pinned(void **state)
{
	struct fixture *f = *state;
	struct digest old, young, fresh, huge;
	struct partial *p = NULL;
	f->store = open_store(f, 3 * MIB, 1);
	fetch(f, MIB, 1, &old);
	fetch(f, MIB, 2, &young);
	settle(f);
	assert_int_equal(pins_put(f->store, &old, NULL, &f->err), 0);
	struct timespec times[2] = {{.tv_sec = 1000}, {.tv_nsec = UTIME_OMIT}};
	assert_int_equal(utimensat(AT_FDCWD, blob_file(f, &old), times, 0), 0);
	fetch(f, 3 * MIB / 2, 3, &fresh);
	settle(f);
	assert_true(store_has(f->store, &old, NULL));
	assert_false(store_has(f->store, &young, NULL));
	free(make_bytes(5 * MIB / 2, 4, &huge));
	assert_int_equal(store_partial(f->store, &huge, 5 * MIB / 2, &f->call, &p, &f->err),
			 -ENOSPC);
	assert_int_equal(pins_drop(f->store, &old, &f->err), 0);
	p = begin(f, &huge, 5 * MIB / 2);
	partial_drop(p);
	assert_false(store_has(f->store, &old, NULL));
	close_store(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_what_is_there, make_store, remove_root),
	    cmocka_unit_test_setup_teardown(test_removal_leaves_what_is_open_or_pinned, make_store,
					    remove_root),
	    cmocka_unit_test_setup_teardown(test_partials_go_unless_somebody_fetches, make_store,
					    remove_root),
	    cmocka_unit_test_setup_teardown(test_a_wrong_one_is_found_and_dropped, make_store,
					    remove_root),
	    cmocka_unit_test_setup_teardown(test_documents, make_store, remove_root),
	    cmocka_unit_test_setup_teardown(test_pins, make_store, remove_root),
	    cmocka_unit_test_setup_teardown(test_planted_pins, make_store, remove_root),
	    cmocka_unit_test_setup_teardown(test_no_directory_of_pins, make_store, remove_root),
	    cmocka_unit_test_setup_teardown(test_eviction_leaves_what_is_pinned, make_root,
					    remove_root),
	};
	return cmocka_run_group_tests_name("inventory", tests, NULL, NULL);
}
