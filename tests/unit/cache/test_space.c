/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cache/support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "cache/evict.h"
#include "cache/filelock.h"
#include "cache/partial_impl.h"

#define BLOCK 4096u
#define LEN   (25 * BLOCK)
#define MEM   (4u << 20)

static int make_small_store(void **state)
{
	int rc = make_root(state);
	/* Ten blobs. */
	if (rc == 0)
		(void)open_store(*state, 10 * LEN, MEM);
	return rc;
}

/* The time of last use, the larger the later. */
static void set_used(struct fixture *f, const struct digest *d, time_t at)
{
	const struct timespec times[2] = {{.tv_sec = at}, {.tv_nsec = UTIME_OMIT}};
	assert_int_equal(utimensat(AT_FDCWD, blob_file(f, d), times, 0), 0);
}

static bool is_there(struct fixture *f, const struct digest *d)
{
	return access(blob_file(f, d), F_OK) == 0;
}

static void fill(struct fixture *f, unsigned n, struct digest *ret)
{
	for (unsigned i = 0; i < n; i++)
		fetch(f, LEN, i, &ret[i]);
	settle(f);
	for (unsigned i = 0; i < n; i++)
		set_used(f, &ret[i], 1000 + i);
}

static void least_recently_used_goes_first(void **state)
{
	struct fixture *f = *state;
	struct digest d[10], e;
	fill(f, 10, d);
	set_used(f, &d[0], 5000);
	assert_int_equal(disk_use(f), 10 * LEN);
	fetch(f, LEN, 99, &e);
	settle(f);
	assert_true(is_there(f, &e));
	assert_true(is_there(f, &d[0]));
	assert_false(is_there(f, &d[1]));
	assert_true(is_there(f, &d[9]));
	assert_true(disk_use(f) <= 10 * LEN);
	assert_int_equal(used_bytes(f), disk_use(f));
}

static void cap_holds_while_it_is_written(void **state)
{
	struct fixture *f = *state;
	struct digest d[10], e;
	struct partial *p = NULL;
	fill(f, 10, d);
	free(make_bytes(3 * LEN, 99, &e));
	assert_int_equal(store_partial(f->store, &e, 3 * LEN, &f->call, &p, &f->err), 0);
	/* Reserved before the first byte. */
	assert_true(disk_use(f) <= 10 * LEN);
	assert_true(disk_use(f) >= 3 * LEN);
	assert_int_equal(used_bytes(f), disk_use(f));
	assert_false(is_there(f, &d[2]));
	partial_drop(p);
	assert_int_equal(used_bytes(f), disk_use(f));
}

static void using_a_blob_makes_it_young(void **state)
{
	struct fixture *f = *state;
	struct digest d[10], e;
	struct blob *b = NULL;
	fill(f, 10, d);
	reopen_store(f);
	assert_int_equal(store_verify(f->store, &d[0], &f->call, &b, &f->err), 0);
	blob_unref(b);
	settle(f);
	fetch(f, 5 * LEN, 99, &e);
	settle(f);
	assert_true(is_there(f, &d[0]));
	assert_false(is_there(f, &d[1]));
}

static void open_blob_is_not_lost_to_its_reader(void **state)
{
	struct fixture *f = *state;
	struct digest d[10], e;
	struct blob *b = NULL;
	fill(f, 10, d);
	reopen_store(f);
	assert_int_equal(store_verify(f->store, &d[0], &f->call, &b, &f->err), 0);
	set_used(f, &d[0], 1);
	fetch(f, 9 * LEN, 99, &e);
	settle(f);
	/* Unlinking it would have freed nothing. */
	assert_true(is_there(f, &d[0]));
	assert_false(is_there(f, &d[9]));
	assert_bytes(b, LEN, 0);
	blob_unref(b);
	fetch(f, 10 * LEN, 98, &e);
	settle(f);
	assert_false(is_there(f, &d[0]));
	assert_int_equal(used_bytes(f), disk_use(f));
}

static void blob_that_another_process_reads_is_passed_over(void **state)
{
	struct fixture *f = *state;
	struct digest d[10], e;
	struct blob *b = NULL;
	fill(f, 10, d);
	struct store *mine = f->store;
	struct store *other = open_store(f, 10 * LEN, MEM);
	assert_int_equal(store_verify(other, &d[0], &f->call, &b, &f->err), 0);
	f->store = mine;
	fetch(f, 9 * LEN, 99, &e);
	settle(f);
	assert_true(is_there(f, &d[0]));
	assert_bytes(b, LEN, 0);
	blob_unref(b);
	store_close(other);
}

static void where_all_is_open_memory_serves(void **state)
{
	struct fixture *f = *state;
	struct digest d[10], e;
	struct blob *b[10], *m = NULL;
	struct store_usage u;
	struct partial *p = NULL;
	fill(f, 10, d);
	reopen_store(f);
	for (int i = 0; i < 10; i++)
		assert_int_equal(store_verify(f->store, &d[i], &f->call, &b[i], &f->err), 0);
	fetch(f, 2 * LEN, 99, &e);
	assert_int_equal(store_get(f->store, &e, &m, &f->err), 0);
	assert_bytes(m, 2 * LEN, 99);
	store_usage(f->store, &u);
	assert_int_equal(u.memory_bytes, 2 * LEN);
	assert_int_equal(disk_use(f), 10 * LEN);
	/* Sealed: nobody writes to it any more. */
	assert_true(write(blob_fd(m), "x", 1) < 0);
	blob_unref(m);
	for (int i = 0; i < 10; i++)
		blob_unref(b[i]);
	/* It is verified still, and more than the budget is refused. */
	assert_true(store_has(f->store, &e, NULL));
	f->store->memory_budget = 3 * LEN;
	assert_int_equal(store_get(f->store, &e, &m, &f->err), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(store_verify(f->store, &d[i], &f->call, &b[i], &f->err), 0);
	struct digest big;
	free(make_bytes(2 * LEN, 98, &big));
	assert_int_equal(store_partial(f->store, &big, 2 * LEN, &f->call, &p, &f->err), -ENOSPC);
	assert_non_null(strstr(f->err.text, "no room for"));
	assert_non_null(strstr(f->err.text, "memory"));
	blob_unref(m);
	/* What nobody has goes for it. */
	assert_int_equal(store_partial(f->store, &big, 2 * LEN, &f->call, &p, &f->err), 0);
	assert_false(store_has(f->store, &e, NULL));
	partial_close(p);
	store_usage(f->store, &u);
	assert_int_equal(u.memory_bytes, 0);
	for (int i = 0; i < 10; i++)
		blob_unref(b[i]);
}

/* What is held cannot go, and the rest is not enough: it stays. */
static void nothing_is_evicted_in_vain(void **state)
{
	struct fixture *f = *state;
	struct digest d[10], e;
	struct blob *b[8];
	fill(f, 10, d);
	struct store *mine = f->store;
	struct store *other = open_store(f, 10 * LEN, MEM);
	/* The youngest, so that the rest would go first. */
	for (int i = 0; i < 8; i++)
		assert_int_equal(store_verify(other, &d[i + 2], &f->call, &b[i], &f->err), 0);
	f->store = mine;
	fetch(f, 3 * LEN, 99, &e);
	settle(f);
	assert_false(is_there(f, &e));
	assert_true(store_has(f->store, &e, NULL));
	assert_true(is_there(f, &d[0]));
	assert_true(is_there(f, &d[1]));
	fetch(f, 2 * LEN, 98, &e);
	settle(f);
	assert_true(is_there(f, &e));
	assert_false(is_there(f, &d[1]));
	for (int i = 0; i < 8; i++)
		blob_unref(b[i]);
	store_close(other);
}

#define MANY 1100 /* more than one pass remembers */

/* A file of a block in blobs/, held if ret_fd is not NULL. */
static void plant(struct fixture *f, unsigned n, time_t used, int *ret_fd)
{
	char name[128];
	const struct timespec times[2] = {{.tv_sec = used}, {.tv_sec = used}};
	snprintf(name, sizeof(name), "blobs/sha256/%064u", n);
	AUTO_FD int fd = open(path_in(f, name), O_RDWR | O_CREAT | O_CLOEXEC, 0444);
	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, name, 1), 0);
	assert_int_equal(futimens(fd, times), 0);
	if (ret_fd == NULL)
		return;
	assert_int_equal(filelock_shared(fd, FILELOCK_READER), 0);
	*ret_fd = steal_fd(&fd);
}

static void more_held_than_one_pass_sees_are_passed_over(void **state)
{
	struct fixture *f = *state;
	struct digest d, e;
	struct rlimit files;
	int held[MANY];
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = files.rlim_max;
	if (files.rlim_max < 2 * MANY || setrlimit(RLIMIT_NOFILE, &files) < 0)
		skip();
	(void)open_store(f, (MANY + 4) * BLOCK, MEM);
	fetch(f, BLOCK, 1, &d);
	settle(f);
	set_used(f, &d, 5000);
	for (unsigned i = 0; i < MANY; i++)
		plant(f, i, 1000, &held[i]);
	for (unsigned i = 0; i < 3; i++)
		plant(f, MANY + i, 2000, NULL);
	reopen_store(f);
	assert_int_equal(used_bytes(f), (MANY + 4) * BLOCK);
	/* More than the rest: nothing goes. */
	fetch(f, 5 * BLOCK, 2, &e);
	settle(f);
	assert_false(is_there(f, &e));
	assert_int_equal(disk_use(f), (MANY + 4) * BLOCK);
	fetch(f, 3 * BLOCK, 3, &e);
	settle(f);
	assert_true(is_there(f, &e));
	struct stat st;
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(fstat(held[i], &st), 0);
		assert_int_equal(st.st_nlink, 1);
		close(held[i]);
	}
}

static void default_cap_is_bounded(void **state)
{
	struct fixture *f = *state;
	(void)open_store(f, 0, 0);
	uint64_t limit = space_limit(f->store);
	uint64_t part = evict_free_bytes(f->store) / 4;
	assert_true(limit > 0 && limit <= STORE_LIMIT_DEFAULT);
	assert_true(limit <= part + part / 4 + MEM);
	struct store_usage u;
	store_usage(f->store, &u);
	assert_int_equal(u.limit, limit);
	assert_int_equal(u.floor, 1);
	assert_string_equal(u.dir, f->dir);
}

/* Delayed allocation: the file is there, its blocks are not. */
static void blob_without_its_blocks_counts_with_its_size(void **state)
{
	struct fixture *f = *state;
	struct publication p = {.name = "refs"};
	free(make_bytes(LEN, 1, &p.digest));
	AUTO_FD int fd = open_private(f->store, p.name, &f->err);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, LEN - 1), 0);
	assert_int_equal(publish_rename(f->store, &p, fd, &f->err), 0);
	assert_int_equal(disk_use(f), 0);
	assert_int_equal(used_bytes(f), LEN);
}

/* A file system of its own that really gets full. */
static bool mount_tmpfs(struct fixture *f, const char *options)
{
	assert_int_equal(mkdir(f->dir, 0700), 0);
	if (mount("wasmocifs-test", f->dir, "tmpfs", MS_NOSUID | MS_NODEV, options) == 0)
		return true;
	print_message("cannot mount a tmpfs: %s\n", strerror(errno));
	return false;
}

static int unmount_root(void **state)
{
	struct fixture *f = *state;
	close_store(f);
	(void)umount2(f->dir, MNT_DETACH);
	return remove_root(state);
}

static void floor_is_kept_free(void **state)
{
	struct fixture *f = *state;
	struct digest d[4], e;
	if (!mount_tmpfs(f, "size=1m,mode=0700"))
		skip();
	(void)open_store(f, 100u << 20, MEM);
	fill(f, 4, d);
	f->store->space.floor = evict_free_bytes(f->store) - LEN / 2;
	/* Half of it may be used still: one has to go for the next. */
	fetch(f, LEN, 98, &e);
	settle(f);
	assert_true(is_there(f, &e));
	assert_false(is_there(f, &d[0]));
	assert_true(is_there(f, &d[1]));
	assert_true(evict_free_bytes(f->store) >= f->store->space.floor);
	/* More than all of it: nothing is evicted in vain, and memory serves. */
	f->store->space.floor = 2u << 20;
	fetch(f, LEN, 99, &e);
	assert_true(is_there(f, &d[1]));
	assert_false(is_there(f, &e));
	assert_true(store_has(f->store, &e, NULL));
}

static uint64_t disk_shows;

static int late_disk(int fd, struct statvfs *fs)
{
	(void)fd;
	*fs = (struct statvfs){.f_frsize = 1, .f_bavail = disk_shows};
	return 0;
}

static unsigned count_there(struct fixture *f, const struct digest *d, unsigned n)
{
	unsigned there = 0;
	for (unsigned i = 0; i < n; i++)
		there += is_there(f, &d[i]);
	return there;
}

static void blocks_that_show_late_are_not_evicted_twice(void **state)
{
	struct fixture *f = *state;
	struct digest d[10], e;
	(void)open_store(f, 100u << 20, MEM);
	fill(f, 10, d);
	f->store->space.ask_disk = late_disk;
	f->store->space.floor = 100 * LEN;
	disk_shows = 100 * LEN + LEN / 2;
	/* Each takes the place of one, whatever the disk shows. */
	for (unsigned i = 0; i < 3; i++) {
		fetch(f, LEN, 90 + i, &e);
		settle(f);
		assert_true(is_there(f, &e));
		set_used(f, &e, 5000);
		assert_int_equal(count_there(f, d, 10), 9 - i);
	}
	/* Their own blocks show at once, those that went only later. */
	fetch(f, LEN, 95, &e);
	disk_shows -= LEN;
	assert_int_equal(evict_free_bytes(f->store), 100 * LEN + LEN / 2);
	disk_shows += LEN;
	assert_int_equal(evict_free_bytes(f->store), 100 * LEN + LEN / 2);
	settle(f);
	assert_int_equal(count_there(f, d, 10), 6);
	/* What does not come for long is not waited for. */
	fetch(f, LEN, 96, &e);
	disk_shows -= LEN;
	f->store->space.late.until_ms = clock_ms();
	assert_int_equal(evict_free_bytes(f->store), disk_shows);
}

static void full_disk_is_no_failure_while_memory_lasts(void **state)
{
	struct fixture *f = *state;
	if (!mount_tmpfs(f, "size=1m,mode=0700"))
		skip();
	(void)open_store(f, 100u << 20, MEM);
	struct digest d, e, g;
	struct blob *b = NULL;
	struct partial *p = NULL;
	fetch(f, 3 * LEN, 1, &d);
	settle(f);
	/* Larger than the disk. */
	fetch(f, 2u << 20, 2, &e);
	assert_int_equal(store_get(f->store, &e, &b, &f->err), 0);
	assert_bytes(b, 2u << 20, 2);
	assert_true(is_there(f, &d));
	free(make_bytes(3u << 20, 3, &g));
	assert_int_equal(store_partial(f->store, &g, 3u << 20, &f->call, &p, &f->err), -ENOSPC);
	blob_unref(b);
	/* What fits once others went. */
	fetch(f, 8 * LEN, 4, &g);
	settle(f);
	assert_true(is_there(f, &g));
	assert_false(is_there(f, &d));
}

/* Somebody else fills the disk in the midst of a fetch. */
static void disk_that_fills_up_meanwhile_moves_the_fetch_to_memory(void **state)
{
	struct fixture *f = *state;
	if (!mount_tmpfs(f, "size=1m,mode=0700"))
		skip();
	(void)open_store(f, 100u << 20, MEM);
	struct digest d;
	struct partial *p = NULL;
	struct blob *b = NULL;
	AUTO_FREE char *data = make_bytes(6 * LEN, 1, &d);
	AUTO_FREE char *filler = calloc(1, 2u << 20);
	assert_int_equal(store_partial(f->store, &d, 6 * LEN, &f->call, &p, &f->err), 0);
	assert_int_equal(partial_write(p, data, LEN, &f->err), 0);
	/* As on a file system that cannot reserve. */
	assert_int_equal(ftruncate(p->fd, LEN), 0);
	AUTO_FD int fd = open(path_in(f, "filler"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(file_write_all(fd, filler, 2u << 20), -ENOSPC);
	assert_int_equal(partial_write(p, data + LEN, 5 * LEN, &f->err), 0);
	assert_true(p->in_memory);
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	assert_bytes(b, 6 * LEN, 1);
	blob_unref(b);
	assert_int_equal(disk_use(f), 0);
	/* And without memory, it is a clear error, and nothing is lost. */
	store_drop(f->store, &d);
	f->store->memory_budget = LEN;
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(store_partial(f->store, &d, 6 * LEN, &f->call, &p, &f->err), 0);
	assert_int_equal(partial_write(p, data, LEN, &f->err), 0);
	assert_int_equal(ftruncate(p->fd, LEN), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(file_write_all(fd, filler, 2u << 20), -ENOSPC);
	assert_int_equal(partial_write(p, data + LEN, 5 * LEN, &f->err), -ENOSPC);
	uint64_t have = partial_have(p);
	assert_true(have >= LEN && have < 6 * LEN);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(partial_write(p, data + have, 6 * LEN - have, &f->err), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	assert_bytes(b, 6 * LEN, 1);
	blob_unref(b);
}

static void disk_without_inodes_is_served_from_memory(void **state)
{
	struct fixture *f = *state;
	if (!mount_tmpfs(f, "size=1m,nr_inodes=4,mode=0700"))
		skip();
	(void)open_store(f, 100u << 20, MEM);
	struct digest d;
	struct blob *b = NULL;
	fetch(f, LEN, 1, &d);
	assert_int_equal(store_get(f->store, &d, &b, &f->err), 0);
	assert_bytes(b, LEN, 1);
	blob_unref(b);
}

#define WITH_SMALL(t) cmocka_unit_test_setup_teardown(t, make_small_store, remove_root)
#define WITH_ROOT(t)  cmocka_unit_test_setup_teardown(t, make_root, remove_root)
#define WITH_DISK(t)  cmocka_unit_test_setup_teardown(t, make_root, unmount_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_SMALL(least_recently_used_goes_first),
	    WITH_SMALL(cap_holds_while_it_is_written),
	    WITH_SMALL(using_a_blob_makes_it_young),
	    WITH_SMALL(open_blob_is_not_lost_to_its_reader),
	    WITH_SMALL(blob_that_another_process_reads_is_passed_over),
	    WITH_SMALL(where_all_is_open_memory_serves),
	    WITH_SMALL(nothing_is_evicted_in_vain),
	    WITH_ROOT(more_held_than_one_pass_sees_are_passed_over),
	    WITH_ROOT(default_cap_is_bounded),
	    WITH_SMALL(blob_without_its_blocks_counts_with_its_size),
	    WITH_DISK(floor_is_kept_free),
	    WITH_ROOT(blocks_that_show_late_are_not_evicted_twice),
	    WITH_DISK(full_disk_is_no_failure_while_memory_lasts),
	    WITH_DISK(disk_that_fills_up_meanwhile_moves_the_fetch_to_memory),
	    WITH_DISK(disk_without_inodes_is_served_from_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
