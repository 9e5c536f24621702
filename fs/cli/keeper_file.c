/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/keeper_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "fs/control.h"
#include "fs/control_dir.h"

#define SUFFIX ".keeper"

static void file_name(unsigned minor, char ret[CONTROL_NAME_MAX])
{
	snprintf(ret, CONTROL_NAME_MAX, "%u" SUFFIX, minor);
}

static bool is_keeper_file(const char *name)
{
	size_t len = strlen(name), suffix = strlen(SUFFIX);
	return len > suffix && strcmp(name + len - suffix, SUFFIX) == 0;
}

/* Nobody holds it: its keeper was killed. */
static void remove_if_dead(int dir, const char *name)
{
	AUTO_FD int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		(void)unlinkat(dir, name, 0);
}

static void sweep(int dir)
{
	int copy = openat(dir, ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	if (d == NULL) {
		auto_close_(&copy);
		return;
	}
	for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		if (is_keeper_file(e->d_name))
			remove_if_dead(dir, e->d_name);
	}
	closedir(d);
}

static int make(int dir, unsigned minor, struct err *err)
{
	char name[CONTROL_NAME_MAX], text[16];
	file_name(minor, name);
	/* The number is ours: who has it still keeps a mount that is gone. */
	(void)unlinkat(dir, name, 0);
	AUTO_FD int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_errno(err, -errno, "%s in the runtime directory", name);
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	int rc = file_write_all(fd, text, (size_t)n);
	return rc < 0 ? err_errno(err, rc, "%s in the runtime directory", name) : steal_fd(&fd);
}

int keeper_file_make(unsigned minor, struct err *err)
{
	AUTO_FD int dir = control_dir_make(err);
	if (dir < 0)
		return dir;
	/* Between its making and its lock another keeper would take it for a dead one's. */
	bool locked = control_dir_lock(dir);
	sweep(dir);
	int rc = make(dir, minor, err);
	if (locked)
		(void)flock(dir, LOCK_UN);
	return rc;
}

void keeper_file_remove(unsigned minor, int fd)
{
	char name[CONTROL_NAME_MAX];
	struct stat here, there;
	if (fd < 0)
		return;
	file_name(minor, name);
	AUTO_FD int dir = control_dir_make(NULL);
	/* The number may be a later mount's by now. */
	if (dir >= 0 && fstat(fd, &here) == 0 &&
	    fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && here.st_ino == there.st_ino &&
	    here.st_dev == there.st_dev)
		(void)unlinkat(dir, name, 0);
	close(fd);
}

static pid_t read_pid(int dir, unsigned minor)
{
	char name[CONTROL_NAME_MAX], text[16] = "";
	file_name(minor, name);
	AUTO_FD int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK)
		return 0;
	if (file_pread_full(fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	long pid = strtol(text, NULL, 10);
	return pid > 1 && pid <= 1 << 22 ? (pid_t)pid : 0;
}

pid_t keeper_file_pid(uid_t uid, unsigned minor)
{
	pid_t pid = 0;
	for (unsigned i = 0; pid == 0 && i < CONTROL_DIRS; i++) {
		AUTO_FD int dir = control_dir_open(uid, i, NULL);
		if (dir >= 0)
			pid = read_pid(dir, minor);
	}
	return pid;
}
