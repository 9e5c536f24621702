/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/control_dir.h"

#define BACKLOG      16
#define ACCEPT_PAUSE 100 /* ms after a failed accept: no descriptors left, mostly */

struct control {
	unsigned minor;
	int dir; /* the runtime directory */
	int listen_fd;
	int stop_fd; /* eventfd: the thread is to end */
	dev_t dev;   /* the socket's file, so that a successor's is not removed */
	ino_t ino;
	const struct control_op *ops; /* borrowed */
	size_t n_ops;
	void *ctx; /* borrowed */
	pthread_t thread;
	bool running;
};

/* 0: the fd is ready for `events`. -ETIMEDOUT, -ECANCELED. */
static int wait_for(const struct control *c, int fd, short events, int64_t until_ms)
{
	struct pollfd fds[2] = {{.fd = fd, .events = events}, {.fd = c->stop_fd, .events = POLLIN}};
	for (;;) {
		int64_t left = until_ms - clock_ms();
		int n = poll(fds, 2, left > 0 ? (int)left : 0);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			return fds[1].revents != 0 ? -ECANCELED : 0;
		if (n == 0)
			return -ETIMEDOUT;
	}
}

/* One line, without its newline. */
static int read_request(const struct control *c, int fd, int64_t until_ms,
			char line[CONTROL_REQUEST_MAX])
{
	size_t have = 0;
	while (have < CONTROL_REQUEST_MAX - 1) {
		int rc = wait_for(c, fd, POLLIN, until_ms);
		if (rc < 0)
			return rc;
		ssize_t n = recv(fd, line + have, CONTROL_REQUEST_MAX - 1 - have, MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return -errno;
		have += (size_t)n;
		line[have] = '\0';
		char *newline = strchr(line, '\n');
		if (newline != NULL) {
			*newline = '\0';
			return 0;
		}
		if (n == 0)
			return -EPROTO;
	}
	return -EMSGSIZE;
}

static void send_reply(const struct control *c, int fd, int64_t until_ms, const char *text)
{
	size_t len = strlen(text);
	for (size_t sent = 0; sent < len;) {
		if (wait_for(c, fd, POLLOUT, until_ms) < 0)
			return;
		ssize_t n = send(fd, text + sent, len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return;
		sent += n > 0 ? (size_t)n : 0;
	}
}

static const struct control_op *find_op(const struct control *c, const char *name)
{
	for (size_t i = 0; i < c->n_ops; i++) {
		if (strcmp(c->ops[i].name, name) == 0)
			return &c->ops[i];
	}
	return NULL;
}

static json_t *run_request(const struct control *c, const char *line)
{
	struct err err = {.text = "this is no request"};
	json_t *reply = NULL;
	json_t *request = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	const char *name = json_string_value(json_object_get(request, "op"));
	const struct control_op *op = name != NULL ? find_op(c, name) : NULL;
	if (op != NULL)
		reply = op->run(c->ctx, request, &err);
	else if (name != NULL)
		(void)err_set(&err, -EINVAL,
			      "this daemon (version " WASMOCIFS_VERSION ") does not know '%s'",
			      name);
	if (reply == NULL)
		reply = json_pack("{s:s}", "error", err.text);
	json_decref(request);
	return reply;
}

static bool may_ask(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	return peer.uid == geteuid() || peer.uid == 0;
}

static void serve_client(const struct control *c, int fd)
{
	char line[CONTROL_REQUEST_MAX];
	int64_t until_ms = clock_ms() + CONTROL_TIMEOUT_MS;
	if (!may_ask(fd) || read_request(c, fd, until_ms, line) < 0)
		return;
	json_t *reply = run_request(c, line);
	AUTO_FREE char *text = reply != NULL ? json_dumps(reply, JSON_COMPACT) : NULL;
	json_decref(reply);
	if (text != NULL && strlen(text) < CONTROL_REPLY_MAX)
		send_reply(c, fd, until_ms, text);
}

static void *serve(void *arg)
{
	struct control *c = arg;
	for (;;) {
		struct pollfd fds[2] = {{.fd = c->listen_fd, .events = POLLIN},
					{.fd = c->stop_fd, .events = POLLIN}};
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[1].revents != 0)
			return NULL;
		if (fds[0].revents == 0)
			continue;
		AUTO_FD int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			serve_client(c, fd);
		else if (errno != EAGAIN && errno != ECONNABORTED)
			(void)poll(&fds[1], 1, ACCEPT_PAUSE);
	}
}

/* Whatever has our name is a dead daemon's: the minor number is ours alone. */
static int publish(struct control *c, struct err *err)
{
	char name[CONTROL_NAME_MAX];
	struct sockaddr_un to;
	struct stat st;
	control_name(c->minor, name);
	control_address(c->dir, c->minor, &to);
	c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->listen_fd < 0)
		return err_errno(err, -errno, "control socket");
	/* A sweep between bind and listen would take this one for a dead one. */
	bool locked = control_dir_lock(c->dir);
	int rc = 0;
	(void)unlinkat(c->dir, name, 0);
	if (bind(c->listen_fd, (const struct sockaddr *)&to, sizeof(to)) < 0 ||
	    listen(c->listen_fd, BACKLOG) < 0 ||
	    fstatat(c->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		rc = err_errno(err, -errno, "control socket %s", name);
	if (locked)
		(void)flock(c->dir, LOCK_UN);
	if (rc == 0) {
		c->dev = st.st_dev;
		c->ino = st.st_ino;
	}
	return rc;
}

int control_new(unsigned minor, const struct control_op *ops, size_t n_ops, void *ctx,
		struct control **ret, struct err *err)
{
	struct control *c = calloc(1, sizeof(*c));
	if (c == NULL)
		return err_set(err, -ENOMEM, "out of memory");
	*c = (struct control){
	    .minor = minor, .listen_fd = -1, .stop_fd = -1, .ops = ops, .n_ops = n_ops, .ctx = ctx};
	c->dir = control_dir_make(err);
	int rc = c->dir < 0 ? c->dir : publish(c, err);
	if (rc < 0)
		goto fail;
	c->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (c->stop_fd < 0) {
		rc = err_errno(err, -errno, "control socket");
		goto fail;
	}
	rc = -pthread_create(&c->thread, NULL, serve, c);
	if (rc < 0) {
		(void)err_errno(err, rc, "control thread");
		goto fail;
	}
	c->running = true;
	(void)pthread_setname_np(c->thread, "control");
	*ret = c;
	return 0;
fail:
	control_free(c);
	return rc;
}

/* The name may have gone to a later mount meanwhile. */
static void withdraw(const struct control *c)
{
	char name[CONTROL_NAME_MAX];
	struct stat st;
	control_name(c->minor, name);
	if (c->ino != 0 && fstatat(c->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == c->dev && st.st_ino == c->ino)
		(void)unlinkat(c->dir, name, 0);
}

void control_free(struct control *c)
{
	if (c == NULL)
		return;
	if (c->running) {
		(void)eventfd_write(c->stop_fd, 1);
		(void)pthread_join(c->thread, NULL);
	}
	if (c->dir >= 0) {
		withdraw(c);
		close(c->dir);
	}
	if (c->listen_fd >= 0)
		close(c->listen_fd);
	if (c->stop_fd >= 0)
		close(c->stop_fd);
	free(c);
}
