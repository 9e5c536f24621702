/* SPDX-License-Identifier: Apache-2.0 */
/* The table of verified blobs. An entry that nobody refers to keeps its
 * descriptor for a while (idle), then only what identifies the file that was
 * hashed (known), so that using it again costs an open and no hashing. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "cache/filelock.h"
#include "cache/store_impl.h"

/* Descriptors that one call closes at most; the next one goes on. */
#define CLOSE_BATCH 8

struct touch_job {
	struct job job;
	struct blob *blob; /* a reference */
};

void file_id_of(const struct stat *st, struct file_id *ret)
{
	*ret = (struct file_id){.dev = st->st_dev,
				.ino = st->st_ino,
				.size = (uint64_t)st->st_size,
				.mtime = st->st_mtim};
}

bool file_id_equal(const struct file_id *a, const struct file_id *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec;
}

uint64_t disk_bytes(const struct stat *st)
{
	return (uint64_t)st->st_blocks * 512;
}

static struct blob *lookup(struct store *s, const struct digest *d) REQUIRES(s->lock)
{
	struct blob *b = NULL;
	HASH_FIND(hh, s->blobs, d, sizeof(*d), b);
	return b;
}

static void leave_list(struct store *s, struct blob *b) REQUIRES(s->lock)
{
	switch (b->list) {
	case BLOB_NO_LIST:
		return;
	case BLOB_IDLE:
		TAILQ_REMOVE(&s->idle, b, link);
		s->n_idle--;
		s->idle_bytes -= b->size;
		break;
	case BLOB_KNOWN:
		TAILQ_REMOVE(&s->known, b, link);
		s->n_known--;
		break;
	case BLOB_IDLE_MEMORY:
		TAILQ_REMOVE(&s->idle_memory, b, link);
		s->n_idle_memory--;
		break;
	}
	b->list = BLOB_NO_LIST;
}

static void leave_table(struct store *s, struct blob *b) REQUIRES(s->lock)
{
	leave_list(s, b);
	HASH_DEL(s->blobs, b);
	b->in_table = false;
}

/* The last descriptor of a file without a name frees its blocks, which takes
 * long for a large one. */
static void bury(struct blob *b)
{
	if (b->fd >= 0) {
		close(b->fd);
		lock_take(&b->store->lock);
		b->store->n_open--;
		lock_drop(&b->store->lock);
	}
	if (b->orphan_bytes > 0)
		space_orphan_gone(b->store, b->orphan_bytes);
	if (b->state == BLOB_MEMORY)
		memory_return(b->store, b->size);
	free(b);
}

static void bury_later(struct job *job)
{
	struct blob *b = (struct blob *)(void *)job;
	struct store *s = b->store;
	bury(b);
	blobs_job_ends(s);
}

/* Oldest idle blob to the known ones; its fd is the caller's to close. */
static int idle_to_known(struct store *s, struct blob **ret_surplus) REQUIRES(s->lock)
{
	struct blob *b = TAILQ_FIRST(&s->idle);
	int fd = b->fd;
	leave_list(s, b);
	b->fd = -1;
	s->n_open--;
	b->list = BLOB_KNOWN;
	TAILQ_INSERT_TAIL(&s->known, b, link);
	s->n_known++;
	*ret_surplus = NULL;
	if (s->n_known > BLOB_KNOWN_MAX) {
		*ret_surplus = TAILQ_FIRST(&s->known);
		leave_table(s, *ret_surplus);
	}
	return fd;
}

/* Of those that are idle, what may stay. */
struct keep {
	uint64_t fds, bytes;
	int64_t since_ms; /* and none before it */
};

static bool is_too_much(const struct store *s, const struct keep *keep) REQUIRES(s->lock)
{
	const struct blob *oldest = TAILQ_FIRST(&s->idle);
	return oldest != NULL && (s->n_idle > keep->fds || s->idle_bytes > keep->bytes ||
				  oldest->idle_ms < keep->since_ms);
}

/* Closes the oldest ones until no more than this is left. */
static void trim_idle(struct store *s, const struct keep *keep)
{
	size_t n;
	do {
		int closing[CLOSE_BATCH];
		struct blob *surplus[CLOSE_BATCH];
		n = 0;
		lock_take(&s->lock);
		while (n < CLOSE_BATCH && is_too_much(s, keep)) {
			closing[n] = idle_to_known(s, &surplus[n]);
			n++;
		}
		lock_drop(&s->lock);
		for (size_t i = 0; i < n; i++) {
			close(closing[i]);
			free(surplus[i]);
		}
	} while (n == CLOSE_BATCH);
}

void blobs_close_idle(struct store *s)
{
	trim_idle(s, &(struct keep){0});
}

void blobs_close_old(struct store *s)
{
	int64_t at_ms = INT64_MAX;
	trim_idle(s, &(struct keep){UINT64_MAX, UINT64_MAX, clock_ms() - s->idle_max_ms + 1});
	lock_take(&s->lock);
	const struct blob *oldest = TAILQ_FIRST(&s->idle);
	s->idle_watched = oldest != NULL;
	if (oldest != NULL)
		at_ms = oldest->idle_ms + s->idle_max_ms;
	lock_drop(&s->lock);
	if (at_ms < INT64_MAX)
		worker_wake_at(&s->worker, at_ms);
}

static void touch(struct job *job)
{
	struct touch_job *t = (struct touch_job *)(void *)job;
	struct store *s = t->blob->store;
	/* Set by hand: most mounts do not keep the time of access. */
	const struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
	(void)futimens(t->blob->fd, times);
	blob_unref(t->blob);
	free(t);
	blobs_job_ends(s);
}

/* In the background, since writing an inode may wait for the journal. */
static void touch_later(struct blob *b)
{
	struct touch_job *t = malloc(sizeof(*t));
	if (t == NULL)
		return;
	*t = (struct touch_job){.job = {.run = touch}, .blob = blob_ref(b)};
	blobs_job_begins(b->store);
	worker_post(&b->store->worker, &t->job);
}

/* A reference for the caller; true if the time of use is due to be written. */
static bool take_ref(struct store *s, struct blob *b) REQUIRES(s->lock)
{
	leave_list(s, b);
	b->refs++;
	int64_t now = clock_ms();
	if (b->state != BLOB_DISK || now - b->touched_ms < BLOB_TOUCH_MS)
		return false;
	b->touched_ms = now;
	return true;
}

int blobs_find(struct store *s, const struct digest *d, struct blob **ret, struct file_id *ret_id)
{
	bool touch_due = false;
	int rc = 0;
	lock_take(&s->lock);
	struct blob *b = lookup(s, d);
	if (b == NULL) {
		rc = -ENOENT;
	} else if (b->fd < 0) {
		*ret_id = b->id;
		rc = -EAGAIN;
	} else {
		touch_due = take_ref(s, b);
	}
	lock_drop(&s->lock);
	if (rc < 0)
		return rc;
	if (touch_due)
		touch_later(b);
	*ret = b;
	return 0;
}

bool blobs_open_size(struct store *s, const struct digest *d, uint64_t *ret)
{
	lock_take(&s->lock);
	const struct blob *b = lookup(s, d);
	bool open = b != NULL && b->fd >= 0;
	if (open)
		*ret = b->size;
	lock_drop(&s->lock);
	return open;
}

/* The entry to use for d: one that is there, or `fresh`. NULL: no memory. */
static struct blob *enter(struct store *s, struct blob *fresh) REQUIRES(s->lock)
{
	struct blob *b = lookup(s, &fresh->digest);
	if (b != NULL)
		return b;
	HASH_ADD(hh, s->blobs, digest, sizeof(fresh->digest), fresh);
	fresh->in_table = fresh->hh.tbl != NULL;
	return fresh->in_table ? fresh : NULL;
}

int blobs_add(struct store *s, const struct digest *d, int fd, const struct file_id *id,
	      enum blob_state state, struct blob **ret)
{
	AUTO_FD int owned = fd;
	struct blob *fresh = calloc(1, sizeof(*fresh));
	if (fresh == NULL)
		return -ENOMEM;
	*fresh = (struct blob){.bury = {.run = bury_later}, .store = s, .digest = *d, .fd = -1};
	/* Tells the evictors of all processes that somebody reads it. Where the
	 * file system has no locks, they may unlink it: it stays readable. */
	if (state != BLOB_MEMORY)
		(void)filelock_shared(fd, FILELOCK_READER);
	int64_t never = clock_ms() - BLOB_TOUCH_MS;
	bool touch_due = false;

	lock_take(&s->lock);
	struct blob *b = enter(s, fresh);
	if (b != NULL && b->fd < 0) {
		leave_list(s, b);
		b->fd = steal_fd(&owned);
		s->n_open++;
		b->size = id->size;
		b->id = *id;
		b->state = state;
		if (b == fresh)
			b->touched_ms = state == BLOB_DISK ? never : clock_ms();
	}
	if (b != NULL)
		touch_due = take_ref(s, b);
	lock_drop(&s->lock);

	if (b != fresh)
		free(fresh);
	if (b == NULL)
		return -ENOMEM;
	if (state == BLOB_DISK)
		hashed_put(&s->hashed, d, id);
	if (touch_due)
		touch_later(b);
	*ret = b;
	return 0;
}

static void end_unused(struct blob *b)
{
	if (b->state == BLOB_MEMORY || b->fd < 0) {
		bury(b);
		return;
	}
	blobs_job_begins(b->store);
	worker_post(&b->store->worker, &b->bury);
}

bool blobs_forget(struct store *s, const struct digest *d, uint64_t orphan_bytes)
{
	/* Added before it can be taken away. */
	space_orphan(s, orphan_bytes);
	lock_take(&s->lock);
	struct blob *b = lookup(s, d);
	bool open = b != NULL && b->refs > 0;
	if (b != NULL)
		leave_table(s, b);
	if (open)
		b->orphan_bytes += orphan_bytes;
	lock_drop(&s->lock);
	if (!open)
		space_orphan_gone(s, orphan_bytes);
	if (b != NULL && !open)
		end_unused(b);
	return open;
}

void blobs_job_begins(struct store *s)
{
	lock_take(&s->lock);
	s->n_jobs++;
	lock_drop(&s->lock);
}

void blobs_job_ends(struct store *s)
{
	lock_take(&s->lock);
	s->n_jobs--;
	cond_broadcast(&s->changed);
	lock_drop(&s->lock);
}

bool blobs_have_room(struct store *s)
{
	lock_take(&s->lock);
	bool room = s->n_open < s->open_max;
	lock_drop(&s->lock);
	return room;
}

/* Whether it has made some, or may have. */
static bool make_room(struct store *s, uint64_t most, int64_t until_ms)
{
	struct digest oldest;
	lock_take(&s->lock);
	const struct blob *b = TAILQ_FIRST(&s->idle_memory);
	bool full = s->n_open >= most, idle = s->n_idle > 0;
	bool waits =
	    full && !idle && s->n_jobs > 0 && cond_wait_until(&s->changed, &s->lock, until_ms);
	bool forgets = full && !idle && !waits && b != NULL;
	if (forgets)
		oldest = b->digest;
	lock_drop(&s->lock);
	if (full && idle)
		blobs_close_idle(s);
	else if (forgets)
		(void)blobs_forget(s, &oldest, 0);
	return full && (idle || waits || forgets);
}

int blobs_room(struct store *s, uint64_t most, struct err *err)
{
	int64_t until_ms = clock_ms() + BLOB_ROOM_MS;
	while (make_room(s, most, until_ms))
		;
	lock_take(&s->lock);
	bool room = s->n_open < most;
	lock_drop(&s->lock);
	return room ? 0
		    : err_set(
			  err, -EMFILE,
			  "%llu files are open, as many as the limit of open files leaves room "
			  "for: close some, or raise the hard limit (ulimit -Hn, LimitNOFILE= in "
			  "a systemd unit) and mount again",
			  (unsigned long long)most);
}

bool blob_is_intact(struct blob *b)
{
	struct stat st;
	struct file_id now;
	lock_take(&b->store->lock);
	enum blob_state state = b->state;
	struct file_id id = b->id;
	lock_drop(&b->store->lock);
	if (state == BLOB_MEMORY)
		return true;
	/* Nobody evicts what we have open: who has unlinked it found it wrong. */
	if (fstat(b->fd, &st) < 0 || (state == BLOB_DISK && st.st_nlink == 0))
		return false;
	file_id_of(&st, &now);
	return file_id_equal(&now, &id);
}

void blobs_disown(struct store *s, struct blob *b)
{
	lock_take(&s->lock);
	if (b->in_table)
		leave_table(s, b);
	lock_drop(&s->lock);
}

bool blobs_published(struct store *s, struct blob *b)
{
	lock_take(&s->lock);
	b->state = BLOB_DISK;
	bool wanted = b->in_table;
	struct file_id id = b->id;
	lock_drop(&s->lock);
	if (wanted)
		hashed_put(&s->hashed, &b->digest, &id);
	return wanted;
}

bool blobs_wanted(struct store *s, const struct blob *b)
{
	lock_take(&s->lock);
	bool wanted = b->in_table;
	lock_drop(&s->lock);
	return wanted;
}

void blobs_orphan(struct store *s, struct blob *b, uint64_t bytes)
{
	space_orphan(s, bytes);
	lock_take(&s->lock);
	b->orphan_bytes += bytes;
	lock_drop(&s->lock);
}

int blob_fd(const struct blob *b)
{
	return b->fd;
}

uint64_t blob_size(const struct blob *b)
{
	return b->size;
}

const struct digest *blob_digest(const struct blob *b)
{
	return &b->digest;
}

struct blob *blob_ref(struct blob *b)
{
	lock_take(&b->store->lock);
	ASSERT(b->refs > 0);
	b->refs++;
	lock_drop(&b->store->lock);
	return b;
}

/* False: it is in no table, and the caller ends it. */
static bool keep_unused(struct store *s, struct blob *b) REQUIRES(s->lock)
{
	if (!b->in_table)
		return false;
	switch (b->state) {
	case BLOB_FRESH:
		/* Its publishing failed, so it has no name to be opened by. */
		leave_table(s, b);
		return false;
	case BLOB_DISK:
		b->list = BLOB_IDLE;
		b->idle_ms = clock_ms();
		TAILQ_INSERT_TAIL(&s->idle, b, link);
		s->n_idle++;
		s->idle_bytes += b->size;
		break;
	case BLOB_MEMORY:
		b->list = BLOB_IDLE_MEMORY;
		TAILQ_INSERT_TAIL(&s->idle_memory, b, link);
		s->n_idle_memory++;
		break;
	}
	return true;
}

void blob_unref(struct blob *b)
{
	if (b == NULL)
		return;
	struct store *s = b->store;
	lock_take(&s->lock);
	ASSERT(b->refs > 0);
	bool last = --b->refs == 0;
	bool kept = last && keep_unused(s, b);
	/* Whatever is used a hundred times a second, the worker wakes once for it. */
	bool watch = kept && b->list == BLOB_IDLE && !s->idle_watched;
	s->idle_watched = s->idle_watched || watch;
	lock_drop(&s->lock);
	if (!last)
		return;
	if (kept)
		trim_idle(s, &(struct keep){BLOB_IDLE_FDS, BLOB_IDLE_BYTES, INT64_MIN});
	else
		end_unused(b);
	if (watch)
		worker_wake_at(&s->worker, clock_ms() + s->idle_max_ms);
}

void blobs_release(struct store *s)
{
	struct blob *b, *next;
	HASH_ITER(hh, s->blobs, b, next)
	{
		ASSERT(b->refs == 0);
		HASH_DEL(s->blobs, b);
		bury(b);
	}
}
