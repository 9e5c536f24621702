/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/heartbeat.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "fs/mount.h"

/* Nothing of the answer counts but that there is one. */
static void ask(const char *mountpoint)
{
	struct statx stx;
	/* It may be left waiting, and must not be what keeps the connection open. */
	(void)close_range(3, ~0u, 0);
	(void)prctl(PR_SET_NAME, "heartbeat");
	(void)statx(AT_FDCWD, mountpoint, AT_NO_AUTOMOUNT | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS,
		    &stx);
	_exit(0);
}

static void close_pidfd(struct heartbeat *h)
{
	if (h->pidfd >= 0)
		close(steal_fd(&h->pidfd));
}

static void start(struct heartbeat *h, const char *mountpoint)
{
	int64_t now = clock_ms();
	if (h->left > 0 && waitpid(h->left, NULL, WNOHANG) != 0)
		h->left = 0;
	h->pid = fork();
	if (h->pid == 0)
		ask(mountpoint);
	h->pidfd = h->pid > 0 ? pidfd_open(h->pid, 0) : -1;
	h->next_at = now + HEARTBEAT_WAIT_MS;
	/* No process to spare: later. */
	if (h->pid < 0) {
		h->pid = 0;
		h->next_at = now + HEARTBEAT_MS;
	}
}

bool heartbeat_look(struct heartbeat *h, const char *mountpoint, unsigned minor)
{
	int64_t now = clock_ms();
	unsigned there;
	if (h->pid == 0 && now < h->next_at && h->next_at != INT64_MAX)
		return true;
	if (h->pid > 0 && waitpid(h->pid, NULL, WNOHANG) == 0)
		return now < h->next_at;
	bool is_due = h->pid == 0 && h->next_at != INT64_MAX;
	close_pidfd(h);
	h->pid = 0;
	h->next_at = now + HEARTBEAT_MS;
	/* Where something else lies over it, or it was moved, that would be asked. */
	if (is_due && mount_state(mountpoint, &there) == MOUNT_OURS && there == minor)
		start(h, mountpoint);
	return true;
}

void heartbeat_stop(struct heartbeat *h)
{
	if (h->pid > 0) {
		(void)kill(h->pid, SIGKILL);
		/* It may wait in the kernel still, and is reaped later. */
		if (waitpid(h->pid, NULL, WNOHANG) == 0)
			h->left = h->pid;
	}
	close_pidfd(h);
	h->pid = 0;
	h->next_at = INT64_MAX;
}
