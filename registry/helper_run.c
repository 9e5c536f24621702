/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/helper_run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/program.h"

struct child {
	struct program program;
	int out;  /* what it prints; -1 once it has closed it */
	int wake; /* readable once the call is cancelled */
};

void helper_output_release(struct helper_output *o)
{
	if (o->text)
		explicit_bzero(o->text, o->len);
	free(o->text);
	*o = (struct helper_output){0};
}

/* ---- start ---- */

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

/* Its exit status. */
static int finish(struct child *c)
{
	auto_close_(&c->out);
	auto_close_(&c->wake);
	return program_end(&c->program, NULL);
}

static int start(const char *path, const char *input, struct child *c)
{
	char word[] = "get";
	char *argv[] = {(char *)(uintptr_t)path, word, NULL};
	struct program_options o = {.path = path, .argv = argv, .env = environ, .errors = -1};
	AUTO_FD int in = -1;
	int out[2];
	int r = input_pipe(input, &in);

	if (r < 0)
		return r;
	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake < 0 || pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	c->out = out[0];
	o.in = in;
	o.out = out[1];
	r = fcntl(out[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : program_start(&o, &c->program);
	close(out[1]);
	return r;
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
		struct pollfd fds[] = {{.fd = c->program.pidfd, .events = POLLIN},
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
	struct child c = {.program = PROGRAM_NONE, .out = -1, .wake = -1};
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
