/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/dirs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)
/* How often a directory may vanish while it is being made. */
#define MAKE_TRIES 4

static int check_owner(int fd, const char *path, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_errno(err, -EIO, "%s", path);
	if (st.st_uid != geteuid())
		return err_set(
		    err, -EACCES,
		    "cache directory %s belongs to uid %u, not to uid %u: choose another "
		    "one, or give it to this user with chown",
		    path, (unsigned)st.st_uid, (unsigned)geteuid());
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return err_set(err, -EACCES,
			       "cache directory %s may be written by others (mode %04o): run "
			       "chmod 700 on it if nobody else has used it, or choose another one",
			       path, (unsigned)st.st_mode & 07777);
	return 0;
}

/* All but the last component, as mkdir -p would. */
static void make_parents(const char *path)
{
	char prefix[DIRS_PATH_MAX];
	for (size_t i = 1; path[i] != '\0'; i++) {
		if (path[i] != '/')
			continue;
		memcpy(prefix, path, i);
		prefix[i] = '\0';
		(void)mkdir(prefix, 0755);
	}
}

static int no_root(const char *verb, const char *path, struct err *err)
{
	int rc = -errno;
	return err_set(err, rc,
		       "cannot %s the cache directory %s (%s): let uid %u read and write there, or "
		       "choose another one with --cache DIR",
		       verb, path, strerror(-rc), (unsigned)geteuid());
}

/* Symlinks in the path itself are the operator's, and followed. */
static int open_root(const char *path, struct err *err)
{
	AUTO_FD int fd = open(path, DIR_FLAGS);
	if (fd < 0 && errno == ENOENT) {
		make_parents(path);
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return no_root("make", path, err);
		fd = open(path, DIR_FLAGS);
	}
	if (fd < 0)
		return no_root("open", path, err);
	int rc = check_owner(fd, path, err);
	return rc < 0 ? rc : steal_fd(&fd);
}

int dirs_init(struct dirs *d, const char *path, struct err *err)
{
	size_t len = strlen(path);
	while (len > 1 && path[len - 1] == '/')
		len--;
	if (path[0] != '/' || len >= sizeof(d->path))
		return err_set(err, -EINVAL, "cache directory %s: not an absolute path", path);
	memcpy(d->path, path, len);
	d->path[len] = '\0';
	d->fd = open_root(d->path, err);
	return d->fd < 0 ? d->fd : 0;
}

void dirs_release(struct dirs *d)
{
	auto_close_(&d->fd);
	d->fd = -1;
}

int dirs_open(const struct dirs *d, const char *path)
{
	return file_open_beneath(d->fd, path, DIR_FLAGS, 0);
}

int dirs_each(int fd, dirs_entry_fn fn, void *ctx)
{
	if (fd < 0)
		return fd;
	DIR *d = fdopendir(fd);
	if (d == NULL) {
		int rc = -errno;
		close(fd);
		return rc;
	}
	int rc = 0;
	const struct dirent *e;
	while (rc == 0 && (errno = 0, e = readdir(d)) != NULL)
		rc = fn(ctx, fd, e->d_name);
	if (rc == 0)
		rc = -errno;
	closedir(d);
	return rc;
}

static int make_below(int rootfd, const char *path)
{
	AUTO_FD int at = fcntl(rootfd, F_DUPFD_CLOEXEC, 0);
	if (at < 0)
		return -errno;
	const char *p = path;
	while (*p != '\0') {
		char name[NAME_MAX + 1];
		size_t len = strcspn(p, "/");
		if (len >= sizeof(name))
			return -ENAMETOOLONG;
		memcpy(name, p, len);
		name[len] = '\0';
		if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
			return -errno;
		int next = openat(at, name, DIR_FLAGS | O_NOFOLLOW);
		if (next < 0)
			return -errno;
		auto_close_(&at);
		at = next;
		p += len;
		p += *p == '/';
	}
	return steal_fd(&at);
}

int dirs_revive(const struct dirs *d, struct err *err)
{
	struct stat st;
	if (fstat(d->fd, &st) < 0)
		return err_errno(err, -EIO, "%s", d->path);
	if (st.st_nlink > 0)
		return err_errno(err, -ENOENT, "%s", d->path);
	AUTO_FD int fd = open_root(d->path, err);
	if (fd < 0)
		return fd;
	if (dup3(fd, d->fd, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "%s", d->path);
	return 0;
}

int dirs_make(const struct dirs *d, const char *path, struct err *err)
{
	int fd = dirs_open(d, path);
	for (int i = 0; fd == -ENOENT && i < MAKE_TRIES; i++) {
		fd = make_below(d->fd, path);
		if (fd != -ENOENT)
			break;
		int rc = dirs_revive(d, err);
		if (rc < 0)
			return rc;
	}
	if (fd == -ELOOP || fd == -ENOTDIR)
		return err_set(err, -EIO, "%s/%s is no directory: remove it", d->path, path);
	if (fd < 0)
		return err_errno(err, fd, "%s/%s", d->path, path);
	return fd;
}
