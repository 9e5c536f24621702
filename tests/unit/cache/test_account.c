/* SPDX-License-Identifier: Apache-2.0 */
/* The account of a cache directory, and its lock, between processes. */
#include "tests/unit/cache/support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/file.h"
#include "cache/account.h"
#include "cache/filelock.h"
#include "cache/partial_impl.h"

#define LEN (25 * 4096u)
#define MEM (4u << 20)

static int make_small_store(void **state)
{
	int rc = make_root(state);
	if (rc == 0)
		(void)open_store(*state, 10 * LEN, MEM);
	return rc;
}

static void fill(struct fixture *f, unsigned n, struct digest *ret)
{
	for (unsigned i = 0; i < n; i++)
		fetch(f, LEN, i, &ret[i]);
	settle(f);
}

static void write_account(struct fixture *f, const char *text)
{
	AUTO_FD int fd = open(path_in(f, "lock"), O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
}

static void wrong_account_is_counted_anew(void **state)
{
	struct fixture *f = *state;
	struct digest d[3];
	struct store_usage u;
	fill(f, 3, d);
	static const char *const texts[] = {"", "rubbish", "wasmocifs-account 1 clean 0000"};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		write_account(f, texts[i]);
		assert_int_equal(used_bytes(f), 3 * LEN);
	}
	struct account a = {.bytes = 1, .blobs = 1, .stale = true};
	char text[ACCOUNT_LEN + 1];
	account_format(&a, text);
	write_account(f, text);
	assert_int_equal(used_bytes(f), 3 * LEN);
	store_usage(f->store, &u);
	assert_int_equal(u.blobs, 3);
	/* One that looks right lasts until nobody uses the directory. */
	a.stale = false;
	account_format(&a, text);
	write_account(f, text);
	assert_int_equal(used_bytes(f), 1);
	reopen_store(f);
	assert_int_equal(used_bytes(f), 3 * LEN);
}

static void stopped_process_does_not_stop_us(void **state)
{
	struct fixture *f = *state;
	struct digest d[2];
	fill(f, 1, d);
	assert_int_equal(used_bytes(f), LEN);
	/* As if another process were inside. */
	AUTO_FD int fd = open(path_in(f, "lock"), O_RDWR | O_CLOEXEC);
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
	struct call call;
	call_init(&call, clock_ms() + 20);
	assert_int_equal(space_enter(f->store, &call, &f->err), -ETIMEDOUT);
	call_release(&call);
	l.l_type = F_UNLCK;
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
	assert_int_equal(used_bytes(f), LEN);
}

static struct flock account_lock(short type)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
}

/* How long one entry took. */
static int64_t time_entry(struct fixture *f)
{
	int64_t start = clock_ms();
	(void)used_bytes(f);
	return clock_ms() - start;
}

static void stopped_process_is_waited_for_once(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	fill(f, 1, &d);
	assert_int_equal(used_bytes(f), LEN);
	AUTO_FD int fd = open(path_in(f, "lock"), O_RDWR | O_CLOEXEC);
	struct flock held = account_lock(F_WRLCK), gone = account_lock(F_UNLCK);
	f->store->space.lock_ms = 500;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fcntl(fd, F_OFD_SETLK, &held), 0);
		assert_true(time_entry(f) >= 500);
		assert_true(time_entry(f) < 400);
		assert_true(time_entry(f) < 400);
		assert_int_equal(used_bytes(f), LEN);
		/* Once it goes on, it is waited for as before. */
		assert_int_equal(fcntl(fd, F_OFD_SETLK, &gone), 0);
		assert_true(time_entry(f) < 400);
	}
}

/* Nor by another process, which does not know. */
static void account_that_cannot_be_written_is_not_believed(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, none;
	struct digest d;
	struct stat st;
	fill(f, 1, &d);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	none = (struct rlimit){.rlim_cur = 0, .rlim_max = old.rlim_max};
	assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	space_adjust(f->store, 0, LEN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(stat(path_in(f, "lock"), &st), 0);
	assert_int_equal(st.st_size, 0);
}

/* Calls that have less time than that get through too, together. */
static void stopped_process_is_waited_for_by_short_calls_together(void **state)
{
	struct fixture *f = *state;
	AUTO_FD int fd = open(path_in(f, "lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct flock held = account_lock(F_WRLCK);
	f->store->space.lock_ms = 200;
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &held), 0);
	int rc = -ETIMEDOUT, refused = 0;
	for (int i = 0; rc == -ETIMEDOUT && i < 1000; i++) {
		struct call call;
		call_init(&call, clock_ms() + 20);
		rc = space_enter(f->store, &call, &f->err);
		call_release(&call);
		refused += rc == -ETIMEDOUT;
	}
	assert_int_equal(rc, 0);
	assert_true(refused > 0);
	space_leave(f->store);
}

/* One that met it, and had no time, says nothing of who has it much later. */
static void another_holder_is_waited_for_anew(void **state)
{
	struct fixture *f = *state;
	AUTO_FD int fd = open(path_in(f, "lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct flock held = account_lock(F_WRLCK);
	f->store->space.lock_ms = 200;
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &held), 0);
	struct call call;
	call_init(&call, clock_ms() + 20);
	assert_int_equal(space_enter(f->store, &call, &f->err), -ETIMEDOUT);
	call_release(&call);
	f->store->space.held_since_ms -= 60000;
	f->store->space.held_last_ms -= 60000;
	assert_true(time_entry(f) >= 200);
	assert_true(time_entry(f) < 150);
}

/* Who meets a held lock at first is a user of the directory all the same: the
 * next to come must not think that it is alone. */
static void who_waited_for_the_lock_is_among_the_users(void **state)
{
	struct fixture *f = *state;
	struct call call;
	AUTO_FD int fd = open(path_in(f, "lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct flock held = account_lock(F_WRLCK), gone = account_lock(F_UNLCK);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &held), 0);
	call_init(&call, clock_ms() + 20);
	assert_int_equal(space_enter(f->store, &call, &f->err), -ETIMEDOUT);
	call_release(&call);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &gone), 0);
	(void)used_bytes(f);
	assert_int_equal(filelock_exclusive(fd, FILELOCK_USERS), -EAGAIN);
}

/* The parent counts while the child has a reservation it has not used. */
static void reservations_of_others_count(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct partial *p = NULL;
	free(make_bytes(4 * LEN, 1, &d));
	assert_int_equal(store_partial(f->store, &d, 4 * LEN, &f->call, &p, &f->err), 0);
	/* As on a file system that cannot reserve. */
	assert_int_equal(ftruncate(p->fd, 0), 0);
	assert_int_equal(disk_use(f), 0);
	struct store *mine = f->store;
	struct store *other = open_store(f, 10 * LEN, MEM);
	write_account(f, "");
	assert_int_equal(used_bytes(f), 4 * LEN);
	store_close(other);
	f->store = mine;
	partial_drop(p);
	assert_int_equal(used_bytes(f), 0);
}

static void what_a_killed_process_reserved_is_found_free(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	int ready[2];
	char c;
	free(make_bytes(4 * LEN, 1, &d));
	close_store(f);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct partial *p = NULL;
		(void)open_store(f, 10 * LEN, MEM);
		if (store_partial(f->store, &d, 4 * LEN, &f->call, &p, NULL) < 0 ||
		    ftruncate(p->fd, 0) < 0 || write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	(void)open_store(f, 10 * LEN, MEM);
	assert_int_equal(used_bytes(f), 0);
}

#define WITH_SMALL(t) cmocka_unit_test_setup_teardown(t, make_small_store, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_SMALL(wrong_account_is_counted_anew),
	    WITH_SMALL(account_that_cannot_be_written_is_not_believed),
	    WITH_SMALL(stopped_process_does_not_stop_us),
	    WITH_SMALL(stopped_process_is_waited_for_once),
	    WITH_SMALL(stopped_process_is_waited_for_by_short_calls_together),
	    WITH_SMALL(another_holder_is_waited_for_anew),
	    WITH_SMALL(who_waited_for_the_lock_is_among_the_users),
	    WITH_SMALL(reservations_of_others_count),
	    WITH_SMALL(what_a_killed_process_reserved_is_found_free),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
