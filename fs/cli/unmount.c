/* SPDX-License-Identifier: Apache-2.0 */
/* `wasmocifs unmount`: by what mountinfo says, never by touching the mount. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/cli/command.h"
#include "fs/cli/mounts.h"
#include "fs/cli/on_mount.h"
#include "fs/cli/path.h"
#include "fs/control.h"
#include "fs/mount.h"
#include "fs/mountinfo.h"

#define WAIT_MS 5000 /* for the daemon to end: longer than it may take */
/* For who is on the way out: a program that has just ended, the keeper's own question whether the
 * mount answers. */
#define BUSY_MS      500
#define BUSY_LOOK_MS 50

static int not_ours(const char *path)
{
	AUTO_FREE struct mountinfo_entry *e = malloc(sizeof(*e));
	if (e != NULL && mountinfo_find("/proc/self/mountinfo", path, e) == 0)
		return complain(CLI_FAILED,
				"%s is a mount of type %s (%s), not of wasmocifs; use umount %s",
				path, e->fstype, e->source, path);
	return complain(CLI_FAILED, "nothing is mounted on %s; see 'wasmocifs status'", path);
}

/* The process that serves the mount, to wait for its end; -1: there is none, or
 * it is not ours to ask. */
static int open_daemon(const struct mounts_entry *e, bool *ret_silent)
{
	json_t *reply = NULL;
	pid_t pid = 0;
	/* One that is stuck and does not answer is known all the same. */
	int rc = control_ask(e->uid, e->minor, "status", &reply, &pid, NULL);
	*ret_silent = rc == -ETIMEDOUT;
	if (rc == 0) {
		json_int_t keeper = json_integer_value(json_object_get(reply, "pid"));
		pid = keeper > 0 && keeper <= INT_MAX ? (pid_t)keeper : pid;
		json_decref(reply);
	}
	return pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
}

/* A bind mount of it may be left, and then it is still served. */
static bool is_left(unsigned minor)
{
	struct mounts mounts;
	if (mounts_read("/proc/self/mountinfo", &mounts, NULL) < 0)
		return true;
	bool left = mounts_by_minor(&mounts, minor) != NULL;
	mounts_release(&mounts);
	return left;
}

static void await_end(int pidfd, const char *mountpoint)
{
	struct pollfd pfd = {.fd = pidfd, .events = POLLIN};
	if (poll(&pfd, 1, WAIT_MS) == 0)
		(void)complain(0, "%s is unmounted, but its process has not ended yet", mountpoint);
}

static int close_mount(const struct mounts_entry *e, bool lazy, struct err *err)
{
	int64_t until = clock_ms() + BUSY_MS;
	int rc = mount_close(e->mountpoint, lazy, err);
	while (rc == -EBUSY && clock_ms() < until) {
		(void)poll(NULL, 0, BUSY_LOOK_MS);
		/* Somebody else may be about the same. */
		if (mount_state(e->mountpoint, NULL) == MOUNT_NONE)
			return 0;
		rc = mount_close(e->mountpoint, lazy, err);
	}
	return rc;
}

static int unmount(const struct mounts_entry *e, bool lazy)
{
	struct err err;
	bool silent = false;
	int status = check_user(e, "unmount it");
	if (status != CLI_DONE)
		return status;
	AUTO_FD int pidfd = lazy ? -1 : open_daemon(e, &silent);
	int rc = close_mount(e, lazy, &err);
	if (rc == -EBUSY && silent)
		return complain(CLI_FAILED,
				"%s, and its own process does not answer; end it, whoever waits in "
				"it: wasmocifs abort %s",
				err.text, e->mountpoint);
	if (rc == -EBUSY)
		return complain(CLI_FAILED,
				"%s; stop using it, or detach it at once: "
				"wasmocifs unmount --lazy %s",
				err.text, e->mountpoint);
	if (rc < 0)
		return complain(CLI_FAILED, "%s", err.text);
	if (pidfd >= 0 && !is_left(e->minor))
		await_end(pidfd, e->mountpoint);
	return CLI_DONE;
}

int unmount_main(const struct cli_args *args)
{
	struct err err;
	struct mounts mounts;
	const struct mounts_entry *mount = NULL;
	char path[PATH_MAX];
	if (args->n_operands != 1 || args->operands[0][0] == '\0')
		return complain(CLI_USAGE,
				"unmount: give one MOUNTPOINT: wasmocifs unmount /mnt/oci");
	const char *written = args->operands[0];
	if (mounts_read("/proc/self/mountinfo", &mounts, &err) < 0)
		return complain(CLI_FAILED, "%s", err.text);
	int status;
	int rc = path_resolve(written, &mounts, path, &mount);
	if (rc < 0)
		status = complain(CLI_FAILED, "%s: %s", written, strerror(-rc));
	else if (mount == NULL)
		status = not_ours(path);
	else if (strcmp(mount->mountpoint, path) != 0)
		status = complain(CLI_FAILED, "%s lies in the mount on %s: wasmocifs unmount %s",
				  path, mount->mountpoint, mount->mountpoint);
	else
		status = unmount(mount, args->lazy);
	mounts_release(&mounts);
	return status;
}
