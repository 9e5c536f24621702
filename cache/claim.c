/* SPDX-License-Identifier: Apache-2.0 */
/* Getting the lock of a partial, against other threads and other processes. */
#include <errno.h>
#include <fcntl.h>

#include "base/clock.h"
#include "cache/filelock.h"
#include "cache/partial_impl.h"

#define WAIT_FIRST_MS 20
#define WAIT_MAX_MS   200
/* How often a file may turn out to be gone just when it was locked, before
 * its name counts as unusable. */
#define GONE_TRIES 32

/* How another process gets on with it. */
struct watch {
	uint64_t size;    /* as last seen */
	int64_t since_ms; /* when it became that */
};

/* One try. -EBUSY: another thread has it still, after a moment. */
static int try_claim(struct partial *p)
{
	struct store *s = p->store;
	struct partial *other = NULL;
	int rc = 0;
	lock_take(&s->lock);
	HASH_FIND(hh, s->partials, &p->digest, sizeof(p->digest), other);
	if (other != NULL) {
		(void)cond_wait_until(&s->changed, &s->lock, clock_ms() + WAIT_MAX_MS);
		rc = -EBUSY;
	} else {
		HASH_ADD(hh, s->partials, digest, sizeof(p->digest), p);
		if (p->hh.tbl == NULL)
			rc = -ENOMEM;
	}
	lock_drop(&s->lock);
	return rc;
}

int claim_in_process(struct partial *p, struct call *call, struct err *err)
{
	int rc;
	while ((rc = try_claim(p)) == -EBUSY) {
		rc = call_check(call, err);
		if (rc < 0)
			return rc;
	}
	return rc < 0 ? err_errno(err, rc, "partial") : 0;
}

void claim_end(struct partial *p)
{
	struct store *s = p->store;
	lock_take(&s->lock);
	if (p->hh.tbl != NULL)
		HASH_DEL(s->partials, p);
	cond_broadcast(&s->changed);
	lock_drop(&s->lock);
}

/* A complete partial that its killed publisher made read-only already cannot
 * be opened for writing, and so not be locked: it is fetched anew. One that cannot be
 * asked about may have a publisher still, and stays. */
static int open_read_only(int dirfd, const char *name, uint64_t *ret_size)
{
	AUTO_FD int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && !says_no_file(-errno))
		return -EINVAL;
	struct stat st;
	int taken = fd < 0 ? 0 : fstat(fd, &st) < 0 ? -errno : filelock_ask(fd);
	if (taken < 0)
		return -EINVAL;
	if (taken > 0) {
		*ret_size = (uint64_t)st.st_size;
		return -EAGAIN;
	}
	(void)unlinkat(dirfd, name, 0);
	return -ESTALE;
}

/* One try. -EAGAIN: another process has it, with *ret_size bytes; -ESTALE: the
 * file went as it was locked; -EINVAL: the name is of no use. */
static int try_lock(struct partial *p, int dirfd, uint64_t *ret_size)
{
	int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	AUTO_FD int fd = openat(dirfd, p->name, flags, 0600);
	if (fd < 0 && errno == EACCES)
		return open_read_only(dirfd, p->name, ret_size);
	if (fd < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EROFS || errno == EMFILE ||
		       errno == ENFILE))
		return -errno;
	if (fd < 0)
		return errno == ENOENT ? -ESTALE : -EINVAL;
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return -EINVAL;
	int rc = filelock_exclusive(fd, FILELOCK_WRITER);
	if (rc == -EAGAIN)
		*ret_size = (uint64_t)st.st_size;
	if (rc < 0)
		return rc == -EAGAIN ? rc : -EINVAL;
	/* Whoever had the lock before may have renamed or removed the file. */
	if (!names_file(dirfd, p->name, fd, &st))
		return -ESTALE;
	p->fd = steal_fd(&fd);
	return 0;
}

/* A holder that is stopped or stuck must not hold us up. A complete file is
 * being synced, which shows in nothing. */
static bool is_stalled(const struct partial *p, struct watch *w, uint64_t size)
{
	const struct store *s = p->store;
	int64_t now = clock_ms();
	if (size != w->size) {
		w->size = size;
		w->since_ms = now;
	}
	int64_t patience = size == p->size && size > 0 ? s->sync_ms : s->stall_ms;
	/* Somebody waits for the first bytes; or the other one has it in chunks, with a map behind
	 * them: it may hold it for as long as it is open, and its size tells nothing. */
	if ((p->map != NULL || size > p->size) && patience > CHUNKS_STALL_MS)
		patience = CHUNKS_STALL_MS;
	return now - w->since_ms >= patience;
}

static int wait_a_moment(struct store *s, int64_t ms, struct call *call, struct err *err)
{
	int rc = call_check(call, err);
	if (rc < 0)
		return rc;
	lock_take(&s->lock);
	(void)cond_wait_until(&s->changed, &s->lock, clock_ms() + ms);
	lock_drop(&s->lock);
	return call_check(call, err);
}

static int published(struct partial *p, struct err *err)
{
	if (p->fd >= 0) {
		struct stat st;
		uint64_t bytes = fstat(p->fd, &st) == 0 ? disk_bytes(&st) : 0;
		remove_partial(p->store, p->name, p->fd, bytes);
		auto_close_(&p->fd);
		p->fd = -1;
	}
	return err_set(err, -EEXIST, "somebody else has fetched it meanwhile");
}

static int go_private(struct partial *p, struct err *err)
{
	p->is_private = true;
	p->fd = open_private(p->store, p->name, err);
	return p->fd < 0 ? p->fd : 0;
}

int claim_file(struct partial *p, struct call *call, struct err *err)
{
	struct store *s = p->store;
	struct watch watch = {.since_ms = clock_ms()};
	int64_t wait_ms = WAIT_FIRST_MS;
	int gone = 0;
	for (;;) {
		if (open_blob_exists(s, &p->digest, NULL) == 0)
			return published(p, err);
		AUTO_FD int dirfd = dirs_make(&s->dirs, PARTIAL_DIR, err);
		if (dirfd < 0)
			return dirfd;
		uint64_t size = 0;
		int rc = try_lock(p, dirfd, &size);
		if (rc == 0)
			return open_blob_exists(s, &p->digest, NULL) == 0 ? published(p, err) : 0;
		if (rc == -EINVAL || (rc == -ESTALE && ++gone > GONE_TRIES))
			return go_private(p, err);
		if (rc == -ESTALE)
			continue;
		if (rc != -EAGAIN)
			return err_errno(err, rc, "%s/" PARTIAL_DIR, s->dirs.path);
		if (is_stalled(p, &watch, size))
			return go_private(p, err);
		rc = wait_a_moment(s, wait_ms, call, err);
		if (rc < 0)
			return rc;
		wait_ms = wait_ms * 2 < WAIT_MAX_MS ? wait_ms * 2 : WAIT_MAX_MS;
	}
}
