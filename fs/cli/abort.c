/* SPDX-License-Identifier: Apache-2.0 */
/* `wasmocifs abort`: ends a mount whose processes may be stuck. Nothing here asks them, and
 * the mount is not touched. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "fs/cli/command.h"
#include "fs/cli/keeper_file.h"
#include "fs/cli/on_mount.h"
#include "fs/control.h"
#include "fs/mount.h"

/* umount -f says EBUSY when somebody waits, and ends the connection all the same. */
static int abort_by_force(const struct mounts_entry *e)
{
	if (umount2(e->mountpoint, MNT_FORCE | UMOUNT_NOFOLLOW) < 0 && errno != EBUSY)
		return -errno;
	return 0;
}

/* A process of that user: a file of theirs has named it, and may name any. */
static int open_process(pid_t pid, uid_t uid)
{
	char path[64];
	struct stat st;
	AUTO_FD int fd = pid > 1 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	/* After the pidfd: the number cannot have become another one's. */
	if (fd < 0 || stat(path, &st) < 0 || st.st_uid != uid)
		return -1;
	return steal_fd(&fd);
}

static bool send_to(int pidfd, int sig)
{
	return syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) == 0;
}

static void kill_children(pid_t pid, uid_t uid)
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
		AUTO_FD int fd = open_process((pid_t)child, uid);
		if (fd >= 0)
			(void)send_to(fd, SIGKILL);
	}
}

/* With the last process that has it open the connection ends. The keeper first, which would
 * start another worker: it is stopped, so that its children stay its own while they are
 * looked for. */
static int abort_by_kill(const struct mounts_entry *e)
{
	json_t *reply = NULL;
	pid_t worker = 0;
	pid_t pid = keeper_file_pid(e->uid, e->minor);
	AUTO_FD int keeper = open_process(pid, e->uid);
	if (keeper >= 0 && send_to(keeper, SIGSTOP)) {
		kill_children(pid, e->uid);
		(void)send_to(keeper, SIGKILL);
		return 0;
	}
	/* A worker without a keeper: its socket knows it, if it answers or not. */
	if (control_ask(e->uid, e->minor, "status", &reply, &worker, NULL) == 0)
		json_decref(reply);
	AUTO_FD int alone = open_process(worker, e->uid);
	return alone >= 0 && send_to(alone, SIGKILL) ? 0 : -ESRCH;
}

static int abort_mount(const struct mounts_entry *e)
{
	struct err err;
	int status = check_user(e, "abort it");
	if (status != CLI_DONE)
		return status;
	int rc = mount_abort(e->minor);
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
	return on_mount("abort", args, abort_mount);
}
