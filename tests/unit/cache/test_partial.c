/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cache/support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/file.h"
#include "cache/partial_impl.h"

#define LEN 300000u

/* Nothing of a fetch that failed is readable or kept. */
static void assert_nothing_left(struct fixture *f, const struct digest *d)
{
	struct blob *b = NULL;
	settle(f);
	assert_int_equal(store_get(f->store, d, &b, &f->err), -ENOENT);
	assert_int_equal(count_files(f, "partial"), 0);
	assert_int_equal(count_files(f, "blobs/sha256"), 0);
	assert_int_equal(used_bytes(f), 0);
}

static void one_wrong_bit_is_ebadmsg(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	static const size_t at[] = {0, LEN / 2, LEN - 1};
	for (size_t i = 0; i < ARRAY_LEN(at); i++) {
		struct partial *p = begin(f, &d, LEN);
		data[at[i]] = (char)(data[at[i]] ^ 1);
		assert_int_equal(partial_write(p, data, LEN, &f->err), 0);
		data[at[i]] = (char)(data[at[i]] ^ 1);
		assert_int_equal(partial_commit(p, &b, &f->err), -EBADMSG);
		assert_non_null(strstr(f->err.text, "do not match their digest"));
		assert_nothing_left(f, &d);
	}
}

static void one_short_is_ebadmsg(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	struct partial *p = begin(f, &d, LEN);
	assert_int_equal(partial_write(p, data, LEN - 1, &f->err), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), -EBADMSG);
	assert_non_null(strstr(f->err.text, "299999 bytes instead of the 300000"));
	assert_nothing_left(f, &d);
	/* The digest of less, announced as what it is. */
	p = begin(f, &d, LEN - 1);
	assert_int_equal(partial_write(p, data, LEN - 1, &f->err), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), -EBADMSG);
	assert_nothing_left(f, &d);
}

static void one_long_is_refused_and_not_kept(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	AUTO_FREE char *data = make_bytes(LEN + 1, 1, &d);
	assert_int_equal(digest_of(DIGEST_SHA256, data, LEN, &d), 0);
	struct partial *p = begin(f, &d, LEN);
	assert_int_equal(partial_write(p, data, LEN + 1, &f->err), -EFBIG);
	assert_int_equal(partial_have(p), 0);
	assert_int_equal(partial_write(p, data, 7, &f->err), 0);
	assert_int_equal(partial_write(p, data + 7, LEN - 6, &f->err), -EFBIG);
	assert_int_equal(partial_have(p), 7);
	assert_int_equal(partial_write(p, data + 7, LEN - 7, &f->err), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	assert_bytes(b, LEN, 1);
	blob_unref(b);
}

static void closed_partial_is_resumed(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	struct partial *p = begin(f, &d, LEN);
	assert_int_equal(partial_write(p, data, 100001, &f->err), 0);
	partial_close(p);
	/* What was reserved beyond has been given back. */
	assert_true(disk_use(f) < LEN);
	assert_int_equal(used_bytes(f), disk_use(f));
	reopen_store(f);
	p = begin(f, &d, LEN);
	assert_int_equal(partial_have(p), 100001);
	assert_int_equal(partial_write(p, data + 100001, LEN - 100001, &f->err), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	assert_bytes(b, LEN, 1);
	blob_unref(b);
	settle(f);
	assert_int_equal(used_bytes(f), disk_use(f));
}

static void what_rotted_in_a_partial_is_found(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	struct partial *p = begin(f, &d, LEN);
	assert_int_equal(partial_write(p, data, 1000, &f->err), 0);
	partial_close(p);
	AUTO_FD int fd = open(partial_file(f, &d, LEN), O_WRONLY | O_CLOEXEC);
	assert_int_equal(file_pwrite_all(fd, "\0\0\0", 3, 500), 0);
	p = begin(f, &d, LEN);
	assert_int_equal(partial_write(p, data + 1000, LEN - 1000, &f->err), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), -EBADMSG);
	assert_nothing_left(f, &d);
}

static void partial_that_is_too_long_starts_anew(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	free(make_bytes(LEN, 1, &d));
	partial_drop(begin(f, &d, LEN));
	AUTO_FD int fd = open(partial_file(f, &d, LEN), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, LEN + 1), 0);
	struct partial *p = begin(f, &d, LEN);
	assert_int_equal(partial_have(p), 0);
	partial_drop(p);
	assert_nothing_left(f, &d);
}

/* A fetch that is given up while it hashes what an earlier one left. */
static void given_up_adoption_loses_nothing(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct partial *p = NULL;
	struct blob *b = NULL;
	struct call call;
	struct stat st;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	p = begin(f, &d, LEN);
	assert_int_equal(partial_write(p, data, 123457, &f->err), 0);
	partial_close(p);
	call_init(&call, INT64_MAX);
	call_cancel(&call);
	assert_int_equal(store_partial(f->store, &d, LEN, &call, &p, &f->err), -ECANCELED);
	call_release(&call);
	call_init(&call, clock_ms() - 1);
	assert_int_equal(store_partial(f->store, &d, LEN, &call, &p, &f->err), -ETIMEDOUT);
	call_release(&call);
	assert_int_equal(stat(partial_file(f, &d, LEN), &st), 0);
	assert_int_equal(st.st_size, 123457);
	assert_int_equal(used_bytes(f), disk_use(f));
	p = begin(f, &d, LEN);
	assert_int_equal(partial_have(p), 123457);
	assert_int_equal(partial_write(p, data + 123457, LEN - 123457, &f->err), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	assert_bytes(b, LEN, 1);
	blob_unref(b);
}

/* Its bytes are of no use, and then the disk has no room to start anew. */
static void partial_that_is_too_long_goes_to_memory_once(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	struct store_usage u;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	partial_drop(begin(f, &d, LEN));
	AUTO_FD int fd = open(partial_file(f, &d, LEN), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, LEN + 1), 0);
	f->store->space.floor = UINT64_MAX / 2;
	struct partial *p = begin(f, &d, LEN);
	store_usage(f->store, &u);
	assert_int_equal(u.memory_bytes, LEN);
	assert_int_equal(partial_write(p, data, LEN, &f->err), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	assert_bytes(b, LEN, 1);
	blob_unref(b);
	store_drop(f->store, &d);
	store_usage(f->store, &u);
	assert_int_equal(u.memory_bytes, 0);
}

static void restarted_partial_begins_at_0(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	struct partial *p = begin(f, &d, LEN);
	assert_int_equal(partial_write(p, "rubbish", 7, &f->err), 0);
	assert_int_equal(partial_restart(p, &f->err), 0);
	assert_int_equal(partial_have(p), 0);
	assert_int_equal(partial_write(p, data, LEN, &f->err), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	assert_bytes(b, LEN, 1);
	blob_unref(b);
	settle(f);
	assert_int_equal(used_bytes(f), disk_use(f));
}

static void more_than_the_cap_is_efbig(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct partial *p = NULL;
	free(make_bytes(LEN, 1, &d));
	assert_int_equal(store_partial(f->store, &d, (1ull << 30) + 1, &f->call, &p, &f->err),
			 -EFBIG);
	assert_int_equal(store_partial(f->store, &d, UINT64_MAX, &f->call, &p, &f->err), -EFBIG);
	assert_non_null(strstr(f->err.text, "1.0 GiB"));
}

/* A process of its own with the same cache directory. It writes `len` bytes
 * of a blob, says so, and then does as it is told. */
struct child {
	pid_t pid;
	int to, from;
};

static void run_child(struct fixture *f, size_t len, int from, int to)
{
	struct digest d;
	char *data = make_bytes(LEN, 1, &d);
	struct store_options o = {.dir = f->dir, .limit = 1 << 30, .floor = 1};
	struct store *s = NULL;
	struct partial *p = NULL;
	struct blob *b = NULL;
	char order = 'x';
	if (store_open(&o, &s, NULL) < 0 || store_partial(s, &d, LEN, &f->call, &p, NULL) < 0 ||
	    partial_write(p, data, len, NULL) < 0 || file_write_all(to, "r", 1) < 0)
		_exit(1);
	while (read(from, &order, 1) == 1) {
		if (order == 'c' && (partial_write(p, data + len, LEN - len, NULL) < 0 ||
				     partial_commit(p, &b, NULL) < 0))
			_exit(2);
		if (order == 'd')
			partial_drop(p);
		if (order == 'k')
			partial_close(p);
		p = NULL;
	}
	partial_close(p);
	blob_unref(b);
	store_close(s);
	_exit(0);
}

static struct child start_child(struct fixture *f, size_t len)
{
	int there[2], back[2];
	char c;
	assert_int_equal(pipe2(there, O_CLOEXEC), 0);
	assert_int_equal(pipe2(back, O_CLOEXEC), 0);
	struct child child = {.pid = fork(), .to = there[1], .from = back[0]};
	assert_true(child.pid >= 0);
	if (child.pid == 0) {
		close(there[1]);
		run_child(f, len, there[0], back[1]);
	}
	close(there[0]);
	close(back[1]);
	assert_int_equal(read(child.from, &c, 1), 1);
	return child;
}

static void tell(const struct child *c, char order)
{
	assert_int_equal(write(c->to, &order, 1), 1);
}

static int end_child(struct child *c)
{
	int status = 0;
	close(c->to);
	close(c->from);
	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	return status;
}

static void fetch_of_a_killed_process_is_resumed(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	struct child c = start_child(f, 123456);
	assert_int_equal(kill(c.pid, SIGKILL), 0);
	assert_true(WIFSIGNALED(end_child(&c)));
	struct partial *p = begin(f, &d, LEN);
	assert_int_equal(partial_have(p), 123456);
	assert_int_equal(partial_write(p, data + 123456, LEN - 123456, &f->err), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	assert_bytes(b, LEN, 1);
	blob_unref(b);
	settle(f);
	assert_int_equal(used_bytes(f), disk_use(f));
}

struct waiter {
	struct fixture *f;
	struct digest digest;
	struct call call;
	struct partial *partial;
	int rc;
};

static void *wait_for_partial(void *ctx)
{
	struct waiter *w = ctx;
	w->rc = store_partial(w->f->store, &w->digest, LEN, &w->call, &w->partial, NULL);
	return NULL;
}

static pthread_t start_waiting(struct fixture *f, struct waiter *w)
{
	pthread_t thread;
	*w = (struct waiter){.f = f};
	free(make_bytes(LEN, 1, &w->digest));
	call_init(&w->call, INT64_MAX);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_partial, w), 0);
	return thread;
}

/* Two manifests may declare one digest with different sizes. */
static void second_one_in_a_process_waits_for_the_first(void **state)
{
	struct fixture *f = *state;
	struct waiter w;
	struct digest d;
	struct partial *other = NULL;
	struct call call;
	struct blob *b = NULL;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	struct partial *p = begin(f, &d, LEN);
	call_init(&call, clock_ms() + 30);
	assert_int_equal(store_partial(f->store, &d, 5, &call, &other, &f->err), -ETIMEDOUT);
	call_cancel(&call);
	assert_int_equal(store_partial(f->store, &d, 5, &call, &other, &f->err), -ECANCELED);
	call_release(&call);
	/* It gets what the first leaves, */
	pthread_t thread = start_waiting(f, &w);
	partial_drop(p);
	pthread_join(thread, NULL);
	call_release(&w.call);
	assert_int_equal(w.rc, 0);
	p = w.partial;
	/* or hears that it is there. */
	thread = start_waiting(f, &w);
	assert_int_equal(partial_write(p, data, LEN, &f->err), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	pthread_join(thread, NULL);
	call_release(&w.call);
	assert_int_equal(w.rc, -EEXIST);
	assert_bytes(b, LEN, 1);
	blob_unref(b);
	partial_close(NULL);
	partial_drop(NULL);
}

static void what_another_process_publishes_is_eexist(void **state)
{
	struct fixture *f = *state;
	struct waiter w;
	struct blob *b = NULL;
	struct child c = start_child(f, 1000);
	pthread_t thread = start_waiting(f, &w);
	assert_int_equal(store_get(f->store, &w.digest, &b, &f->err), -ENOENT);
	tell(&c, 'c');
	pthread_join(thread, NULL);
	assert_int_equal(w.rc, -EEXIST);
	assert_int_equal(store_get(f->store, &w.digest, &b, &f->err), -EAGAIN);
	assert_int_equal(store_verify(f->store, &w.digest, &f->call, &b, &f->err), 0);
	assert_bytes(b, LEN, 1);
	blob_unref(b);
	assert_int_equal(end_child(&c), 0);
	assert_int_equal(count_files(f, "partial"), 0);
	call_release(&w.call);
}

static void what_another_process_gives_up_is_taken_over(void **state)
{
	struct fixture *f = *state;
	static const struct {
		char order;
		uint64_t have;
	} cases[] = {{'k', 1000}, {'d', 0}};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct waiter w;
		struct child c = start_child(f, 1000);
		pthread_t thread = start_waiting(f, &w);
		tell(&c, cases[i].order);
		pthread_join(thread, NULL);
		assert_int_equal(w.rc, 0);
		assert_int_equal(partial_have(w.partial), cases[i].have);
		partial_drop(w.partial);
		assert_int_equal(end_child(&c), 0);
		call_release(&w.call);
	}
	assert_int_equal(used_bytes(f), 0);
}

static void wait_for_another_process_can_be_given_up(void **state)
{
	struct fixture *f = *state;
	struct waiter w;
	struct digest d;
	struct partial *p = NULL;
	struct call call;
	struct child c = start_child(f, 1000);
	pthread_t thread = start_waiting(f, &w);
	call_cancel(&w.call);
	pthread_join(thread, NULL);
	assert_int_equal(w.rc, -ECANCELED);
	call_release(&w.call);
	free(make_bytes(LEN, 1, &d));
	call_init(&call, clock_ms() + 30);
	assert_int_equal(store_partial(f->store, &d, LEN, &call, &p, &f->err), -ETIMEDOUT);
	call_release(&call);
	assert_int_equal(end_child(&c), 0);
}

static void process_that_is_stuck_is_passed_by(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	struct child c = start_child(f, 1000);
	f->store->stall_ms = 50;
	struct partial *p = begin(f, &d, LEN);
	assert_int_equal(partial_have(p), 0);
	assert_int_equal(count_files(f, "partial"), 2);
	assert_int_equal(partial_write(p, data, 5000, &f->err), 0);
	/* It is not resumed, so nothing of it stays. */
	partial_close(p);
	assert_int_equal(count_files(f, "partial"), 1);
	p = begin(f, &d, LEN);
	assert_int_equal(partial_write(p, data, LEN, &f->err), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	settle(f);
	assert_bytes(b, LEN, 1);
	/* The other may finish all the same. */
	tell(&c, 'c');
	assert_int_equal(end_child(&c), 0);
	assert_bytes(b, LEN, 1);
	blob_unref(b);
	reopen_store(f);
	assert_int_equal(used_bytes(f), disk_use(f));
	assert_int_equal(count_files(f, "partial"), 0);
	assert_int_equal(store_verify(f->store, &d, &f->call, &b, &f->err), 0);
	blob_unref(b);
}

static void what_is_planted_in_partial_is_passed_by(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	char victim[200], got[8];
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	partial_drop(begin(f, &d, LEN));
	snprintf(victim, sizeof(victim), "%s/victim", f->root);
	AUTO_FD int fd = open(victim, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(file_write_all(fd, "precious", 8), 0);
	assert_int_equal(symlink(victim, partial_file(f, &d, LEN)), 0);
	struct partial *p = begin(f, &d, LEN);
	assert_int_equal(partial_have(p), 0);
	assert_int_equal(partial_write(p, data, LEN, &f->err), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	assert_bytes(b, LEN, 1);
	blob_unref(b);
	assert_int_equal(file_pread_full(fd, got, 8, 0), 8);
	assert_memory_equal(got, "precious", 8);
	settle(f);
	sweep(f->store);
	assert_int_equal(count_files(f, "partial"), 0);
}

static void local_refusal_is_eio(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct partial *p = NULL;
	free(make_bytes(LEN, 1, &d));
	AUTO_FD int fd = open(path_in(f, "partial"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(store_partial(f->store, &d, LEN, &f->call, &p, &f->err), -EIO);
	assert_non_null(strstr(f->err.text, "/partial is no directory"));
	assert_int_equal(store_errno(-EACCES), -EIO);
	assert_int_equal(store_errno(-EMFILE), -EIO);
	assert_int_equal(store_errno(-EBUSY), -EIO);
	assert_int_equal(store_errno(-EDQUOT), -ENOSPC);
}

#define N_THREADS 6
#define N_BLOBS   12

/* Many fetches side by side, as the threads of a daemon do them. */
static void *fetch_many(void *ctx)
{
	struct fixture *f = ctx;
	for (unsigned i = 0; i < N_BLOBS; i++) {
		struct digest d;
		struct partial *p = NULL;
		struct blob *b = NULL;
		struct call call;
		AUTO_FREE char *data = make_bytes(LEN + i, i, &d);
		call_init(&call, INT64_MAX);
		int rc = store_partial(f->store, &d, LEN + i, &call, &p, NULL);
		if (rc == 0) {
			for (size_t at = 0; at < LEN + i; at += 65536) {
				size_t n = LEN + i - at < 65536 ? LEN + i - at : 65536;
				assert_int_equal(partial_write(p, data + at, n, NULL), 0);
			}
			assert_int_equal(partial_commit(p, &b, NULL), 0);
		} else {
			assert_int_equal(rc, -EEXIST);
			assert_int_equal(store_verify(f->store, &d, &call, &b, NULL), 0);
		}
		assert_bytes(b, LEN + i, i);
		blob_unref(b);
		call_release(&call);
	}
	return NULL;
}

static void threads_fetch_side_by_side(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[N_THREADS];
	for (size_t i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, fetch_many, f), 0);
	for (size_t i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	settle(f);
	assert_int_equal(count_files(f, "partial"), 0);
	assert_int_equal(count_files(f, "blobs/sha256"), N_BLOBS);
	assert_int_equal(used_bytes(f), disk_use(f));
}

#define WITH_STORE(t) cmocka_unit_test_setup_teardown(t, make_store, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_STORE(one_wrong_bit_is_ebadmsg),
	    WITH_STORE(one_short_is_ebadmsg),
	    WITH_STORE(one_long_is_refused_and_not_kept),
	    WITH_STORE(closed_partial_is_resumed),
	    WITH_STORE(what_rotted_in_a_partial_is_found),
	    WITH_STORE(partial_that_is_too_long_starts_anew),
	    WITH_STORE(given_up_adoption_loses_nothing),
	    WITH_STORE(partial_that_is_too_long_goes_to_memory_once),
	    WITH_STORE(restarted_partial_begins_at_0),
	    WITH_STORE(more_than_the_cap_is_efbig),
	    WITH_STORE(fetch_of_a_killed_process_is_resumed),
	    WITH_STORE(second_one_in_a_process_waits_for_the_first),
	    WITH_STORE(what_another_process_publishes_is_eexist),
	    WITH_STORE(what_another_process_gives_up_is_taken_over),
	    WITH_STORE(wait_for_another_process_can_be_given_up),
	    WITH_STORE(process_that_is_stuck_is_passed_by),
	    WITH_STORE(what_is_planted_in_partial_is_passed_by),
	    WITH_STORE(local_refusal_is_eio),
	    WITH_STORE(threads_fetch_side_by_side),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
