/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/helper_run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

struct child {
	pid_t pid;
	int pidfd; /* readable once it has ended */
	int out;   /* what it prints; -1 once it has closed it */
	int wake;  /* readable once the call is cancelled */
};

void helper_output_release(struct helper_output *o)
{
	if (o->text)
		explicit_bzero(o->text, o->len);
	free(o->text);
	*o = (struct helper_output){0};
}

/* ---- start ---- */

static int set_actions(posix_spawn_file_actions_t *a, int in, int out)
{
	int r = posix_spawn_file_actions_adddup2(a, in, STDIN_FILENO);

	if (r == 0)
		r = posix_spawn_file_actions_adddup2(a, out, STDOUT_FILENO);
	if (r == 0)
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

static int spawn(const char *path, int in, int out, pid_t *ret)
{
	char word[] = "get";
	char *argv[] = {(char *)(uintptr_t)path, word, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int r = posix_spawn_file_actions_init(&actions);

	if (r != 0)
		return -r;
	r = posix_spawnattr_init(&attributes);
	if (r == 0) {
		r = set_actions(&actions, in, out);
		if (r == 0)
			r = set_attributes(&attributes);
		if (r == 0)
			r = posix_spawn(ret, path, &actions, &attributes, argv, environ);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* All of the input is in the pipe before there is anybody who could close its
 * other end: no write of ours can fail or wait. */
static int input_pipe(const char *input, int *ret)
{
	int ends[2];
	size_t len = strlen(input);
	ssize_t n;

	if (len > HELPER_INPUT_MAX)
		return -EINVAL;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	n = write(ends[1], input, len);
	close(ends[1]);
	if (n != (ssize_t)len) {
		close(ends[0]);
		return -EIO;
	}
	*ret = ends[0];
	return 0;
}

/* Ends all of its group. Until it is reaped, the group's number is nobody else's. */
static int finish(struct child *c)
{
	siginfo_t info = {0};
	int r;

	auto_close_(&c->pidfd);
	auto_close_(&c->out);
	auto_close_(&c->wake);
	if (c->pid <= 0)
		return -1;
	(void)kill(-c->pid, SIGKILL);
	do
		r = waitid(P_PID, (id_t)c->pid, &info, WEXITED);
	while (r < 0 && errno == EINTR);
	return r == 0 && info.si_code == CLD_EXITED ? info.si_status : -1;
}

static int start(const char *path, const char *input, struct child *c)
{
	AUTO_FD int in = -1;
	int out[2];
	int r = input_pipe(input, &in);

	if (r < 0)
		return r;
	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake < 0 || pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	c->out = out[0];
	r = fcntl(out[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : spawn(path, in, out[1], &c->pid);
	close(out[1]);
	if (r < 0) {
		c->pid = 0;
		return r;
	}
	c->pidfd = pidfd_open(c->pid, 0);
	return c->pidfd < 0 ? -errno : 0;
}

/* ---- listen ---- */

static void wake(void *ctx)
{
	const struct child *c = ctx;

	(void)eventfd_write(c->wake, 1);
}

/* What there is. -EFBIG beyond the limit. */
static int take(struct child *c, struct helper_output *o)
{
	while (c->out >= 0) {
		ssize_t n = read(c->out, o->text + o->len, HELPER_OUTPUT_MAX + 1 - o->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0) {
			close(c->out);
			c->out = -1;
			return 0;
		}
		o->len += (size_t)n;
		if (o->len > HELPER_OUTPUT_MAX)
			return -EFBIG;
	}
	return 0;
}

/* Until it has ended. */
static int listen_to(struct child *c, int64_t limit_ms, struct call *call, struct helper_output *o,
		     struct err *err)
{
	int64_t end_ms = clock_ms() + limit_ms;

	for (;;) {
		struct pollfd fds[] = {{.fd = c->pidfd, .events = POLLIN},
				       {.fd = c->out, .events = POLLIN},
				       {.fd = c->wake, .events = POLLIN}};
		int64_t now_ms = clock_ms();
		int64_t until_ms = end_ms < call->deadline_ms ? end_ms : call->deadline_ms;
		int64_t left_ms = until_ms > now_ms ? until_ms - now_ms : 0;
		int r = call_check(call, NULL);

		if (r < 0)
			return err_set(err, r, "gave no answer in time");
		if (now_ms >= end_ms)
			return err_set(err, -EACCES, "gave no answer within %lld s",
				       (long long)(limit_ms + 999) / 1000);
		r = poll(fds, ARRAY_LEN(fds), left_ms > INT_MAX ? INT_MAX : (int)left_ms);
		if (r < 0 && errno != EINTR)
			return err_errno(err, -EACCES, "cannot be waited for");
		if (r > 0 && take(c, o) < 0)
			return err_set(err, -EACCES, "printed more than %u bytes",
				       HELPER_OUTPUT_MAX);
		/* Looked at before what it printed was taken: that is all of it. */
		if (r > 0 && fds[0].revents)
			return 0;
	}
}

int helper_run(const char *path, const char *input, int64_t limit_ms, struct call *call,
	       struct helper_output *ret, struct err *err)
{
	struct child c = {.pidfd = -1, .out = -1, .wake = -1};
	struct helper_output o = {.text = malloc(HELPER_OUTPUT_MAX + 2)};
	int r;

	if (!o.text)
		return err_set(err, -ENOMEM, "out of memory");
	r = start(path, input, &c);
	if (r < 0) {
		r = err_set(err, r == -ENOMEM ? r : -EACCES, "cannot be run: %s", strerror(-r));
	} else {
		call_set_waker(call, wake, &c);
		r = listen_to(&c, limit_ms, call, &o, err);
		call_set_waker(call, NULL, NULL);
	}
	o.exit_code = finish(&c);
	if (r < 0) {
		helper_output_release(&o);
		return r;
	}
	o.text[o.len] = '\0';
	*ret = o;
	return 0;
}
