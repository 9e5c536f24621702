/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/file.h"
#include "cache/filelock.h"
#include "cache/store_impl.h"

#define HASH_PIECE (256u << 10) /* between two looks at the call */
#define WAIT_MS    100          /* between two looks at the call while waiting */

/* One verification under way; on the stack of its thread. */
struct verifying {
	struct digest digest;
	UT_hash_handle hh;
};

static void store_free(void *ctx)
{
	struct store *s = ctx;
	ASSERT(s->partials == NULL);
	blobs_release(s);
	worker_release(&s->worker);
	space_release(&s->space);
	dirs_release(&s->dirs);
	cond_release(&s->changed);
	hashed_release(&s->hashed);
	lock_release(&s->lock);
	free(s);
}

static void tick(void *ctx)
{
	struct store *s = ctx;
	sweep(s);
	if (space_enter(s, NULL, NULL) == 0) /* so that the usage is known */
		space_leave(s);
	put_settle(s);
}

static void due(void *ctx)
{
	blobs_close_old(ctx);
}

static uint64_t default_floor(const struct dirs *d)
{
	struct statvfs v;
	if (fstatvfs(d->fd, &v) < 0)
		return STORE_FLOOR_DEFAULT;
	uint64_t part = (uint64_t)v.f_blocks * v.f_frsize / 20;
	return part < STORE_FLOOR_DEFAULT ? part : STORE_FLOOR_DEFAULT;
}

/* The other half is for what is being fetched, connections, and all else. */
static uint64_t default_open_max(void)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return STORE_OPEN_LEAST;
	return files.rlim_cur / 2 > STORE_OPEN_LEAST ? files.rlim_cur / 2 : STORE_OPEN_LEAST;
}

int store_open(const struct store_options *o, struct store **ret, struct err *err)
{
	struct store *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return err_errno(err, -ENOMEM, "cache");
	int rc = dirs_init(&s->dirs, o->dir, err);
	if (rc < 0) {
		free(s);
		return rc;
	}
	space_init(&s->space, o->limit, o->floor != 0 ? o->floor : default_floor(&s->dirs));
	if (o->lock_ms > 0)
		s->space.lock_ms = o->lock_ms;
	s->memory_budget = o->memory_budget != 0 ? o->memory_budget : STORE_MEMORY_DEFAULT;
	s->open_max = o->open_max != 0 ? o->open_max : default_open_max();
	s->idle_memory_max =
	    BLOB_IDLE_MEMORY_MAX < s->open_max / 2 ? BLOB_IDLE_MEMORY_MAX : s->open_max / 2;
	hashed_init(&s->hashed);
	s->stall_ms = PARTIAL_STALL_MS;
	s->sync_ms = PARTIAL_SYNC_MS;
	s->idle_max_ms = BLOB_IDLE_MS;
	lock_init(&s->lock);
	cond_init(&s->changed);
	TAILQ_INIT(&s->idle);
	TAILQ_INIT(&s->known);
	TAILQ_INIT(&s->idle_memory);
	worker_init(&s->worker, STORE_TICK_MS, tick, due, store_free, s);
	*ret = s;
	return 0;
}

void store_share_hashed(struct store *s, void *memory)
{
	hashed_use(&s->hashed, memory);
}

int store_start(struct store *s, struct err *err)
{
	int rc = worker_start(&s->worker);
	return rc < 0 ? err_errno(err, rc, "cannot start the thread of the cache") : 0;
}

void store_close(struct store *s)
{
	if (s != NULL && worker_stop(&s->worker, clock_ms() + STORE_CLOSE_MS))
		store_free(s);
}

int store_dirfd(const struct store *s)
{
	return s->dirs.fd;
}

void store_usage(struct store *s, struct store_usage *ret)
{
	*ret = (struct store_usage){.floor = s->space.floor};
	memcpy(ret->dir, s->dirs.path, sizeof(s->dirs.path));
	struct account account;
	space_seen(s, &account, &ret->limit);
	ret->bytes = account.bytes;
	ret->blobs = account.blobs;
	ret->bytes += space_orphans(s);
	ret->evictions = s->evictions;
	ret->evicted_bytes = s->evicted_bytes;
	ret->verifications = s->verifications;
	ret->mismatches = s->mismatches;
	lock_take(&s->lock);
	ret->memory_bytes = s->memory_bytes;
	ret->open = s->n_open;
	ret->open_max = s->open_max;
	ret->publish_failures = s->publish_failures;
	memcpy(ret->last_failure, s->last_failure, sizeof(ret->last_failure));
	memcpy(ret->memory_cause, s->memory_cause, sizeof(ret->memory_cause));
	lock_drop(&s->lock);
}

int store_get(struct store *s, const struct digest *d, struct blob **ret, struct err *err)
{
	struct file_id known;
	struct stat st;
	int found = blobs_find(s, d, ret, &known);
	if (found == 0 && blob_is_intact(*ret))
		return 0;
	if (found == 0) {
		blobs_disown(s, *ret);
		blob_unref(*ret);
		*ret = NULL;
		return err_set(err, -EAGAIN, "it is no longer the file that was hashed");
	}
	AUTO_FD int fd = open_blob(s, d, &st, err);
	if (fd == -ENOENT)
		return err_set(err, -ENOENT, "not in the cache");
	if (fd < 0)
		return fd;
	struct file_id id;
	file_id_of(&st, &id);
	if (found == -ENOENT && hashed_find(&s->hashed, d, &known))
		found = -EAGAIN;
	if (found == -ENOENT || !file_id_equal(&id, &known))
		return err_set(err, -EAGAIN, "not hashed yet");
	if (!blobs_have_room(s))
		return err_set(err, -EAGAIN, "as many are open as may be");
	int rc = blobs_add(s, d, steal_fd(&fd), &id, BLOB_DISK, ret);
	return rc < 0 ? err_errno(err, rc, "cache") : 0;
}

int store_hash(int fd, const struct digest *d, struct call *call, struct digest *ret,
	       struct err *err)
{
	AUTO_FREE char *buf = malloc(HASH_PIECE);
	struct hasher *h = NULL;
	int rc = buf != NULL ? hasher_new(d->alg, &h) : -ENOMEM;
	if (rc < 0)
		return err_errno(err, rc, "cannot hash");
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	uint64_t off = 0;
	int64_t n = 0;
	while ((rc = call_check(call, err)) == 0) {
		n = file_pread_full(fd, buf, HASH_PIECE, off);
		if (n <= 0)
			break;
		rc = hasher_update(h, buf, (size_t)n);
		if (rc < 0)
			break;
		off += (uint64_t)n;
	}
	if (rc == 0 && n >= 0)
		rc = hasher_final(h, ret);
	hasher_free(h);
	if (rc == 0 && n < 0)
		return err_set(err, n == -EIO ? -ENODATA : -EIO,
			       "cannot read what is in the cache (%s)", strerrorname_np((int)-n));
	return rc == -EIO ? err_errno(err, rc, "cannot hash") : rc;
}

static int verify_file(struct store *s, const struct digest *d, struct call *call,
		       struct blob **ret, struct err *err)
{
	struct stat st;
	int room = blobs_room(s, s->open_max, err);
	if (room < 0)
		return room;
	AUTO_FD int fd = open_blob(s, d, &st, err);
	if (fd == -ENOENT)
		return err_set(err, -ENOENT, "not in the cache");
	if (fd < 0)
		return fd;
	/* Hashing takes long, and is in vain if it is evicted meanwhile. */
	(void)filelock_shared(fd, FILELOCK_READER);
	struct file_id id, after;
	struct digest got;
	file_id_of(&st, &id);
	int rc = store_hash(fd, d, call, &got, err);
	if (rc < 0 && rc != -ENODATA)
		return rc;
	s->verifications++;
	if (fstat(fd, &st) < 0)
		return err_errno(err, -EIO, "what is in the cache");
	file_id_of(&st, &after);
	if (rc == 0 && file_id_equal(&id, &after) && digest_equal(&got, d)) {
		rc = blobs_add(s, d, steal_fd(&fd), &id, BLOB_DISK, ret);
		return rc < 0 ? err_errno(err, rc, "cache") : 0;
	}
	/* A file that cannot be read is as useless as a wrong one. */
	s->mismatches++;
	bool removed = remove_wrong(s, d, &after);
	if (rc == -ENODATA)
		return -EIO;
	return err_set(err, -EBADMSG, "what the cache held does not match its digest: %s",
		       removed ? "removed" : "it cannot be removed, and is passed over");
}

/* True: this thread is the one that hashes it, until end_verifying. */
static bool begin_verifying(struct store *s, struct verifying *v)
{
	struct verifying *other = NULL;
	lock_take(&s->lock);
	HASH_FIND(hh, s->verifying, &v->digest, sizeof(v->digest), other);
	if (other == NULL)
		HASH_ADD(hh, s->verifying, digest, sizeof(v->digest), v);
	else
		(void)cond_wait_until(&s->changed, &s->lock, clock_ms() + WAIT_MS);
	lock_drop(&s->lock);
	return other == NULL;
}

static void end_verifying(struct store *s, struct verifying *v)
{
	lock_take(&s->lock);
	if (v->hh.tbl != NULL)
		HASH_DEL(s->verifying, v);
	cond_broadcast(&s->changed);
	lock_drop(&s->lock);
}

int store_verify(struct store *s, const struct digest *d, struct call *call, struct blob **ret,
		 struct err *err)
{
	struct verifying v = {.digest = *d};
	for (;;) {
		int rc = store_get(s, d, ret, NULL);
		if (rc == 0)
			return 0;
		rc = call_check(call, err);
		if (rc < 0)
			return rc;
		if (!begin_verifying(s, &v))
			continue;
		/* Hashed by another thread since we looked? */
		rc = store_get(s, d, ret, NULL);
		if (rc != 0)
			rc = verify_file(s, d, call, ret, err);
		end_verifying(s, &v);
		return rc;
	}
}

bool store_has(struct store *s, const struct digest *d, uint64_t *ret_size)
{
	uint64_t size = 0;
	if (!blobs_open_size(s, d, &size) && open_blob_exists(s, d, &size) < 0)
		return false;
	if (ret_size != NULL)
		*ret_size = size;
	return true;
}

void store_drop(struct store *s, const struct digest *d)
{
	uint64_t bytes = remove_blob(s, d, NULL);
	(void)blobs_forget(s, d, bytes);
}
