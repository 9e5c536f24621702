/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the files in partial/: published, or swept. */
#include "tests/unit/cache/support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/file.h"
#include "cache/partial_impl.h"

#define LEN 300000u

static void age(const char *path, time_t seconds)
{
	const struct timespec times[2] = {
	    {.tv_nsec = UTIME_OMIT},
	    {.tv_sec = (time_t)(clock_wall_ms() / 1000) - seconds},
	};
	assert_int_equal(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

static void sweep_takes_what_nobody_waits_for(void **state)
{
	struct fixture *f = *state;
	struct digest d, e;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	free(make_bytes(LEN, 2, &e));
	struct partial *p = begin(f, &d, LEN);
	assert_int_equal(partial_write(p, data, 1000, &f->err), 0);
	/* Held: whatever its age. */
	age(partial_file(f, &d, LEN), 3600);
	sweep(f->store);
	assert_int_equal(count_files(f, "partial"), 1);
	partial_close(p);
	/* Young enough to be resumed. */
	age(partial_file(f, &d, LEN), 60);
	sweep(f->store);
	assert_int_equal(count_files(f, "partial"), 1);
	age(partial_file(f, &d, LEN), 601);
	sweep(f->store);
	assert_int_equal(count_files(f, "partial"), 0);
	/* A temporary file of a killed process, of whatever age. */
	char name[PARTIAL_NAME_MAX] = "refs";
	int fd = open_private(f->store, name, &f->err);
	assert_true(fd >= 0);
	sweep(f->store);
	assert_int_equal(count_files(f, "partial"), 1);
	close(fd);
	sweep(f->store);
	assert_int_equal(count_files(f, "partial"), 0);
	assert_int_equal(used_bytes(f), 0);
}

/* What a process leaves that is killed between fchmod and rename. 0: swept. */
static int leave_read_only_and_sweep(struct fixture *f)
{
	struct store_options o = {.dir = f->dir, .limit = 1 << 30, .floor = 1};
	struct store *s = NULL;
	char name[PARTIAL_NAME_MAX] = "refs";
	if (geteuid() == 0 &&
	    (setresgid(12345, 12345, 12345) < 0 || setresuid(12345, 12345, 12345) < 0))
		return 1;
	if (store_open(&o, &s, NULL) < 0)
		return 2;
	int fd = open_private(s, name, NULL);
	if (fd < 0 || fchmod(fd, 0444) < 0)
		return 3;
	sweep(s);
	if (count_files(f, "partial") != 1)
		return 4;
	close(fd);
	sweep(s);
	return count_files(f, "partial");
}

static void sweep_takes_read_only_files_of_an_ordinary_user(void **state)
{
	struct fixture *f = *state;
	int status = 0;
	close_store(f);
	snprintf(f->dir, sizeof(f->dir), "%s/other", f->root);
	if (geteuid() == 0)
		assert_int_equal(chown(f->root, 12345, 12345), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(leave_read_only_and_sweep(f));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void failed_publishing_is_told_and_the_blob_served(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL, *again = NULL;
	struct store_usage u;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	struct partial *p = begin(f, &d, LEN);
	assert_int_equal(partial_write(p, data, LEN, &f->err), 0);
	/* A file where the directory should be. */
	assert_int_equal(rmdir(path_in(f, "blobs/sha256")), 0);
	assert_int_equal(rmdir(path_in(f, "blobs")), 0);
	AUTO_FD int fd = open(path_in(f, "blobs"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	settle(f);
	store_usage(f->store, &u);
	assert_int_equal(u.publish_failures, 1);
	assert_non_null(strstr(u.last_failure, "blobs"));
	assert_bytes(b, LEN, 1);
	assert_int_equal(store_get(f->store, &d, &again, &f->err), 0);
	blob_unref(again);
	blob_unref(b);
	settle(f);
	assert_int_equal(store_get(f->store, &d, &b, &f->err), -ENOENT);
	assert_int_equal(disk_use(f), 0);
	assert_int_equal(used_bytes(f), 0);
}

static void directory_that_vanishes_under_a_fetch_costs_only_the_cache(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	struct store_usage u;
	char cmd[200];
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	struct partial *p = begin(f, &d, LEN);
	assert_int_equal(partial_write(p, data, 1000, &f->err), 0);
	settle(f);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", f->dir);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(partial_write(p, data + 1000, LEN - 1000, &f->err), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	settle(f);
	assert_bytes(b, LEN, 1);
	blob_unref(b);
	store_usage(f->store, &u);
	assert_int_equal(u.publish_failures, 1);
	fetch(f, LEN, 1, &d);
	settle(f);
	assert_int_equal(count_files(f, "blobs/sha256"), 1);
	assert_int_equal(used_bytes(f), disk_use(f));
}

/* The directory is removed and made anew, and another process begins a fetch
 * of the same blob there. */
static void file_of_another_under_the_same_name_is_not_published(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	struct store_usage u;
	struct stat st;
	char away[200];
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	struct partial *p = begin(f, &d, LEN);
	assert_int_equal(partial_write(p, data, LEN, &f->err), 0);
	snprintf(away, sizeof(away), "%s/away", f->root);
	assert_int_equal(rename(path_in(f, "partial"), away), 0);
	assert_int_equal(mkdir(path_in(f, "partial"), 0700), 0);
	AUTO_FD int fd = open(partial_file(f, &d, LEN), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(file_write_all(fd, "half", 4), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	settle(f);
	assert_bytes(b, LEN, 1);
	blob_unref(b);
	assert_int_equal(count_files(f, "blobs/sha256"), 0);
	/* Nor removed: it is the other's. */
	assert_int_equal(stat(partial_file(f, &d, LEN), &st), 0);
	assert_int_equal(st.st_size, 4);
	store_usage(f->store, &u);
	assert_int_equal(u.publish_failures, 1);
}

#define WITH_STORE(t) cmocka_unit_test_setup_teardown(t, make_store, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_STORE(sweep_takes_what_nobody_waits_for),
	    WITH_STORE(sweep_takes_read_only_files_of_an_ordinary_user),
	    WITH_STORE(failed_publishing_is_told_and_the_blob_served),
	    WITH_STORE(directory_that_vanishes_under_a_fetch_costs_only_the_cache),
	    WITH_STORE(file_of_another_under_the_same_name_is_not_published),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
