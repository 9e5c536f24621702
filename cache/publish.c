/* SPDX-License-Identifier: Apache-2.0 */
/* From partial/ to blobs/. The writer's descriptor, and with it the lock on
 * the partial, is kept until the new name stands. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cache/filelock.h"
#include "cache/store_impl.h"

#define BLOB_MODE 0444

struct publish_job {
	struct job job;
	struct publication what;
	int fd;
	struct blob *blob; /* a reference */
};

struct flush_job {
	struct job job;
	int fd; /* a duplicate */
	uint64_t off, len;
};

/* Inside the gate: the rename, and what it does to the account. */
static int rename_counted(struct store *s, const struct publication *p, int fd, int from, int to)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(&p->digest, hex);
	struct stat old, st;
	/* In a directory that was made anew, another process may be fetching
	 * under this name: its bytes are not those that were hashed. */
	if (!names_file(from, p->name, fd, &st))
		return -ENOENT;
	bool replaces = fstatat(to, hex, &old, AT_SYMLINK_NOFOLLOW) == 0;
	/* A directory in its place cannot be renamed over. */
	if (replaces && S_ISDIR(old.st_mode))
		(void)unlinkat(to, hex, AT_REMOVEDIR);
	if (renameat(from, p->name, to, hex) < 0)
		return -errno;
	if (replaces && S_ISREG(old.st_mode))
		space_uncount(s, disk_bytes(&old), 1);
	space_uncount(s, p->charged, 0);
	/* A file that was just written may not have its blocks yet. */
	uint64_t least = space_rounded((uint64_t)st.st_size);
	s->space.account.bytes += disk_bytes(&st) > least ? disk_bytes(&st) : least;
	s->space.account.blobs++;
	return 0;
}

int publish_rename(struct store *s, const struct publication *p, int fd, struct err *err)
{
	char path[BLOB_DIR_MAX];
	path_blob_dir(&p->digest, path);
	AUTO_FD int from = dirs_open(&s->dirs, PARTIAL_DIR);
	if (from < 0)
		return err_errno(err, from, "%s/" PARTIAL_DIR, s->dirs.path);
	AUTO_FD int to = dirs_make(&s->dirs, path, err);
	if (to < 0)
		return to;
	if (fchmod(fd, BLOB_MODE) < 0)
		return err_errno(err, -errno, "%s", p->name);
	int rc = space_enter(s, NULL, err);
	if (rc < 0)
		return rc;
	rc = rename_counted(s, p, fd, from, to);
	space_leave(s);
	if (rc < 0)
		return err_errno(err, rc, "cannot move %s into %s/%s", p->name, s->dirs.path, path);
	return 0;
}

static void sync_dir(struct store *s, const struct digest *d)
{
	char path[BLOB_DIR_MAX];
	path_blob_dir(d, path);
	AUTO_FD int fd = dirs_open(&s->dirs, path);
	/* Only the name could be lost by a power failure, and that is a miss. */
	if (fd >= 0)
		(void)fsync(fd);
}

static void note_failure(struct store *s, const struct err *err)
{
	lock_take(&s->lock);
	s->publish_failures++;
	memcpy(s->last_failure, err->text, sizeof(s->last_failure));
	lock_drop(&s->lock);
}

/* The partial goes, its bytes stay as long as the blob is open. */
static void withdraw(struct publish_job *p)
{
	struct store *s = p->blob->store;
	blobs_orphan(s, p->blob, p->what.charged);
	remove_partial(s, p->what.name, p->fd, p->what.charged);
}

static void publish(struct publish_job *p)
{
	struct store *s = p->blob->store;
	const struct digest *d = &p->what.digest;
	struct err err = {{0}};
	/* Left as a partial, to be resumed. */
	if (worker_abandoned(&s->worker))
		return;
	if (!blobs_wanted(s, p->blob)) {
		withdraw(p);
		return;
	}
	if (publish_rename(s, &p->what, p->fd, &err) < 0) {
		note_failure(s, &err);
		withdraw(p);
		return;
	}
	if (!blobs_published(s, p->blob))
		blobs_orphan(s, p->blob, remove_blob(s, d, NULL));
	sync_dir(s, d);
}

static void publish_run(struct job *job)
{
	struct publish_job *p = (struct publish_job *)(void *)job;
	struct store *s = p->blob->store;
	publish(p);
	(void)filelock_drop(p->fd, FILELOCK_WRITER);
	close(p->fd);
	blob_unref(p->blob);
	blobs_job_ends(s);
	free(p);
}

int publish_later(struct store *s, const struct publication *what, int fd, struct blob *b)
{
	struct publish_job *p = malloc(sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	*p = (struct publish_job){
	    .job = {.run = publish_run}, .what = *what, .fd = fd, .blob = blob_ref(b)};
	blobs_job_begins(s);
	worker_post(&s->worker, &p->job);
	return 0;
}

static void flush_run(struct job *job)
{
	struct flush_job *f = (struct flush_job *)(void *)job;
	(void)sync_file_range(f->fd, (off_t)f->off, (off_t)f->len, SYNC_FILE_RANGE_WRITE);
	close(f->fd);
	free(f);
}

void publish_flush(struct store *s, int fd, uint64_t off, uint64_t len)
{
	struct flush_job *f = malloc(sizeof(*f));
	if (f == NULL)
		return;
	*f = (struct flush_job){
	    .job = {.run = flush_run}, .fd = fcntl(fd, F_DUPFD_CLOEXEC, 0), .off = off, .len = len};
	if (f->fd < 0) {
		free(f);
		return;
	}
	worker_post(&s->worker, &f->job);
}
