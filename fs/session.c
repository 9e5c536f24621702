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
#include <sys/uio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "fs/fuse_uapi.h"
#include "fs/log.h"

/* The largest requests of a read-only mount are batches of FORGET, which fit
 * themselves to the buffer, and IOCTL (16 KiB). Pages are touched as used. */
#define REQUEST_BUFFER      (64u << 10)
#define MAX_WRITE           4096u /* the kernel's least; it wants room for one in each read */
#define MAX_BACKGROUND      4096u
#define MAX_READAHEAD       (1u << 20)
#define MAX_STACK_DEPTH     1u  /* so that an overlay over the mount still works */
#define COMPAT_INIT_OUT_LEN 24u /* before 7.23 */

#define WANTED              (FUSE_PARALLEL_DIROPS | FUSE_ASYNC_READ)
/* AUTO_INVAL_DATA drops pages of a file with two mtimes; CACHE_SYMLINKS keeps
 * a tag's old target past its TTL; READDIRPLUS needs sizes we do not ask for. */
#define UNWANTED                                                                                   \
	(FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |                      \
	 FUSE_CACHE_SYMLINKS | FUSE_SPLICE_READ | FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE |           \
	 FUSE_WRITEBACK_CACHE)

enum wake { WAKE_REQUEST, WAKE_STOP };

struct session {
	struct fuse_session *fuse;
	int fd; /* closed by libfuse, with fuse_session_destroy */
	int stop_fd;
	atomic_bool stopping;
	bool no_passthrough;
	void (*ready)(void *userdata);
	void *userdata;

	struct lock mu;
	struct session_features features; /* guarded by mu */
	struct session_init init;         /* guarded by mu */
	int failure; /* guarded by mu: what ended the first thread that failed */
};

/* Set while this thread has INIT processed. libfuse calls our writev with the
 * userdata of the operations, which does not lead to the session; the reply to
 * INIT is written before fuse_session_process_buf returns. */
static _Thread_local struct session *init_session;

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

static uint64_t join_flags(uint32_t flags, uint32_t flags2)
{
	return flags & FUSE_INIT_EXT ? flags | (uint64_t)flags2 << 32 : flags;
}

/* What the kernel offers; 0 if this is no INIT that we understand. */
static uint64_t init_offer(const struct session_init *init, uint32_t *ret_readahead)
{
	struct fuse_init_in in = {0};
	size_t head = sizeof(struct fuse_in_header);
	size_t len = init->request_len > head ? init->request_len - head : 0;

	memcpy(&in, init->request + head, len < sizeof(in) ? len : sizeof(in));
	*ret_readahead = in.max_readahead;
	return join_flags(in.flags, in.flags2);
}

/* The answer we want, out of the one that libfuse made. */
static void init_answer(const struct session *s, uint64_t offer, uint32_t readahead,
			struct uapi_init_out *out)
{
	out->flags = (out->flags & ~(uint32_t)UNWANTED) | (uint32_t)(offer & WANTED);
	out->max_readahead = readahead < MAX_READAHEAD ? readahead : MAX_READAHEAD;
	out->max_background = MAX_BACKGROUND;
	out->congestion_threshold = MAX_BACKGROUND / 4 * 3;
	out->max_write = MAX_WRITE;
	if ((offer & FUSE_INIT_EXT) == 0) {
		out->flags2 = 0;
		return;
	}
	out->flags |= FUSE_INIT_EXT;
	if ((offer & UAPI_PASSTHROUGH) != 0 && !s->no_passthrough) {
		out->flags2 |= (uint32_t)(UAPI_PASSTHROUGH >> 32);
		out->max_stack_depth = MAX_STACK_DEPTH;
	}
}

static void init_record(struct session *s, const struct fuse_out_header *head,
			const struct uapi_init_out *out, size_t len)
{
	uint64_t flags = join_flags(out->flags, out->flags2);

	lock_take(&s->mu);
	s->features.proto_major = out->major;
	s->features.proto_minor = out->minor;
	s->features.parallel_dirops = (flags & FUSE_PARALLEL_DIROPS) != 0;
	s->features.passthrough = (flags & UAPI_PASSTHROUGH) != 0;
	s->features.init_ext = (flags & FUSE_INIT_EXT) != 0;
	s->features.max_background = out->max_background;
	s->features.max_readahead = out->max_readahead;
	memcpy(s->init.reply, head, sizeof(*head));
	memcpy(s->init.reply + sizeof(*head), out, len);
	s->init.reply_len = sizeof(*head) + len;
	lock_drop(&s->mu);
}

/* Writes the reply to INIT as we want it. Anything else than a full answer (a
 * failure, or the demand for another major version) passes unchanged. */
static ssize_t write_init_reply(struct session *s, int fd, struct iovec *iov, int count)
{
	struct fuse_out_header head;
	struct uapi_init_out out = {0};
	struct session_init init;
	uint32_t readahead;
	ssize_t n;

	if (count != 2 || iov[0].iov_len != sizeof(head) || iov[1].iov_len < COMPAT_INIT_OUT_LEN ||
	    iov[1].iov_len > sizeof(out))
		return writev(fd, iov, count);
	memcpy(&head, iov[0].iov_base, sizeof(head));
	if (head.error != 0)
		return writev(fd, iov, count);

	memcpy(&out, iov[1].iov_base, iov[1].iov_len);
	session_init(s, &init);
	uint64_t offer = init_offer(&init, &readahead);
	init_answer(s, offer, readahead, &out);
	memcpy(iov[1].iov_base, &out, iov[1].iov_len);
	n = writev(fd, iov, count);
	if (n >= 0)
		init_record(s, &head, &out, iov[1].iov_len);
	return n;
}

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	(void)userdata;
	if (init_session)
		return write_init_reply(init_session, fd, iov, count);
	return writev(fd, iov, count);
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
		ssize_t n = read(s->fd, buf, REQUEST_BUFFER);
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

static void process(struct session *s, void *buf, size_t len)
{
	struct fuse_buf request = {.mem = buf, .size = len};

	fuse_session_process_buf(s->fuse, &request);
}

static bool init_is_done(struct session *s)
{
	bool done;

	lock_take(&s->mu);
	done = s->init.reply_len > 0;
	lock_drop(&s->mu);
	return done;
}

static void process_init(struct session *s, void *buf, size_t len)
{
	lock_take(&s->mu);
	s->init.request_len = len < SESSION_INIT_MAX ? len : SESSION_INIT_MAX;
	memcpy(s->init.request, buf, s->init.request_len);
	lock_drop(&s->mu);

	init_session = s;
	process(s, buf, len);
	init_session = NULL;
}

/* 1: answered. 0: unmounted or stopped before. */
static int serve_init(struct session *s, int epfd, void *buf)
{
	while (!init_is_done(s)) {
		int64_t n = receive(s, epfd, buf);
		struct fuse_in_header head;

		if (n <= 0)
			return (int)n;
		memcpy(&head, buf, sizeof(head));
		if (head.opcode == FUSE_INIT)
			process_init(s, buf, (size_t)n);
		else
			process(s, buf, (size_t)n);
	}
	return 1;
}

static int serve(struct session *s, int epfd, void *buf)
{
	for (;;) {
		int64_t n = receive(s, epfd, buf);

		if (n <= 0)
			return (int)n;
		process(s, buf, (size_t)n);
	}
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

static void *thread_main(void *arg)
{
	struct session *s = arg;
	AUTO_FREE void *buf = malloc(REQUEST_BUFFER);
	AUTO_FD int epfd = -1;
	int r = buf ? poller_open(s, &epfd) : -ENOMEM;

	if (r == 0) {
		finish(s, serve(s, epfd, buf));
	} else {
		log_warning("session", "one thread less: %s", strerror(-r));
	}
	return NULL;
}

/* Signals are for the program's own threads, so these block them all. Fewer
 * threads than wanted are no failure: none of them ever blocks. */
static size_t start_threads(struct session *s, pthread_t *threads, size_t n)
{
	sigset_t all, old;
	size_t i;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (i = 0; i < n; i++) {
		int r = pthread_create(&threads[i], NULL, thread_main, s);

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
	pthread_t threads[SESSION_THREADS - 1];
	AUTO_FREE void *buf = malloc(REQUEST_BUFFER);
	AUTO_FD int epfd = -1;
	size_t started = 0;
	int r = buf ? poller_open(s, &epfd) : -ENOMEM;

	if (r == 0)
		r = serve_init(s, epfd, buf);
	if (r > 0) {
		if (s->ready)
			s->ready(s->userdata);
		started = start_threads(s, threads, ARRAY_LEN(threads));
		r = serve(s, epfd, buf);
	}
	finish(s, r);
	for (size_t i = 0; i < started; i++)
		pthread_join(threads[i], NULL);

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

static uint32_t read_sysctl(const char *path)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;

	/* Not there: a kernel without it. */
	if (file_read_small(AT_FDCWD, path, 32, &text, &len) < 0)
		return 0;
	unsigned long v = strtoul(text, NULL, 10);
	return v < UINT32_MAX ? (uint32_t)v : UINT32_MAX;
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
	s->ready = o->ready;
	s->userdata = o->userdata;
	s->no_passthrough = o->no_passthrough;
	s->features.default_timeout_s = read_sysctl("/proc/sys/fs/fuse/default_request_timeout");
	s->features.max_timeout_s = read_sysctl("/proc/sys/fs/fuse/max_request_timeout");
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

void session_free(struct session *s)
{
	if (!s)
		return;
	if (s->fuse)
		fuse_session_destroy(s->fuse);
	if (s->stop_fd >= 0)
		close(s->stop_fd);
	lock_release(&s->mu);
	free(s);
}

void session_features(struct session *s, struct session_features *ret)
{
	lock_take(&s->mu);
	*ret = s->features;
	lock_drop(&s->mu);
}

void session_init(struct session *s, struct session_init *ret)
{
	lock_take(&s->mu);
	*ret = s->init;
	lock_drop(&s->mu);
}

int session_fd(const struct session *s)
{
	return s->fd;
}

struct fuse_session *session_fuse(struct session *s)
{
	return s->fuse;
}
