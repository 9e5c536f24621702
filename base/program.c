/* SPDX-License-Identifier: Apache-2.0 */
#include "base/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "base/clock.h"

static int set_actions(posix_spawn_file_actions_t *a, const struct program_options *o)
{
	int r = posix_spawn_file_actions_adddup2(a, o->in, STDIN_FILENO);

	if (r == 0)
		r = posix_spawn_file_actions_adddup2(a, o->out, STDOUT_FILENO);
	if (r == 0 && o->errors >= 0)
		r = posix_spawn_file_actions_adddup2(a, o->errors, STDERR_FILENO);
	else if (r == 0)
		r = posix_spawn_file_actions_addopen(a, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_addclosefrom_np(a, STDERR_FILENO + 1);
	if (r == 0)
		r = posix_spawn_file_actions_addchdir_np(a, "/");
	return r;
}

/* Threads of ours block every signal, and the program ignores SIGPIPE. */
static int set_attributes(posix_spawnattr_t *a)
{
	sigset_t none, usual;
	int r;

	sigemptyset(&none);
	sigemptyset(&usual);
	sigaddset(&usual, SIGPIPE);
	r = posix_spawnattr_setsigmask(a, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(a, &usual);
	if (r == 0)
		r = posix_spawnattr_setflags(a, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
						    POSIX_SPAWN_SETSIGDEF);
	return r;
}

static int spawn(const struct program_options *o, pid_t *ret)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int r = posix_spawn_file_actions_init(&actions);

	if (r != 0)
		return -r;
	r = posix_spawnattr_init(&attributes);
	if (r == 0) {
		r = set_actions(&actions, o);
		if (r == 0)
			r = set_attributes(&attributes);
		if (r == 0)
			r = posix_spawn(ret, o->path, &actions, &attributes, o->argv, o->env);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

int program_start(const struct program_options *o, struct program *ret)
{
	struct program p = PROGRAM_NONE;
	int r = spawn(o, &p.pid);

	*ret = PROGRAM_NONE;
	if (r < 0)
		return r;
	p.pidfd = pidfd_open(p.pid, 0);
	if (p.pidfd < 0) {
		r = -errno;
		(void)program_end(&p, NULL);
		return r;
	}
	*ret = p;
	return 0;
}

bool program_wait(const struct program *p, int ms)
{
	struct pollfd fd = {.fd = p->pidfd, .events = POLLIN};
	int64_t until = clock_ms() + ms;
	int64_t left = ms;

	while (left >= 0) {
		if (poll(&fd, 1, (int)left) > 0)
			return true;
		left = until - clock_ms();
	}
	return false;
}

/* Until it is reaped, the group's number is nobody else's. */
int program_end(struct program *p, int *ret_signal)
{
	siginfo_t info = {0};
	pid_t pid = p->pid;
	int r;

	auto_close_(&p->pidfd);
	*p = PROGRAM_NONE;
	if (ret_signal)
		*ret_signal = 0;
	if (pid <= 0)
		return -1;
	(void)kill(-pid, SIGKILL);
	do
		r = waitid(P_PID, (id_t)pid, &info, WEXITED);
	while (r < 0 && errno == EINTR);
	if (r == 0 && info.si_code == CLD_EXITED)
		return info.si_status;
	if (ret_signal && r == 0)
		*ret_signal = info.si_status;
	return -1;
}
