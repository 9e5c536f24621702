/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* A status file is about 1.5 KiB; group lists can make it longer. */
#define STATUS_MAX (64u << 10)
/* PF_EXITING of the kernel. */
#define FLAG_EXITING 0x4u

static uint64_t bit(int sig)
{
	return 1ull << (sig - 1);
}

/* The hexadecimal mask behind "\nLABEL:\t". */
static bool mask(const char *status, const char *label, uint64_t *ret)
{
	const char *p = strstr(status, label);
	if (!p)
		return false;
	char *end;
	errno = 0;
	*ret = strtoull(p + strlen(label), &end, 16);
	return errno == 0 && end != p + strlen(label);
}

bool signals_let_go(const char *status, size_t len)
{
	uint64_t thread, process, blocked, ignored, caught;
	if (memchr(status, '\0', len))
		return false;
	if (!mask(status, "\nSigPnd:", &thread) || !mask(status, "\nShdPnd:", &process) ||
	    !mask(status, "\nSigBlk:", &blocked) || !mask(status, "\nSigIgn:", &ignored) ||
	    !mask(status, "\nSigCgt:", &caught))
		return false;
	if (thread & bit(SIGKILL))
		return true;
	uint64_t harmless = bit(SIGCHLD) | bit(SIGURG) | bit(SIGWINCH) | bit(SIGCONT) |
			    bit(SIGSTOP) | bit(SIGTSTP) | bit(SIGTTIN) | bit(SIGTTOU);
	uint64_t asks = bit(SIGINT) | bit(SIGTERM) | bit(SIGHUP) | bit(SIGQUIT) | bit(SIGALRM);
	uint64_t pending = (thread | process) & ~(blocked | ignored);
	return (pending & ~caught & ~harmless) != 0 || (pending & caught & asks) != 0;
}

/* Its length, or -errno. New text. */
static int64_t read_of(pid_t tid, const char *file, char **ret)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)tid, file);
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	AUTO_FREE char *text = malloc(STATUS_MAX + 1);
	if (!text)
		return -ENOMEM;
	int64_t len = file_pread_full(fd, text, STATUS_MAX, 0);
	if (len < 0)
		return len;
	text[len] = '\0';
	*ret = steal_ptr(&text);
	return len;
}

bool signals_thread_let_go(pid_t tid)
{
	AUTO_FREE char *text = NULL;
	if (tid == 0)
		return true;
	int64_t len = read_of(tid, "status", &text);
	/* Gone; or of a user whose processes we must not see (hidepid): then there is
	 * only the kernel's word that it was interrupted. */
	if (len < 0)
		return len == -ENOENT || len == -ESRCH || len == -EPERM || len == -EACCES;
	return signals_let_go(text, (size_t)len);
}

/* Of the text of /proc/<tid>/stat: it closes its files, and waits for no page any more. */
static bool is_exiting(const char *stat)
{
	/* The name, which may hold anything, then state, ppid, pgrp, session, tty, tpgid, flags. */
	const char *at = strrchr(stat, ')');
	for (int i = 0; i < 7 && at; i++)
		at = strchr(at + 1, ' ');
	return at && (strtoul(at, NULL, 10) & FLAG_EXITING) != 0;
}

bool signals_thread_is_gone(pid_t tid)
{
	AUTO_FREE char *status = NULL;
	AUTO_FREE char *stat = NULL;
	uint64_t thread;
	if (tid == 0)
		return false;
	/* A /proc that hides it shows the same as of one that is gone. */
	if (kill(tid, 0) < 0 && errno == ESRCH)
		return true;
	if (read_of(tid, "stat", &stat) >= 0 && is_exiting(stat))
		return true;
	if (read_of(tid, "status", &status) < 0)
		return false;
	return strstr(status, "\nState:\tZ") || strstr(status, "\nState:\tX") ||
	       (mask(status, "\nSigPnd:", &thread) && (thread & bit(SIGKILL)));
}
