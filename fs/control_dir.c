/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_TRIES    20
#define LOCK_PAUSE_NS (10 * 1000 * 1000)

static int place(uid_t uid, unsigned i, char ret[PATH_MAX])
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int n = -1;
	if (i == 0 && uid == 0)
		n = snprintf(ret, PATH_MAX, "/run/wasmocifs");
	else if (i == 0 && runtime != NULL && *runtime == '/')
		n = snprintf(ret, PATH_MAX, "%s/wasmocifs", runtime);
	else if (i == 1 && uid != 0)
		n = snprintf(ret, PATH_MAX, "/run/user/%u/wasmocifs", (unsigned)uid);
	else if (i == 2)
		n = snprintf(ret, PATH_MAX, "/tmp/wasmocifs-%u", (unsigned)uid);
	else
		return -ENOENT;
	return n > 0 && n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int not_ours(const char *path, uid_t uid, struct err *err)
{
	return err_set(err, -EACCES,
		       "%s must be a directory of user %u that is open to nobody else: have what "
		       "is there removed, or set XDG_RUNTIME_DIR to a directory of your own",
		       path, (unsigned)uid);
}

static int open_place(const char *path, uid_t uid, struct err *err)
{
	AUTO_FD int fd = open(path, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (fd < 0 && errno == ENOTDIR)
		return not_ours(path, uid, err);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, -errno, "%s", path);
	if (st.st_uid != uid || (st.st_mode & 077) != 0)
		return not_ours(path, uid, err);
	return steal_fd(&fd);
}

int control_dir_open(uid_t uid, unsigned i, struct err *err)
{
	char path[PATH_MAX];
	int rc = place(uid, i, path);
	if (rc < 0)
		return err_errno(err, rc, "runtime directory");
	return open_place(path, uid, err);
}

int control_dir_make(struct err *err)
{
	int rc = -ENOENT;
	for (unsigned i = 0; i < CONTROL_DIRS; i++) {
		char path[PATH_MAX];
		if (place(geteuid(), i, path) < 0)
			continue;
		if (mkdir(path, 0700) < 0 && errno != EEXIST) {
			rc = err_errno(err, -errno, "cannot make %s for the control socket", path);
			continue;
		}
		rc = open_place(path, geteuid(), err);
		if (rc >= 0)
			return rc;
	}
	return rc;
}

void control_name(unsigned minor, char ret[CONTROL_NAME_MAX])
{
	snprintf(ret, CONTROL_NAME_MAX, "%u.sock", minor);
}

void control_address(int dir, unsigned minor, struct sockaddr_un *ret)
{
	char name[CONTROL_NAME_MAX];
	control_name(minor, name);
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", dir, name);
}

bool control_dir_lock(int dir)
{
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(dir, LOCK_EX | LOCK_NB) == 0)
			return true;
		if (errno != EWOULDBLOCK)
			return false;
		(void)nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_NS}, NULL);
	}
	return false;
}
