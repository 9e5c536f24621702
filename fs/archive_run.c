/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/archive_run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/program.h"
#include "fs/archive_helper.h"

#define SELF      "/proc/self/exe"
#define PIPE_SIZE (1 << 20)
#define PIECE     (256u << 10)

struct helper {
	struct program program;
	int out, words; /* -1: closed */
	int wake;       /* readable once the call is cancelled */
	int64_t heard_ms;
	struct err said;
	size_t said_len;
	char *piece;
};

static int cannot_run(int code, struct err *err)
{
	return err_set(err, -EIO, "cannot run the archive helper (%s)", strerrorname_np(-code));
}

/* ---- start ---- */

static int spawn(struct helper *h, const char *compression, int fd)
{
	char self[] = SELF, word[] = ARCHIVE_HELPER_WORD;
	char expand[] = "expand", index[] = "index";
	char *argv[] = {self, word, compression != NULL ? expand : index,
			(char *)(uintptr_t)compression, NULL};
	char *env[] = {NULL};
	int out[2], words[2];
	if (pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	h->out = out[0];
	if (pipe2(words, O_CLOEXEC) < 0) {
		int rc = -errno;
		close(out[1]);
		return rc;
	}
	h->words = words[0];
	(void)fcntl(out[0], F_SETPIPE_SZ, PIPE_SIZE);
	/* Opened anew: the helper moves its offset. */
	char path[32];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	AUTO_FD int in = open(path, O_RDONLY | O_CLOEXEC);
	struct program_options o = {
	    .path = SELF, .argv = argv, .env = env, .in = in, .out = out[1], .errors = words[1]};
	int rc = in < 0 ? -errno : program_start(&o, &h->program);
	close(out[1]);
	close(words[1]);
	return rc;
}

static int start(struct helper *h, const char *compression, int fd)
{
	h->piece = malloc(PIECE);
	h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->piece == NULL)
		return -ENOMEM;
	if (h->wake < 0)
		return -errno;
	int rc = spawn(h, compression, fd);
	if (rc == 0 &&
	    (fcntl(h->out, F_SETFL, O_NONBLOCK) < 0 || fcntl(h->words, F_SETFL, O_NONBLOCK) < 0))
		rc = -errno;
	h->heard_ms = clock_ms();
	return rc;
}

static void release(struct helper *h)
{
	auto_close_(&h->out);
	auto_close_(&h->words);
	auto_close_(&h->wake);
	free(h->piece);
}

/* ---- listen ---- */

static void wake(void *ctx)
{
	const struct helper *h = ctx;
	(void)eventfd_write(h->wake, 1);
}

/* Bytes read; 0: closed, and *fd is -1; -EAGAIN: nothing now. */
static ssize_t read_some(int *fd, void *buf, size_t room)
{
	ssize_t n;
	do
		n = read(*fd, buf, room);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return -EAGAIN;
	if (n > 0)
		return n;
	close(*fd);
	*fd = -1;
	return 0;
}

/* Only so much of its words is kept; what comes after that is its loss. */
static void take_words(struct helper *h)
{
	char rest[ERR_TEXT_MAX];
	size_t room = sizeof(h->said.text) - 1 - h->said_len;
	ssize_t n = read_some(&h->words, room > 0 ? h->said.text + h->said_len : rest,
			      room > 0 ? room : sizeof(rest));
	if (n > 0 && room > 0)
		h->said_len += (size_t)n;
}

static int take_output(struct helper *h, const struct archive_sink *sink, struct err *err)
{
	ssize_t n = read_some(&h->out, h->piece, PIECE);
	if (n <= 0)
		return 0;
	h->heard_ms = clock_ms();
	return sink->write(sink->ctx, h->piece, (size_t)n, err);
}

/* Milliseconds until somebody loses patience. */
static int patience(const struct helper *h, const struct call *call)
{
	int64_t now = clock_ms();
	int64_t until = h->heard_ms + ARCHIVE_SILENCE_MS;
	if (call->deadline_ms < until)
		until = call->deadline_ms;
	int64_t left = until > now ? until - now : 0;
	return left < INT_MAX ? (int)left : INT_MAX;
}

/* Until it has closed both of its pipes, as it does by ending. */
static int listen_to(struct helper *h, const struct archive_sink *sink, struct call *call,
		     struct err *err)
{
	while (h->out >= 0 || h->words >= 0) {
		struct pollfd fds[] = {{.fd = h->out, .events = POLLIN},
				       {.fd = h->words, .events = POLLIN},
				       {.fd = h->wake, .events = POLLIN}};
		int rc = call_check(call, err);
		if (rc < 0)
			return rc;
		int n = poll(fds, ARRAY_LEN(fds), patience(h, call));
		if (n < 0 && errno != EINTR)
			return cannot_run(-errno, err);
		if (n == 0 && clock_ms() - h->heard_ms >= ARCHIVE_SILENCE_MS)
			return err_set(err, -EIO, "the archive helper has been silent for %d s",
				       ARCHIVE_SILENCE_MS / 1000);
		if (n > 0 && fds[1].revents != 0)
			take_words(h);
		rc = n > 0 && fds[0].revents != 0 ? take_output(h, sink, err) : 0;
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- end ---- */

/* Of a signal: that of a fault is the archive's doing, and that of a limit too. */
static int died(int signal, struct err *err)
{
	switch (signal) {
	case SIGSEGV:
	case SIGBUS:
	case SIGILL:
	case SIGFPE:
	case SIGABRT:
	case SIGSYS:
		return err_set(err, -EPROTO,
			       "cannot be read: the archive helper died of it (SIG%s)",
			       sigabbrev_np(signal));
	case SIGXCPU:
		return err_set(err, -EFBIG, "it takes too much time to be read");
	default:
		return err_set(err, -EIO, "the archive helper was killed (SIG%s)",
			       signal > 0 ? sigabbrev_np(signal) : "?");
	}
}

static int judge(int status, int signal, const struct helper *h, struct err *err)
{
	const char *said = h->said_len > 0 ? h->said.text : "the archive helper gave no reason";
	switch (status) {
	case 0:
		return 0;
	case -1:
		return died(signal, err);
	case ARCHIVE_EXIT_MALFORMED:
		return err_set(err, -EPROTO, "%s", said);
	case ARCHIVE_EXIT_TOO_LARGE:
		return err_set(err, -EFBIG, "%s", said);
	default:
		return err_set(err, -EIO, "%s", said);
	}
}

int archive_run(const char *compression, int fd, const struct archive_sink *sink, struct call *call,
		struct err *err)
{
	struct helper h = {.program = PROGRAM_NONE, .out = -1, .words = -1, .wake = -1};
	int signal = 0;
	int rc = start(&h, compression, fd);
	if (rc < 0) {
		(void)program_end(&h.program, NULL);
		release(&h);
		return rc == -ENOMEM ? err_errno(err, rc, "archive") : cannot_run(rc, err);
	}
	call_set_waker(call, wake, &h);
	rc = listen_to(&h, sink, call, err);
	call_set_waker(call, NULL, NULL);
	if (rc == 0 && !program_wait(&h.program, ARCHIVE_SILENCE_MS))
		rc = err_set(err, -EIO, "the archive helper does not end");
	int status = program_end(&h.program, &signal);
	if (rc == 0)
		rc = judge(status, signal, &h, err);
	release(&h);
	return rc;
}
