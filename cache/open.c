/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and removing of blob files. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/file.h"
#include "cache/filelock.h"
#include "cache/store_impl.h"

#define PRIVATE_TRIES 16

int store_errno(int code)
{
	switch (-code) {
	case ENOSPC:
	case EDQUOT:
	case EROFS:
		return -ENOSPC;
	case EFBIG:
	case EEXIST:
	case ECANCELED:
	case ETIMEDOUT:
	case ENOMEM:
		return code;
	default:
		return -EIO;
	}
}

bool says_no_file(int code)
{
	switch (-code) {
	case ENOENT:
	case ENOTDIR:
	case EISDIR:
	case ELOOP:
	case ENXIO: /* a socket */
	case EXDEV:
	case EACCES:
	case EINVAL: /* not regular */
	case EFBIG:
		return true;
	default:
		return false;
	}
}

/* What may stand in blobs/: a file of ours. A symlink, a directory or another
 * user's file was planted there. */
static bool is_ours(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_uid == geteuid();
}

static bool is_wrong(struct store *s, const struct digest *d, const struct stat *st)
{
	struct file_id id;
	bool wrong = false;
	file_id_of(st, &id);
	lock_take(&s->lock);
	for (unsigned i = 0; i < s->n_wrong && i < WRONG_FILES_MAX && !wrong; i++)
		wrong = digest_equal(&s->wrong[i].digest, d) && file_id_equal(&s->wrong[i].id, &id);
	lock_drop(&s->lock);
	return wrong;
}

int open_again(int fd)
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int again = open(path, O_RDONLY | O_CLOEXEC);
	return again < 0 ? -errno : again;
}

static bool unlink_any(int dirfd, const char *name)
{
	if (unlinkat(dirfd, name, 0) == 0)
		return true;
	return errno == EISDIR && unlinkat(dirfd, name, AT_REMOVEDIR) == 0;
}

/* What should not be there. The account is not corrected, because that may
 * wait for other processes: it stays an upper bound. */
static void discard(struct store *s, const struct digest *d)
{
	char path[BLOB_DIR_MAX];
	char name[DIGEST_HEX_MAX];
	path_blob_dir(d, path);
	digest_hex(d, name);
	AUTO_FD int dirfd = dirs_open(&s->dirs, path);
	if (dirfd >= 0)
		(void)unlink_any(dirfd, name);
}

int open_blob(struct store *s, const struct digest *d, struct stat *ret_st, struct err *err)
{
	char path[BLOB_PATH_MAX];
	path_blob(d, path);
	/* O_NONBLOCK: a FIFO must not hang us. */
	AUTO_FD int fd = file_open_beneath(s->dirs.fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (fd == -ENOENT)
		return fd;
	if (fd < 0 && !says_no_file(fd))
		return err_set(err, -EIO, "cannot open %s/%s (%s)", s->dirs.path, path,
			       strerrorname_np(-fd));
	if (fd >= 0 && fstat(fd, ret_st) < 0)
		return err_errno(err, -EIO, "%s/%s", s->dirs.path, path);
	if (fd >= 0 && is_ours(ret_st))
		return is_wrong(s, d, ret_st) ? -ENOENT : steal_fd(&fd);
	discard(s, d);
	return -ENOENT;
}

int open_blob_exists(struct store *s, const struct digest *d, uint64_t *ret_size)
{
	char path[BLOB_PATH_MAX];
	path_blob(d, path);
	struct stat st;
	AUTO_FD int fd = file_open_beneath(s->dirs.fd, path, O_PATH, 0);
	if (fd < 0)
		return says_no_file(fd) ? -ENOENT : -EIO;
	if (fstat(fd, &st) < 0)
		return -EIO;
	if (!is_ours(&st) || is_wrong(s, d, &st))
		return -ENOENT;
	if (ret_size != NULL)
		*ret_size = (uint64_t)st.st_size;
	return 0;
}

uint64_t remove_blob(struct store *s, const struct digest *d, const struct file_id *id)
{
	char path[BLOB_DIR_MAX];
	char name[DIGEST_HEX_MAX];
	path_blob_dir(d, path);
	digest_hex(d, name);
	int entered = space_enter(s, NULL, NULL);
	AUTO_FD int dirfd = dirs_open(&s->dirs, path);
	struct stat st;
	struct file_id found = {0};
	bool there = dirfd >= 0 && fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	if (there)
		file_id_of(&st, &found);
	uint64_t freed = 0;
	if (there && (id == NULL || file_id_equal(id, &found)) && unlink_any(dirfd, name) &&
	    S_ISREG(st.st_mode)) {
		freed = disk_bytes(&st);
		if (entered == 0)
			space_uncount(s, freed, 1);
	}
	if (entered == 0)
		space_leave(s);
	return freed;
}

bool remove_wrong(struct store *s, const struct digest *d, const struct file_id *id)
{
	char path[BLOB_PATH_MAX];
	path_blob(d, path);
	struct stat st;
	struct file_id found;
	(void)remove_blob(s, d, id);
	AUTO_FD int fd = file_open_beneath(s->dirs.fd, path, O_PATH, 0);
	if (fd < 0 || fstat(fd, &st) < 0)
		return says_no_file(fd);
	file_id_of(&st, &found);
	if (!file_id_equal(id, &found))
		return true;
	if (is_wrong(s, d, &st))
		return false;
	lock_take(&s->lock);
	s->wrong[s->n_wrong++ % WRONG_FILES_MAX] = (struct wrong_file){*d, *id};
	lock_drop(&s->lock);
	return false;
}

int open_private(struct store *s, char name[PARTIAL_NAME_MAX], struct err *err)
{
	for (int i = 0; i < PRIVATE_TRIES; i++) {
		AUTO_FD int dirfd = dirs_make(&s->dirs, PARTIAL_DIR, err);
		if (dirfd < 0)
			return dirfd;
		path_private(name);
		int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
		AUTO_FD int fd = openat(dirfd, name, flags, 0600);
		if (fd < 0 && errno != EEXIST && errno != ENOENT)
			return err_errno(err, -errno, "%s/" PARTIAL_DIR, s->dirs.path);
		/* A sweep may have taken it before it was locked. A file system
		 * without locks has no sweeps either. */
		struct stat st;
		if (fd >= 0 && filelock_exclusive(fd, FILELOCK_WRITER) != -EAGAIN &&
		    fstat(fd, &st) == 0 && st.st_nlink > 0)
			return steal_fd(&fd);
	}
	return err_set(err, -EIO, "%s/" PARTIAL_DIR ": files vanish as they are made",
		       s->dirs.path);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool names_file(int dirfd, const char *name, int fd, struct stat *ret_st)
{
	struct stat named;
	return fstat(fd, ret_st) == 0 && fstatat(dirfd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       is_same(&named, ret_st);
}

void remove_partial(struct store *s, const char *name, int fd, uint64_t charged)
{
	/* In one step, or a count in between would take it off twice. */
	int entered = space_enter(s, NULL, NULL);
	AUTO_FD int dirfd = dirs_open(&s->dirs, PARTIAL_DIR);
	struct stat st, named;
	bool gone = dirfd == -ENOENT;
	if (dirfd >= 0 && fstatat(dirfd, name, &named, AT_SYMLINK_NOFOLLOW) < 0)
		gone = errno == ENOENT;
	else if (dirfd >= 0 && fstat(fd, &st) == 0)
		gone = !is_same(&named, &st) || unlinkat(dirfd, name, 0) == 0;
	if (entered < 0)
		return;
	/* What could not be removed is there still, until a sweep. */
	if (gone)
		space_uncount(s, charged, 0);
	space_leave(s);
}
