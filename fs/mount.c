/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's interface is used directly, not libfuse's fuse_open_channel: the
 * flags are then exactly ours, and what fusermount3 says to stderr ends in our
 * error text instead of beside it. */
#include "fs/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/child.h"
#include "fs/fusermount.h"
#include "fs/mountinfo.h"

#define DEV_FUSE      "/dev/fuse"
#define SUBTYPE       "wasmocifs"
#define FSTYPE        "fuse." SUBTYPE
#define MOUNT_FLAGS   (MS_RDONLY | MS_NOSUID | MS_NODEV)
#define STALE_WAIT_MS 1000
#define OPTIONS_MAX   4096

static int open_dev_fuse(int *ret, struct err *err)
{
	int fd = open(DEV_FUSE, O_RDWR | O_CLOEXEC);
	int r;

	if (fd >= 0) {
		*ret = fd;
		return 0;
	}
	r = -errno;
	switch (r) {
	case -ENOENT:
	case -ENODEV:
	case -ENXIO:
		return err_set(err, -ENODEV,
			       "no " DEV_FUSE ": load the kernel module (modprobe fuse), or give "
			       "the container the device");
	case -EACCES:
	case -EPERM:
		return err_set(err, -EPERM,
			       DEV_FUSE ": %s: the device must be open to users "
					"(mode 0666), or to this container",
			       strerror(-r));
	default:
		return err_errno(err, r, DEV_FUSE);
	}
}

static const char *way(const struct mount_options *o)
{
	return o->way != NULL && geteuid() == 0 ? o->way : o->mountpoint;
}

static int mount_directly(const struct mount_options *o, mode_t mode, int *ret, struct err *err)
{
	AUTO_FD int fd = -1;
	char data[256];
	int r = open_dev_fuse(&fd, err);

	if (r < 0)
		return r;
	(void)snprintf(data, sizeof(data),
		       "fd=%d,rootmode=%o,user_id=%u,group_id=%u,default_permissions%s", fd,
		       (unsigned)(mode & S_IFMT), (unsigned)geteuid(), (unsigned)getegid(),
		       o->allow_other ? ",allow_other" : "");
	unsigned long flags = MOUNT_FLAGS | (o->noexec ? MS_NOEXEC : 0);
	if (mount(o->source, way(o), FSTYPE, flags, data) < 0) {
		r = -errno;
		return err_errno(err, r == -EACCES ? -EPERM : r, "cannot mount on %s",
				 o->mountpoint);
	}
	*ret = steal_fd(&fd);
	return 0;
}

/* fusermount3 splits its options at commas, and takes a backslash as the
 * escape of the next byte. */
static int escape_option(const char *s, char *out, size_t size)
{
	size_t n = 0;

	for (; *s != '\0'; s++) {
		bool special = *s == ',' || *s == '\\';

		if (n + special + 1 >= size)
			return -ENAMETOOLONG;
		if (special)
			out[n++] = '\\';
		out[n++] = *s;
	}
	out[n] = '\0';
	return 0;
}

static int mount_by_helper(const struct mount_options *o, int *ret, struct err *err)
{
	char source[OPTIONS_MAX / 2];
	char options[OPTIONS_MAX];
	AUTO_FD int probe = -1;
	int r = open_dev_fuse(&probe, err);

	if (r < 0)
		return r;
	/* So does fusermount3, which does not say what to do. */
	if (access(o->mountpoint, W_OK) < 0)
		return err_set(err, -EACCES,
			       "you may not write to %s, and so not mount there (%s); choose a "
			       "directory of your own, as mkdir -p ~/oci makes one",
			       o->mountpoint, strerror(errno));
	if (escape_option(o->source, source, sizeof(source)) < 0)
		return err_set(err, -ENAMETOOLONG, "the source is too long to be shown in a mount");
	(void)snprintf(options, sizeof(options),
		       "ro,nosuid,nodev,default_permissions,subtype=" SUBTYPE ",fsname=%s%s%s",
		       source, o->allow_other ? ",allow_other" : "", o->noexec ? ",noexec" : "");
	return fusermount_mount(o->mountpoint, options, ret, err);
}

/* What is there now, if anything: replaced only if it is ours and dead. */
static int clear_mountpoint(const char *mountpoint, struct err *err)
{
	if (mount_state(mountpoint, NULL) != MOUNT_OURS)
		return 0;
	if (!mount_is_stale(mountpoint))
		return err_set(err, -EBUSY,
			       "wasmocifs is already mounted on %s; unmount it first "
			       "(wasmocifs unmount %s)",
			       mountpoint, mountpoint);
	return mount_close(mountpoint, true, err);
}

int mount_open(const struct mount_options *o, int *ret, struct err *err)
{
	struct stat st;
	int r = clear_mountpoint(o->mountpoint, err);

	if (r < 0)
		return r;
	if (stat(way(o), &st) < 0)
		return err_errno(err, -errno, "%s", o->mountpoint);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, -ENOTDIR, "%s is not a directory", o->mountpoint);
	if (geteuid() != 0)
		return mount_by_helper(o, ret, err);
	return mount_directly(o, st.st_mode, ret, err);
}

enum mount_state mount_state(const char *mountpoint, unsigned *ret_minor)
{
	struct mountinfo_entry e;

	if (mountinfo_find("/proc/self/mountinfo", mountpoint, &e) < 0)
		return MOUNT_NONE;
	if (strcmp(e.fstype, FSTYPE) != 0)
		return MOUNT_OTHER;
	if (ret_minor)
		*ret_minor = e.minor;
	return MOUNT_OURS;
}

/* In the child: whether the root's attributes can be asked for. Async-signal-
 * safe, for the parent may have threads. */
static void stale_probe(const char *mountpoint)
{
	struct statx stx;
	int r = statx(AT_FDCWD, mountpoint, AT_NO_AUTOMOUNT | AT_STATX_FORCE_SYNC,
		      STATX_BASIC_STATS, &stx);

	_exit(r < 0 && errno == ENOTCONN ? 1 : 0);
}

/* A connection whose daemon is gone fails at once, without a request. One
 * whose daemon lives but is stuck lets a caller wait without end, and not even
 * a kill frees it; so a child asks, and we give up on the child. It then stays
 * behind, waiting, until that connection ends; whoever reaps our children
 * (init, when we are gone) reaps it. */
bool mount_is_stale(const char *mountpoint)
{
	int status = 0;
	pid_t pid = fork();

	if (pid < 0)
		return false;
	if (pid == 0)
		stale_probe(mountpoint);
	if (!child_wait(pid, clock_ms() + STALE_WAIT_MS, &status)) {
		kill(pid, SIGKILL);
		return false;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

int mount_close(const char *mountpoint, bool lazy, struct err *err)
{
	if (mount_state(mountpoint, NULL) == MOUNT_NONE)
		return err_set(err, -EINVAL, "nothing is mounted on %s", mountpoint);
	if (umount2(mountpoint, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	if (errno == EPERM)
		return fusermount_unmount(mountpoint, lazy, err);
	if (errno == EBUSY)
		return err_set(err, -EBUSY,
			       "%s is in use: a process has a file open or works there",
			       mountpoint);
	return err_errno(err, -errno, "cannot unmount %s", mountpoint);
}

int mount_abort(unsigned minor)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", minor);
	AUTO_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -errno : write(fd, "1", 1) < 0 ? -errno : 0;
}
