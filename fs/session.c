/* SPDX-License-Identifier: Apache-2.0 */
/* Each thread waits in an epoll instance of its own, with the connection in it
 * as EPOLLEXCLUSIVE: a request wakes one thread, and session_stop, which makes
 * the one eventfd readable for ever, wakes all. A blocking read could not be
 * ended without a signal.
 *
 * Threads: `mu` guards what its fields say; it is a leaf, and never held
 * across a read, a reply or a callback. */
#include "fs/session.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "fs/fuse_uapi.h"
#include "fs/log.h"
#include "fs/page_drop.h"

enum wake { WAKE_REQUEST, WAKE_STOP };

struct session {
	struct fuse_session *fuse;
	int fd; /* closed by libfuse, with fuse_session_destroy */
	int stop_fd;
	int worker_fd, keeper_fd; /* pidfds, or -1 */
	atomic_bool stopping;
	bool resend, refuse_resent;
	void (*forget)(void *userdata, uint64_t ino, uint64_t count);
	void (*ready)(void *userdata);
	void *userdata;
	struct handover *handover;

	struct lock mu;
	int failure; /* guarded by mu: what ended the first thread that failed */
};

/* Set while this thread has INIT processed again: what libfuse answers, the kernel was
 * told before. */
static _Thread_local bool init_again;
static _Thread_local uint64_t current_unique;

static void log_libfuse(enum fuse_log_level level, const char *fmt, va_list ap) PRINTF(2, 0);

static void log_libfuse(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char text[ERR_TEXT_MAX];
	int len = vsnprintf(text, sizeof(text), fmt, ap);

	if (len < 0)
		return;
	text[strcspn(text, "\n")] = '\0';
	if (level <= FUSE_LOG_WARNING)
		log_warning("libfuse", "%s", text);
	else
		log_debug("libfuse", "%s", text);
}

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	ssize_t len = 0;

	(void)userdata;
	if (!init_again)
		return writev(fd, iov, count);
	for (int i = 0; i < count; i++)
		len += (ssize_t)iov[i].iov_len;
	return len;
}

static ssize_t io_read(int fd, void *buf, size_t len, void *userdata)
{
	(void)userdata;
	return read(fd, buf, len);
}

static int poller_add(int epfd, int fd, uint32_t events, enum wake wake)
{
	struct epoll_event ev = {.events = events, .data.u32 = wake};

	return epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static int poller_open(const struct session *s, int *ret)
{
	AUTO_FD int epfd = epoll_create1(EPOLL_CLOEXEC);
	int r;

	if (epfd < 0)
		return -errno;
	r = poller_add(epfd, s->fd, EPOLLIN | EPOLLEXCLUSIVE, WAKE_REQUEST);
	if (r == 0)
		r = poller_add(epfd, s->stop_fd, EPOLLIN, WAKE_STOP);
	if (r == 0)
		*ret = steal_fd(&epfd);
	return r;
}

static int wait_readable(int epfd)
{
	struct epoll_event ev[2];

	/* What woke us is seen by the caller: the flag, or the next read. */
	return epoll_wait(epfd, ev, (int)ARRAY_LEN(ev), -1) < 0 && errno != EINTR ? -errno : 0;
}

/* The length of the next request; 0: unmounted or stopped. */
static int64_t receive(struct session *s, int epfd, void *buf)
{
	while (!atomic_load(&s->stopping)) {
		ssize_t n = read(s->fd, buf, HANDOVER_BUFFER);
		int r = 0;

		if (n >= 0)
			return n >= (ssize_t)sizeof(struct fuse_in_header) ? n : -EIO;
		switch (errno) {
		case EAGAIN:
			r = wait_readable(epfd);
			break;
		case EINTR:
		case ENOENT: /* the request was given up while we read it */
			break;
		case ENODEV:
		case ECONNABORTED:
			return 0;
		default:
			r = -errno;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* The forgets of the request in buffer i, from the first on that was not begun. Each
 * counts as begun before it is done: a process that ends in between leaves a count too
 * high, never one too low. */
static void process_forgets(struct session *s, unsigned i)
{
	const unsigned char *at = handover_buffer(s->handover, i);
	uint32_t *progress = handover_progress(s->handover, i);
	struct fuse_in_header head;
	struct fuse_batch_forget_in batch = {.count = 1};
	struct fuse_forget_one one;

	memcpy(&head, at, sizeof(head));
	at += sizeof(head);
	size_t left = head.len <= HANDOVER_BUFFER ? head.len - sizeof(head) : 0;
	if (head.opcode == FUSE_BATCH_FORGET && left >= sizeof(batch)) {
		memcpy(&batch, at, sizeof(batch));
		at += sizeof(batch);
		left -= sizeof(batch);
	}
	bool single = head.opcode == FUSE_FORGET;
	size_t each = single ? sizeof(struct fuse_forget_in) : sizeof(one);
	for (uint32_t k = *progress; k < batch.count && (k + 1) * each <= left; k++) {
		__atomic_store_n(progress, k + 1, __ATOMIC_RELEASE);
		one.nodeid = head.nodeid;
		memcpy(single ? (void *)&one.nlookup : (void *)&one, at + k * each, each);
		s->forget(s->userdata, one.nodeid, one.nlookup);
	}
}

static bool is_forget(const struct fuse_in_header *head)
{
	return head->opcode == FUSE_FORGET || head->opcode == FUSE_BATCH_FORGET;
}

static void refuse(struct session *s, const struct fuse_in_header *head)
{
	struct fuse_out_header reply = {
	    .len = sizeof(reply), .error = -EIO, .unique = head->unique};

	log_warning("session", "a request (opcode %u) is refused: workers died of one such",
		    head->opcode);
	/* An INTERRUPT has no answer, and one whose caller has gone wants none. */
	if (head->opcode != FUSE_INTERRUPT)
		(void)!write(s->fd, &reply, sizeof(reply));
}

/* The request in buffer i, of len bytes. */
static void process(struct session *s, unsigned i, size_t len)
{
	struct fuse_buf request = {.mem = handover_buffer(s->handover, i), .size = len};
	struct fuse_in_header head;

	memcpy(&head, request.mem, sizeof(head));
	if (is_forget(&head)) {
		process_forgets(s, i);
	} else if (s->refuse_resent && (head.unique & UAPI_UNIQUE_RESEND) != 0) {
		refuse(s, &head);
	} else {
		current_unique = head.unique;
		fuse_session_process_buf(s->fuse, &request);
		current_unique = 0;
	}
	handover_done(s->handover, i);
}

static int serve(struct session *s, int epfd, unsigned i)
{
	for (;;) {
		int64_t n = receive(s, epfd, handover_buffer(s->handover, i));

		if (n <= 0)
			return (int)n;
		process(s, i, (size_t)n);
	}
}

/* libfuse answers nothing before it has seen INIT. */
static void replay_init(struct session *s)
{
	struct handover_init init = *handover_init(s->handover);
	struct fuse_buf request = {.mem = init.request, .size = init.request_len};

	init_again = true;
	fuse_session_process_buf(s->fuse, &request);
	init_again = false;
}

static int take_over(struct session *s)
{
	struct fuse_out_header resend = {.len = sizeof(resend), .error = UAPI_NOTIFY_RESEND};

	replay_init(s);
	for (unsigned i = 0; i < HANDOVER_BUFFERS; i++) {
		struct fuse_in_header head;

		memcpy(&head, handover_buffer(s->handover, i), sizeof(head));
		if (head.len >= sizeof(head) && is_forget(&head))
			process_forgets(s, i);
		handover_done(s->handover, i);
	}
	if (!s->resend || write(s->fd, &resend, sizeof(resend)) >= 0)
		return 0;
	return errno == ENODEV || errno == ENOTCONN ? 0 : -errno;
}

/* One thread is through: so are all. */
static void finish(struct session *s, int r)
{
	lock_take(&s->mu);
	if (r < 0 && s->failure == 0)
		s->failure = r;
	lock_drop(&s->mu);
	session_stop(s);
}

struct thread {
	struct session *session;
	unsigned i; /* its buffer */
	pthread_t id;
};

static void *thread_main(void *arg)
{
	const struct thread *t = arg;
	struct session *s = t->session;
	AUTO_FD int epfd = -1;
	int r = poller_open(s, &epfd);

	if (r == 0)
		finish(s, serve(s, epfd, t->i));
	else
		log_warning("session", "one thread less: %s", strerror(-r));
	return NULL;
}

/* Signals are for the program's own threads, so these block them all. Fewer
 * threads than wanted are no failure: none of them ever blocks. */
static size_t start_threads(struct session *s, struct thread *threads, size_t n)
{
	sigset_t all, old;
	size_t i;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (i = 0; i < n; i++) {
		threads[i] = (struct thread){.session = s, .i = (unsigned)i + 1};
		int r = pthread_create(&threads[i].id, NULL, thread_main, &threads[i]);

		if (r != 0) {
			log_warning("session", "%zu threads instead of %zu: %s", i + 1, n + 1,
				    strerror(r));
			break;
		}
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return i;
}

int session_run(struct session *s, struct err *err)
{
	struct thread threads[SESSION_THREADS - 1];
	AUTO_FD int epfd = -1;
	size_t started = 0;
	int r = poller_open(s, &epfd);

	if (r == 0)
		r = take_over(s);
	if (r == 0) {
		if (s->ready)
			s->ready(s->userdata);
		started = start_threads(s, threads, ARRAY_LEN(threads));
		r = serve(s, epfd, 0);
	}
	finish(s, r);
	for (size_t i = 0; i < started; i++)
		pthread_join(threads[i].id, NULL);

	lock_take(&s->mu);
	r = s->failure;
	lock_drop(&s->mu);
	return r < 0 ? err_errno(err, r, "the connection to the kernel failed") : 0;
}

void session_stop(struct session *s)
{
	atomic_store(&s->stopping, true);
	/* Fails only where it need not be done: the counter is full. */
	(void)eventfd_write(s->stop_fd, 1);
}

/* Hands fd to libfuse, whose fuse_session_destroy closes it. */
static int open_libfuse(struct session *s, const struct session_options *o, int *fd)
{
	static const struct fuse_custom_io io = {.writev = io_writev, .read = io_read};
	char name[] = "wasmocifs";
	char *argv[] = {name, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	int r;

	s->fuse = fuse_session_new(&args, o->ops, sizeof(*o->ops), o->userdata);
	fuse_opt_free_args(&args);
	if (!s->fuse)
		return -ENOMEM;
	r = fuse_session_custom_io(s->fuse, &io, *fd);
	if (r < 0)
		return r;
	s->fd = steal_fd(fd);
	return 0;
}

static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

int session_new(const struct session_options *o, struct session **ret, struct err *err)
{
	AUTO_FD int fd = o->fd;
	struct session *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(err, -ENOMEM, "no memory for the session");
	lock_init(&s->mu);
	s->fd = -1;
	s->worker_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	s->keeper_fd = o->keeper > 0 ? (int)syscall(SYS_pidfd_open, o->keeper, 0) : -1;
	s->forget = o->forget;
	s->ready = o->ready;
	s->userdata = o->userdata;
	s->handover = o->handover;
	s->resend = o->resend;
	s->refuse_resent = o->refuse_resent;
	fuse_set_log_func(log_libfuse);
	s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = s->stop_fd < 0 ? -errno : set_nonblocking(fd);
	if (r == 0)
		r = open_libfuse(s, o, &fd);
	if (r < 0) {
		session_free(s);
		return err_errno(err, r, "cannot start the FUSE session");
	}
	*ret = s;
	return 0;
}

int session_drop_pages(struct session *s, const uint64_t *inos, size_t n)
{
	struct page_drop d = {.fuse_fd = s->fd,
			      .worker_fd = s->worker_fd,
			      .keeper_fd = s->keeper_fd,
			      .inos = inos,
			      .n = n};

	return page_drop(&d);
}

void session_free(struct session *s)
{
	if (!s)
		return;
	if (s->fuse)
		fuse_session_destroy(s->fuse);
	auto_close_(&s->worker_fd);
	auto_close_(&s->keeper_fd);
	auto_close_(&s->stop_fd);
	lock_release(&s->mu);
	free(s);
}

uint64_t session_unique(void)
{
	return current_unique;
}

int session_fd(const struct session *s)
{
	return s->fd;
}
