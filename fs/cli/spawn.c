/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "fs/child.h"
#include "fs/cli/link.h"

#define CHILDREN_MAX (64u << 10) /* bytes of pids */

int spawn_program(const char *path, struct err *err)
{
	int fd = open(path, O_PATH | O_CLOEXEC);
	return fd < 0 ? err_errno(err, -errno, "%s", path) : fd;
}

#define OOM_SCORE "/proc/self/oom_score_adj"
static char oom_score_before[16]; /* "": it was not changed */

static void set_oom_score(const char *value)
{
	AUTO_FD int fd = value[0] != '\0' ? open(OOM_SCORE, O_WRONLY | O_CLOEXEC) : -1;
	if (fd >= 0)
		(void)!file_write_all(fd, value, strlen(value));
}

void spawn_protect(void)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	if (file_read_small(AT_FDCWD, OOM_SCORE, sizeof(oom_score_before) - 1, &text, &len) < 0 ||
	    strtol(text, NULL, 10) <= KEEPER_OOM_SCORE)
		return;
	snprintf(oom_score_before, sizeof(oom_score_before), "%ld", strtol(text, NULL, 10));
	char wanted[16];
	snprintf(wanted, sizeof(wanted), "%d", KEEPER_OOM_SCORE);
	set_oom_score(wanted);
}

/* The words, with the descriptor of the link behind the first two. New. */
static char **with_link(char **argv, char *word)
{
	size_t n = 0;
	while (argv[n] != NULL)
		n++;
	char **v = calloc(n + 2, sizeof(*v));
	if (v == NULL)
		return NULL;
	memcpy(v, argv, 2 * sizeof(*v));
	v[2] = word;
	memcpy(v + 3, argv + 2, (n - 2) * sizeof(*v));
	return v;
}

/* In the child, which has one thread as its parent has. */
static void run(int program, char **argv, int link)
{
	set_oom_score(oom_score_before);
	/* Nothing of the keeper's, nor of whoever started it, lives on in a worker. */
	(void)close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	if (fcntl(link, F_SETFD, 0) == 0)
		(void)execveat(program, "", argv, environ, AT_EMPTY_PATH);
	struct err err;
	(void)err_errno(&err, -errno, "cannot run the program");
	(void)link_say(link, LINK_FAILED, 1, err.text);
	_exit(127);
}

int spawn_start(int program, char **argv, struct spawned *ret, struct err *err)
{
	char word[32];
	int ends[2];
	*ret = SPAWNED_NONE;
	int rc = link_pair(ends);
	if (rc < 0)
		return err_errno(err, rc, "cannot start a worker");
	AUTO_FD int ours = ends[0];
	AUTO_FD int theirs = ends[1];
	snprintf(word, sizeof(word), "--keeper-fd=%d", theirs);
	AUTO_FREE char **words = with_link(argv, word);
	pid_t pid = words != NULL ? fork() : -1;
	if (pid == 0)
		run(program, words, theirs);
	if (pid < 0)
		return err_errno(err, words != NULL ? -errno : -ENOMEM, "cannot start a worker");
	*ret = (struct spawned){
	    .pid = pid, .pidfd = pidfd_open(pid, 0), .program = program, .started_ms = clock_ms()};
	if (ret->pidfd < 0) {
		rc = err_errno(err, -errno, "cannot watch a worker");
		ret->link = steal_fd(&ours);
		(void)spawn_kill(ret);
		return rc;
	}
	ret->link = steal_fd(&ours);
	return 0;
}

static void forget(struct spawned *w)
{
	auto_close_(&w->pidfd);
	auto_close_(&w->link);
	*w = SPAWNED_NONE;
}

bool spawn_reap(struct spawned *w, bool *ret_killed, char ret[SPAWN_END_MAX])
{
	int status = 0;
	pid_t r;
	do
		r = waitpid(w->pid, &status, 0);
	while (r < 0 && errno == EINTR);
	*ret_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	if (WIFSIGNALED(status))
		snprintf(ret, SPAWN_END_MAX, "signal %d, %s%s", WTERMSIG(status),
			 strsignal(WTERMSIG(status)), WCOREDUMP(status) ? ", core dumped" : "");
	else
		snprintf(ret, SPAWN_END_MAX, "exit status %d", WEXITSTATUS(status));
	bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	forget(w);
	return well;
}

bool spawn_kill(struct spawned *w)
{
	int status;
	if (w->pid == 0)
		return true;
	(void)kill(w->pid, SIGKILL);
	bool gone = child_wait(w->pid, clock_ms() + SPAWN_KILL_MS, &status);
	forget(w);
	return gone;
}

void spawn_adopt_orphans(void)
{
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

static bool has(const pid_t *v, size_t n, pid_t pid)
{
	for (size_t i = 0; i < n; i++) {
		if (v[i] == pid)
			return true;
	}
	return false;
}

static void list_children(struct children *ret)
{
	char path[64];
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	ret->n = 0;
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	if (file_read_small(AT_FDCWD, path, CHILDREN_MAX, &text, &len) < 0)
		return;
	for (char *at = text, *after; *at != '\0' && ret->n < SPAWN_CHILDREN_MAX; at = after) {
		long pid = strtol(at, &after, 10);
		if (after == at)
			return;
		if (pid > 1)
			ret->v[ret->n++] = (pid_t)pid;
	}
}

void spawn_note_children(struct children *known, const pid_t *ours, size_t n)
{
	struct children now;
	list_children(&now);
	known->n = 0;
	for (size_t i = 0; i < now.n; i++) {
		if (!has(ours, n, now.v[i]) && waitpid(now.v[i], NULL, WNOHANG) == 0)
			known->v[known->n++] = now.v[i];
	}
}

void spawn_end_orphans(const struct children *known, const pid_t *ours, size_t n)
{
	struct children now;
	list_children(&now);
	for (size_t i = 0; i < now.n; i++) {
		if (has(ours, n, now.v[i]) || has(known->v, known->n, now.v[i]))
			continue;
		(void)kill(now.v[i], SIGKILL);
		(void)waitpid(now.v[i], NULL, WNOHANG);
	}
}
