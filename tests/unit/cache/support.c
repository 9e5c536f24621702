/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cache/support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/macros.h"
#include "cache/store_impl.h"

int make_root(void **state)
{
	static struct fixture f;
	f = (struct fixture){.root = "/tmp/wasmocifs-test-XXXXXX"};
	if (mkdtemp(f.root) == NULL)
		return -1;
	snprintf(f.dir, sizeof(f.dir), "%s/cache", f.root);
	call_init(&f.call, INT64_MAX);
	*state = &f;
	return 0;
}

struct store *open_store(struct fixture *f, uint64_t limit, uint64_t memory_budget)
{
	/* A floor of one byte: the disk of the test is not what is tested. */
	struct store_options o = {
	    .dir = f->dir, .limit = limit, .floor = 1, .memory_budget = memory_budget};
	assert_int_equal(store_open(&o, &f->store, &f->err), 0);
	return f->store;
}

void close_store(struct fixture *f)
{
	store_close(f->store);
	f->store = NULL;
}

void reopen_store(struct fixture *f)
{
	uint64_t limit = f->store->space.limit_asked;
	uint64_t budget = f->store->memory_budget;
	close_store(f);
	(void)open_store(f, limit, budget);
}

int make_store(void **state)
{
	int rc = make_root(state);
	if (rc == 0)
		(void)open_store(*state, 1ull << 30, 0);
	return rc;
}

struct marker {
	struct job job;
	struct lock lock;
	struct cond cond;
	bool reached; /* guarded by lock */
};

static void reach(struct job *job)
{
	struct marker *m = (struct marker *)(void *)job;
	lock_take(&m->lock);
	m->reached = true;
	cond_signal(&m->cond);
	lock_drop(&m->lock);
}

void settle(struct fixture *f)
{
	struct marker m = {.job = {.run = reach}};
	lock_init(&m.lock);
	cond_init(&m.cond);
	worker_post(&f->store->worker, &m.job);
	lock_take(&m.lock);
	while (!m.reached)
		cond_wait(&m.cond, &m.lock);
	lock_drop(&m.lock);
	cond_release(&m.cond);
	lock_release(&m.lock);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int remove_root(void **state)
{
	struct fixture *f = *state;
	close_store(f);
	call_release(&f->call);
	return nftw(f->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

char *make_bytes(size_t len, unsigned seed, struct digest *ret)
{
	char *data = malloc(len + 1);
	assert_non_null(data);
	uint32_t x = seed * 2654435761u + 1;
	for (size_t i = 0; i < len; i++) {
		x = x * 1664525u + 1013904223u;
		data[i] = (char)(x >> 24);
	}
	if (ret != NULL)
		assert_int_equal(digest_of(DIGEST_SHA256, data, len, ret), 0);
	return data;
}

void fetch(struct fixture *f, size_t len, unsigned seed, struct digest *ret)
{
	AUTO_FREE char *data = make_bytes(len, seed, ret);
	struct partial *p = NULL;
	struct blob *b = NULL;
	assert_int_equal(store_partial(f->store, ret, len, &f->call, &p, &f->err), 0);
	assert_int_equal(partial_write(p, data, len, &f->err), 0);
	assert_int_equal(partial_commit(p, &b, &f->err), 0);
	blob_unref(b);
}

void assert_bytes(const struct blob *b, size_t len, unsigned seed)
{
	AUTO_FREE char *want = make_bytes(len, seed, NULL);
	AUTO_FREE char *got = malloc(len + 1);
	assert_int_equal(blob_size(b), len);
	assert_int_equal(file_pread_full(blob_fd(b), got, len + 1, 0), len);
	assert_memory_equal(want, got, len);
	assert_int_equal(fcntl(blob_fd(b), F_GETFL) & O_ACCMODE, O_RDONLY);
}

const char *path_in(const struct fixture *f, const char *name)
{
	static char path[512];
	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	return path;
}

const char *blob_file(const struct fixture *f, const struct digest *d)
{
	char hex[DIGEST_HEX_MAX];
	char name[256];
	digest_hex(d, hex);
	snprintf(name, sizeof(name), "blobs/%s/%s", digest_alg_name(d), hex);
	return path_in(f, name);
}

uint64_t used_bytes(struct fixture *f)
{
	struct store_usage u;
	assert_int_equal(space_enter(f->store, NULL, &f->err), 0);
	space_leave(f->store);
	store_usage(f->store, &u);
	return u.bytes;
}

static uint64_t sum;

static int add_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)ftw;
	if (type == FTW_F && (strstr(path, "/blobs/") != NULL || strstr(path, "/partial/") != NULL))
		sum += (uint64_t)st->st_blocks * 512;
	return 0;
}

uint64_t disk_use(const struct fixture *f)
{
	sum = 0;
	assert_int_equal(nftw(f->dir, add_one, 16, FTW_PHYS), 0);
	return sum;
}

struct partial *begin(struct fixture *f, const struct digest *d, uint64_t size)
{
	struct partial *p = NULL;
	assert_int_equal(store_partial(f->store, d, size, &f->call, &p, &f->err), 0);
	return p;
}

int count_files(const struct fixture *f, const char *name)
{
	int n = 0;
	DIR *d = opendir(path_in(f, name));
	const struct dirent *e;
	while (d != NULL && (e = readdir(d)) != NULL)
		n += e->d_name[0] != '.';
	if (d != NULL)
		closedir(d);
	return n;
}

const char *partial_file(const struct fixture *f, const struct digest *d, uint64_t size)
{
	char name[PARTIAL_NAME_MAX];
	char path[PARTIAL_NAME_MAX + 16];
	path_partial(d, size, name);
	snprintf(path, sizeof(path), "partial/%s", name);
	return path_in(f, path);
}
