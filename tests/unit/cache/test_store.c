/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cache/support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/file.h"
#include "cache/filelock.h"
#include "cache/store_impl.h"

#define LEN 100000u

static void nothing_there_is_enoent(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	free(make_bytes(LEN, 1, &d));
	assert_int_equal(store_get(f->store, &d, &b, &f->err), -ENOENT);
	assert_string_not_equal(f->err.text, "");
	assert_int_equal(store_verify(f->store, &d, &f->call, &b, &f->err), -ENOENT);
	assert_false(store_has(f->store, &d, NULL));
	store_drop(f->store, &d);
}

static void fetched_blob_is_verified_at_once(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	struct partial *p = NULL;
	struct blob *b = NULL, *again = NULL;
	uint64_t size = 0;
	assert_int_equal(store_partial(f->store, &d, LEN, &f->call, &p, &f->err), 0);
	assert_int_equal(partial_have(p), 0);
	assert_int_equal(partial_write(p, data, LEN, &f->err), 0);
	assert_int_equal(store_get(f->store, &d, &b, &f->err), -ENOENT);
	assert_false(store_has(f->store, &d, NULL));
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	assert_bytes(b, LEN, 1);
	assert_true(digest_equal(blob_digest(b), &d));
	assert_int_equal(store_get(f->store, &d, &again, &f->err), 0);
	assert_ptr_equal(b, again);
	assert_true(store_has(f->store, &d, &size));
	assert_int_equal(size, LEN);
	blob_unref(again);
	blob_unref(b);
	assert_int_equal(store_partial(f->store, &d, LEN, &f->call, &p, &f->err), -EEXIST);
}

static void published_blob_is_read_only_and_hashed_by_the_next(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	struct stat st;
	fetch(f, LEN, 1, &d);
	reopen_store(f);
	assert_int_equal(stat(blob_file(f, &d), &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0444);
	assert_true(store_has(f->store, &d, NULL));
	assert_int_equal(store_get(f->store, &d, &b, &f->err), -EAGAIN);
	assert_int_equal(store_verify(f->store, &d, &f->call, &b, &f->err), 0);
	assert_bytes(b, LEN, 1);
	blob_unref(b);
	assert_int_equal(store_get(f->store, &d, &b, &f->err), 0);
	blob_unref(b);
}

/* The processes of one mount hash a file once between them, as long as it stays the file. */
static void next_process_believes_what_is_shared(void **state)
{
	struct fixture *f = *state;
	struct digest fetched, found;
	struct blob *b = NULL;
	AUTO_FREE char *memory = calloc(1, STORE_HASHED_LEN);
	assert_non_null(memory);
	fetch(f, LEN, 2, &found);
	reopen_store(f);
	store_share_hashed(f->store, memory);
	fetch(f, LEN, 1, &fetched);
	assert_int_equal(store_verify(f->store, &found, &f->call, &b, &f->err), 0);
	blob_unref(b);
	settle(f);
	store_share_hashed(f->store, NULL);

	reopen_store(f);
	assert_int_equal(store_get(f->store, &fetched, &b, &f->err), -EAGAIN);
	store_share_hashed(f->store, memory);
	assert_int_equal(store_get(f->store, &fetched, &b, &f->err), 0);
	assert_bytes(b, LEN, 1);
	blob_unref(b);
	assert_int_equal(store_get(f->store, &found, &b, &f->err), 0);
	blob_unref(b);
	store_share_hashed(f->store, NULL);

	reopen_store(f);
	store_share_hashed(f->store, memory);
	assert_int_equal(truncate(blob_file(f, &found), LEN - 1), 0);
	assert_int_equal(store_get(f->store, &found, &b, &f->err), -EAGAIN);
	store_share_hashed(f->store, NULL);
}

static void empty_blob_is_a_blob(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	fetch(f, 0, 0, &d);
	reopen_store(f);
	assert_int_equal(store_verify(f->store, &d, &f->call, &b, &f->err), 0);
	assert_bytes(b, 0, 0);
	blob_unref(b);
}

static void sha512_has_a_place_of_its_own(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	assert_int_equal(digest_of(DIGEST_SHA512, "abc", 3, &d), 0);
	assert_int_equal(store_put(f->store, &d, "abc", 3, &b, &f->err), 0);
	blob_unref(b);
	assert_int_equal(access(blob_file(f, &d), F_OK), 0);
	reopen_store(f);
	assert_int_equal(store_verify(f->store, &d, &f->call, &b, &f->err), 0);
	blob_unref(b);
}

static void change_byte(const char *path, off_t at)
{
	assert_int_equal(chmod(path, 0600), 0);
	AUTO_FD int fd = open(path, O_RDWR | O_CLOEXEC);
	char c = 0;
	assert_int_equal(pread(fd, &c, 1, at), 1);
	c = (char)(c ^ 4);
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
}

static void assert_bad(struct fixture *f, const struct digest *d)
{
	struct blob *b = NULL;
	assert_int_equal(store_get(f->store, d, &b, &f->err), -EAGAIN);
	assert_int_equal(store_verify(f->store, d, &f->call, &b, &f->err), -EBADMSG);
	assert_int_equal(store_get(f->store, d, &b, &f->err), -ENOENT);
	assert_int_equal(access(blob_file(f, d), F_OK), -1);
	assert_int_equal(used_bytes(f), disk_use(f));
}

static void tampering_is_found_by_a_fresh_store(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	fetch(f, LEN, 1, &d);
	close_store(f);
	change_byte(blob_file(f, &d), LEN - 1);
	(void)open_store(f, 1ull << 30, 0);
	assert_bad(f, &d);
}

static void one_short_and_one_long_are_found(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	static const off_t sizes[] = {LEN - 1, LEN + 1, 0};
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		fetch(f, LEN, 1, &d);
		close_store(f);
		assert_int_equal(truncate(blob_file(f, &d), sizes[i]), 0);
		(void)open_store(f, 1ull << 30, 0);
		assert_bad(f, &d);
	}
}

static void file_replaced_since_is_hashed_again(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	fetch(f, LEN, 1, &d);
	reopen_store(f);
	assert_int_equal(store_verify(f->store, &d, &f->call, &b, &f->err), 0);
	blob_unref(b);
	settle(f);
	blobs_close_idle(f->store);
	assert_int_equal(store_get(f->store, &d, &b, &f->err), 0);
	blob_unref(b);
	settle(f);
	blobs_close_idle(f->store);
	change_byte(blob_file(f, &d), 7);
	assert_bad(f, &d);
}

/* Another process's view. */
static bool is_held(const struct fixture *f, const struct digest *d)
{
	AUTO_FD int fd = open(blob_file(f, d), O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return filelock_taken(fd);
}

static uint64_t count_idle(struct store *s, bool *ret_watched)
{
	lock_take(&s->lock);
	uint64_t n = s->n_idle;
	*ret_watched = s->idle_watched;
	lock_drop(&s->lock);
	return n;
}

static int64_t due_ms(struct worker *w)
{
	lock_take(&w->lock);
	int64_t at_ms = w->due_ms;
	lock_drop(&w->lock);
	return at_ms;
}

static void what_nobody_has_is_closed_after_a_while_and_no_earlier(void **state)
{
	struct fixture *f = *state;
	struct digest used, left;
	struct blob *b = NULL, *again = NULL;
	uint64_t size;
	bool watched;
	fetch(f, LEN, 1, &left);
	fetch(f, LEN, 2, &used);
	reopen_store(f);
	assert_int_equal(store_verify(f->store, &left, &f->call, &b, &f->err), 0);
	blob_unref(b);
	settle(f);
	assert_true(is_held(f, &left));
	assert_true(due_ms(&f->store->worker) <= clock_ms() + BLOB_IDLE_MS);
	assert_int_equal(store_get(f->store, &left, &again, &f->err), 0);
	assert_ptr_equal(again, b);
	blob_unref(again);

	/* As if the time had passed; what somebody has stays, however long. */
	assert_int_equal(store_verify(f->store, &used, &f->call, &b, &f->err), 0);
	settle(f);
	f->store->idle_max_ms = 0;
	worker_wake_at(&f->store->worker, 0);
	while (blobs_open_size(f->store, &left, &size))
		settle(f);
	settle(f);
	assert_false(is_held(f, &left));
	assert_true(is_held(f, &used));
	assert_int_equal(store_get(f->store, &left, &again, &f->err), 0);
	blob_unref(again);
	blob_unref(b);
	while (count_idle(f->store, &watched) > 0)
		settle(f);
	settle(f);
	assert_false(is_held(f, &used));
	assert_true(due_ms(&f->store->worker) == INT64_MAX);
	assert_int_equal(count_idle(f->store, &watched), 0);
	assert_false(watched);
}

static void reader_keeps_what_was_dropped(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL, *other = NULL;
	fetch(f, LEN, 1, &d);
	reopen_store(f);
	assert_int_equal(store_verify(f->store, &d, &f->call, &b, &f->err), 0);
	store_drop(f->store, &d);
	assert_false(store_has(f->store, &d, NULL));
	assert_int_equal(store_get(f->store, &d, &other, &f->err), -ENOENT);
	assert_bytes(b, LEN, 1);
	/* Its blocks are in use as long as it is open. */
	assert_int_equal(disk_use(f), 0);
	assert_true(used_bytes(f) >= LEN);
	blob_unref(b);
	reopen_store(f);
	assert_int_equal(used_bytes(f), 0);
}

static void dropped_while_being_published_it_stays_away(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	struct partial *p = NULL;
	struct blob *b = NULL;
	assert_int_equal(store_partial(f->store, &d, LEN, &f->call, &p, &f->err), 0);
	assert_int_equal(partial_write(p, data, LEN, &f->err), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	store_drop(f->store, &d);
	assert_bytes(b, LEN, 1);
	blob_unref(b);
	reopen_store(f);
	assert_false(store_has(f->store, &d, NULL));
	assert_int_equal(disk_use(f), 0);
	assert_int_equal(used_bytes(f), 0);
}

static void put_keeps_what_matches_only(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	AUTO_FREE char *data = make_bytes(LEN, 1, &d);
	struct blob *b = NULL, *again = NULL;
	assert_int_equal(store_put(f->store, &d, data, LEN - 1, &b, &f->err), -EBADMSG);
	assert_int_equal(store_put(f->store, &d, data, STORE_PUT_MAX + 1, &b, &f->err), -EFBIG);
	assert_int_equal(store_put(f->store, &d, data, LEN, &b, &f->err), 0);
	assert_bytes(b, LEN, 1);
	assert_int_equal(store_put(f->store, &d, data, LEN, &again, &f->err), 0);
	assert_ptr_equal(again, b);
	blob_unref(again);
	blob_unref(b);
	assert_int_equal(used_bytes(f), disk_use(f));
	/* What an earlier process left wrong is put right. */
	close_store(f);
	change_byte(blob_file(f, &d), 0);
	(void)open_store(f, 1ull << 30, 0);
	assert_int_equal(store_put(f->store, &d, data, LEN, &b, &f->err), 0);
	assert_bytes(b, LEN, 1);
	blob_unref(b);
	assert_int_equal(used_bytes(f), disk_use(f));
}

static void what_is_no_file_of_ours_is_not_there(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	fetch(f, LEN, 1, &d);
	close_store(f);
	char kept[600];
	snprintf(kept, sizeof(kept), "%s/kept", f->root);
	for (int kind = 0; kind < 4; kind++) {
		const char *path = blob_file(f, &d);
		(void)open_store(f, 1ull << 30, 0);
		close_store(f);
		if (kind == 0) {
			assert_int_equal(rename(path, kept), 0);
			assert_int_equal(symlink(kept, path), 0);
		} else if (kind == 1) {
			assert_int_equal(mkdir(path, 0700), 0);
		} else if (kind == 2) {
			assert_int_equal(mkfifo(path, 0600), 0);
		} else {
			assert_int_equal(rename(kept, path), 0);
			if (geteuid() == 0)
				assert_int_equal(chown(path, 12345, 12345), 0);
			else
				assert_int_equal(unlink(path), 0);
		}
		(void)open_store(f, 1ull << 30, 0);
		assert_int_equal(store_verify(f->store, &d, &f->call, &b, &f->err), -ENOENT);
		assert_int_equal(store_get(f->store, &d, &b, &f->err), -ENOENT);
		struct stat st;
		assert_int_equal(lstat(path, &st), -1);
		close_store(f);
	}
	(void)open_store(f, 1ull << 30, 0);
	fetch(f, LEN, 1, &d);
}

static void linked_blobs_directory_is_not_followed(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	struct partial *p = NULL;
	fetch(f, LEN, 1, &d);
	close_store(f);
	char away[600];
	snprintf(away, sizeof(away), "%s/away", f->root);
	assert_int_equal(rename(path_in(f, "blobs"), away), 0);
	assert_int_equal(symlink(away, path_in(f, "blobs")), 0);
	(void)open_store(f, 1ull << 30, 0);
	assert_int_equal(store_get(f->store, &d, &b, &f->err), -ENOENT);
	assert_int_equal(store_partial(f->store, &d, LEN, &f->call, &p, &f->err), -EIO);
	assert_non_null(strstr(f->err.text, "is no directory: remove it"));
	struct stat st;
	char kept[800];
	snprintf(kept, sizeof(kept), "%s/%s", away, strstr(blob_file(f, &d), "sha256/"));
	assert_int_equal(stat(kept, &st), 0);
}

static int try_open(struct fixture *f)
{
	struct store_options o = {.dir = f->dir};
	int rc = store_open(&o, &f->store, &f->err);
	if (rc == 0)
		close_store(f);
	return rc;
}

static void directory_is_made_private_with_its_parents(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	strcat(f->dir, "/a/b/");
	assert_int_equal(try_open(f), 0);
	assert_int_equal(stat(f->dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(try_open(f), 0);
}

static void directory_of_others_is_refused_in_words(void **state)
{
	struct fixture *f = *state;
	static const mode_t bad[] = {0720, 0702, 0777, 01777};
	assert_int_equal(mkdir(f->dir, 0700), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(chmod(f->dir, bad[i]), 0);
		assert_int_equal(try_open(f), -EACCES);
		assert_non_null(strstr(f->err.text, "may be written by others"));
		assert_non_null(strstr(f->err.text, "chmod 700"));
		assert_non_null(strstr(f->err.text, f->dir));
	}
	assert_int_equal(chmod(f->dir, 0755), 0);
	assert_int_equal(try_open(f), 0);
	if (geteuid() != 0)
		return;
	assert_int_equal(chown(f->dir, 12345, 12345), 0);
	assert_int_equal(try_open(f), -EACCES);
	assert_non_null(strstr(f->err.text, "belongs to uid 12345"));
}

static void impossible_directory_is_an_error(void **state)
{
	struct fixture *f = *state;
	strcpy(f->dir, "relative");
	assert_int_equal(try_open(f), -EINVAL);
	strcpy(f->dir, "/dev/null/x");
	assert_int_equal(try_open(f), -ENOTDIR);
	assert_non_null(strstr(f->err.text, "/dev/null/x"));
}

static void vanished_directory_is_made_anew(void **state)
{
	struct fixture *f = *state;
	struct digest d, e;
	struct blob *b = NULL;
	char cmd[200];
	fetch(f, LEN, 1, &d);
	reopen_store(f);
	assert_int_equal(store_verify(f->store, &d, &f->call, &b, &f->err), 0);
	settle(f);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", f->dir);
	assert_int_equal(system(cmd), 0);
	/* What is open stays, the rest is a miss, and fetching works. */
	assert_bytes(b, LEN, 1);
	blob_unref(b);
	fetch(f, LEN, 2, &e);
	reopen_store(f);
	struct stat st;
	assert_int_equal(stat(f->dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(store_verify(f->store, &e, &f->call, &b, &f->err), 0);
	assert_bytes(b, LEN, 2);
	blob_unref(b);
	assert_false(store_has(f->store, &d, NULL));
	assert_int_equal(used_bytes(f), disk_use(f));
}

static void given_up_verification_says_so_and_can_be_repeated(void **state)
{
	struct fixture *f = *state;
	struct digest d;
	struct blob *b = NULL;
	fetch(f, LEN, 1, &d);
	reopen_store(f);
	struct call c;
	call_init(&c, INT64_MAX);
	call_cancel(&c);
	assert_int_equal(store_verify(f->store, &d, &c, &b, &f->err), -ECANCELED);
	call_release(&c);
	call_init(&c, clock_ms() - 1);
	assert_int_equal(store_verify(f->store, &d, &c, &b, &f->err), -ETIMEDOUT);
	call_release(&c);
	assert_int_equal(store_verify(f->store, &d, &f->call, &b, &f->err), 0);
	blob_unref(b);
}

#define HUGE ((off_t)1 << 40)

struct verifier {
	struct fixture *f;
	struct digest digest;
	struct call call;
	int rc;
};

static void *verify(void *ctx)
{
	struct verifier *v = ctx;
	struct blob *b = NULL;
	v->rc = store_verify(v->f->store, &v->digest, &v->call, &b, NULL);
	return NULL;
}

/* Hashing takes long, and eviction must not take the file from under it. */
static void blob_is_held_while_it_is_hashed(void **state)
{
	struct fixture *f = *state;
	struct verifier v = {.f = f};
	pthread_t thread;
	fetch(f, LEN, 1, &v.digest);
	close_store(f);
	/* Holes that it takes minutes to read. */
	assert_int_equal(truncate(blob_file(f, &v.digest), HUGE), 0);
	(void)open_store(f, 1ull << 30, 0);
	AUTO_FD int fd = open(blob_file(f, &v.digest), O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	call_init(&v.call, INT64_MAX);
	assert_int_equal(pthread_create(&thread, NULL, verify, &v), 0);
	int64_t until = clock_ms() + 5000;
	while (!filelock_taken(fd) && clock_ms() < until)
		usleep(1000);
	assert_true(filelock_taken(fd));
	call_cancel(&v.call);
	pthread_join(thread, NULL);
	assert_int_equal(v.rc, -ECANCELED);
	assert_false(filelock_taken(fd));
	call_release(&v.call);
}

#define N_BLOBS   8
#define N_THREADS 8

struct crowd {
	struct fixture *f;
	struct digest digests[N_BLOBS];
};

/* Everybody uses everything; nothing may be wrong, whatever is evicted. */
static void *use_blobs(void *ctx)
{
	struct crowd *c = ctx;
	struct store *s = c->f->store;
	for (unsigned i = 0; i < 100; i++) {
		unsigned n = i % N_BLOBS;
		struct blob *b = NULL;
		struct call call;
		call_init(&call, INT64_MAX);
		int rc = store_get(s, &c->digests[n], &b, NULL);
		if (rc == -EAGAIN)
			rc = store_verify(s, &c->digests[n], &call, &b, NULL);
		if (rc == -ENOENT) {
			AUTO_FREE char *data = make_bytes(LEN + n, n, NULL);
			rc = store_put(s, &c->digests[n], data, LEN + n, &b, NULL);
		}
		assert_int_equal(rc, 0);
		assert_bytes(b, LEN + n, n);
		if (i % 17 == 3)
			store_drop(s, &c->digests[n]);
		if (i % 5 == 0)
			blobs_close_idle(s);
		blob_unref(b);
		call_release(&call);
	}
	return NULL;
}

static void threads_share_a_store(void **state)
{
	struct fixture *f = *state;
	struct crowd c = {.f = f};
	pthread_t threads[N_THREADS];
	for (unsigned i = 0; i < N_BLOBS; i++)
		fetch(f, LEN + i, i, &c.digests[i]);
	reopen_store(f);
	for (size_t i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_blobs, &c), 0);
	for (size_t i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	reopen_store(f);
	assert_int_equal(used_bytes(f), disk_use(f));
}

#define WITH_STORE(t) cmocka_unit_test_setup_teardown(t, make_store, remove_root)
#define WITH_ROOT(t)  cmocka_unit_test_setup_teardown(t, make_root, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_STORE(nothing_there_is_enoent),
	    WITH_STORE(fetched_blob_is_verified_at_once),
	    WITH_STORE(published_blob_is_read_only_and_hashed_by_the_next),
	    WITH_STORE(next_process_believes_what_is_shared),
	    WITH_STORE(empty_blob_is_a_blob),
	    WITH_STORE(sha512_has_a_place_of_its_own),
	    WITH_STORE(tampering_is_found_by_a_fresh_store),
	    WITH_STORE(one_short_and_one_long_are_found),
	    WITH_STORE(file_replaced_since_is_hashed_again),
	    WITH_STORE(what_nobody_has_is_closed_after_a_while_and_no_earlier),
	    WITH_STORE(reader_keeps_what_was_dropped),
	    WITH_STORE(dropped_while_being_published_it_stays_away),
	    WITH_STORE(put_keeps_what_matches_only),
	    WITH_STORE(what_is_no_file_of_ours_is_not_there),
	    WITH_STORE(linked_blobs_directory_is_not_followed),
	    WITH_ROOT(directory_is_made_private_with_its_parents),
	    WITH_ROOT(directory_of_others_is_refused_in_words),
	    WITH_ROOT(impossible_directory_is_an_error),
	    WITH_STORE(vanished_directory_is_made_anew),
	    WITH_STORE(given_up_verification_says_so_and_can_be_repeated),
	    WITH_STORE(blob_is_held_while_it_is_hashed),
	    WITH_STORE(threads_share_a_store),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
