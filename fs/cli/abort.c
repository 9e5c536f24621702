/* SPDX-License-Identifier: Apache-2.0 */
/* `wasmocifs abort`: ends a mount whose processes may be stuck. Nothing here asks them, and
 * the mount is not touched. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/file.h"
#include "fs/cli/command.h"
#include "fs/cli/keeper_file.h"
#include "fs/cli/mounts.h"
#include "fs/cli/path.h"
#include "fs/control.h"
#include "fs/mount.h"

/* Of the fusectl file system, which most machines have mounted; its files belong to whoever
 * mounted. */
static int abort_by_file(unsigned minor)
{
	char path[64];
	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", minor);
	AUTO_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return file_write_all(fd, "1", 1);
}

/* umount -f says EBUSY when somebody waits, and ends the connection all the same. */
static int abort_by_force(const struct mounts_entry *e)
{
	if (umount2(e->mountpoint, MNT_FORCE | UMOUNT_NOFOLLOW) < 0 && errno != EBUSY)
		return -errno;
	return 0;
}

static void kill_children(pid_t pid)
{
	char path[64];
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	if (file_read_small(AT_FDCWD, path, 4096, &text, &len) < 0)
		return;
	for (char *at = text, *end; *at != '\0'; at = end) {
		long child = strtol(at, &end, 10);
		if (end == at)
			return;
		if (child > 1)
			(void)kill((pid_t)child, SIGKILL);
	}
}

/* With the last process that has it open the connection ends. The keeper first, which would
 * start another worker: it is stopped, so that its children stay its own while they are
 * looked for. */
static int abort_by_kill(const struct mounts_entry *e)
{
	json_t *reply = NULL;
	pid_t worker = 0;
	pid_t keeper = keeper_file_pid(e->uid, e->minor);
	if (keeper > 0 && kill(keeper, SIGSTOP) == 0) {
		kill_children(keeper);
		(void)kill(keeper, SIGKILL);
		return 0;
	}
	/* A worker without a keeper: its socket knows it, if it answers or not. */
	if (control_ask(e->uid, e->minor, "status", &reply, &worker, NULL) == 0)
		json_decref(reply);
	return worker > 0 && kill(worker, SIGKILL) == 0 ? 0 : -ESRCH;
}

static int abort_mount(const struct mounts_entry *e)
{
	struct err err;
	if (geteuid() != 0 && geteuid() != e->uid)
		return complain(
		    CLI_FAILED,
		    "the mount on %s belongs to user %u; only they and root can abort it",
		    e->mountpoint, (unsigned)e->uid);
	int rc = abort_by_file(e->minor);
	if (rc < 0)
		rc = abort_by_force(e);
	if (rc < 0)
		rc = abort_by_kill(e);
	/* Whatever happened: what is dead must not stay on the path. */
	int unmounted = mount_close(e->mountpoint, true, &err);
	if (rc < 0)
		return complain(CLI_FAILED, "%s: the connection cannot be ended: %s", e->mountpoint,
				strerror(-rc));
	if (unmounted < 0 && mount_state(e->mountpoint, NULL) == MOUNT_OURS)
		return complain(CLI_FAILED, "%s", err.text);
	return CLI_DONE;
}

int abort_main(const struct cli_args *args)
{
	struct err err;
	struct mounts mounts;
	const struct mounts_entry *mount = NULL;
	char path[PATH_MAX];
	if (args->n_operands != 1 || args->operands[0][0] == '\0')
		return complain(CLI_USAGE, "abort: give one MOUNTPOINT: wasmocifs abort /mnt/oci");
	if (mounts_read("/proc/self/mountinfo", &mounts, &err) < 0)
		return complain(CLI_FAILED, "%s", err.text);
	int status;
	int rc = path_resolve(args->operands[0], &mounts, path, &mount);
	if (rc < 0)
		status = complain(CLI_FAILED, "%s: %s", args->operands[0], strerror(-rc));
	else if (mount == NULL || strcmp(mount->mountpoint, path) != 0)
		status = complain(CLI_FAILED, "%s is not a wasmocifs mount; see 'wasmocifs status'",
				  path);
	else
		status = abort_mount(mount);
	mounts_release(&mounts);
	return status;
}
