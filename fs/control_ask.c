/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/control.h"
#include "fs/control_dir.h"

/* Connecting to a unix socket waits only for room in the backlog, which a
 * non-blocking one does not. */
static int connect_to(int dir, unsigned minor, struct err *err)
{
	struct sockaddr_un to;
	control_address(dir, minor, &to);
	AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(err, -errno, "control socket");
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
		int rc = errno == EAGAIN ? -ETIMEDOUT : -errno;
		return err_errno(err, rc, "control socket");
	}
	return steal_fd(&fd);
}

static int peer(int fd, uid_t uid, pid_t *ret_pid, struct err *err)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return err_errno(err, -errno, "control socket");
	if (cred.uid != uid)
		return err_set(err, -EACCES, "the control socket belongs to user %u, not %u",
			       (unsigned)cred.uid, (unsigned)uid);
	if (ret_pid != NULL)
		*ret_pid = cred.pid;
	return 0;
}

static int wait_for(int fd, short events, int64_t until_ms, struct err *err)
{
	struct pollfd pfd = {.fd = fd, .events = events};
	for (;;) {
		int64_t left = until_ms - clock_ms();
		int n = poll(&pfd, 1, left > 0 ? (int)left : 0);
		if (n > 0)
			return 0;
		if (n == 0)
			return err_set(err, -ETIMEDOUT, "the daemon does not answer");
		if (errno != EINTR)
			return err_errno(err, -errno, "control socket");
	}
}

/* Everything up to the end of the stream. */
static int receive(int fd, int64_t until_ms, char **ret, size_t *ret_len, struct err *err)
{
	AUTO_FREE char *text = malloc(CONTROL_REPLY_MAX);
	if (text == NULL)
		return err_set(err, -ENOMEM, "out of memory");
	for (size_t have = 0; have < CONTROL_REPLY_MAX;) {
		int rc = wait_for(fd, POLLIN, until_ms, err);
		if (rc < 0)
			return rc;
		ssize_t n = recv(fd, text + have, CONTROL_REPLY_MAX - have, MSG_DONTWAIT);
		if (n == 0) {
			*ret = steal_ptr(&text);
			*ret_len = have;
			return 0;
		}
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return err_errno(err, -errno, "control socket");
		have += n > 0 ? (size_t)n : 0;
	}
	return err_set(err, -EPROTO, "the daemon's answer has no end");
}

static int send_request(int fd, const json_t *request, struct err *err)
{
	AUTO_FREE char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	AUTO_FREE char *line = NULL;
	/* Words of ours are; a name that is no UTF-8 is none of the tree either. */
	if (text == NULL || asprintf(&line, "%s\n", text) < 0)
		return err_set(err, -EINVAL,
			       "there can be nothing of that name, since it is no UTF-8; check the "
			       "spelling");
	size_t len = strlen(line);
	if (len >= CONTROL_REQUEST_MAX)
		return err_set(err, -EMSGSIZE, "too much for one question to the daemon");
	if (send(fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)len)
		return err_errno(err, -ECONNREFUSED, "control socket");
	return 0;
}

static int exchange(int fd, const json_t *request, json_t **ret, struct err *err)
{
	int64_t until_ms = clock_ms() + CONTROL_TIMEOUT_MS;
	int sent = send_request(fd, request, err);
	if (sent < 0)
		return sent;

	AUTO_FREE char *text = NULL;
	size_t text_len = 0;
	int rc = receive(fd, until_ms, &text, &text_len, err);
	if (rc < 0)
		return rc;
	json_t *reply = json_loadb(text, text_len, JSON_REJECT_DUPLICATES, NULL);
	const char *error = json_string_value(json_object_get(reply, "error"));
	if (error != NULL)
		rc = err_set(err, -EIO, "the daemon says: %s", error);
	else if (!json_is_object(reply))
		rc = err_set(err, -EPROTO, "the daemon's answer is not a JSON object");
	if (rc < 0)
		json_decref(reply);
	else
		*ret = reply;
	return rc;
}

int control_ask(uid_t uid, unsigned minor, const char *op, json_t **ret, pid_t *ret_pid,
		struct err *err)
{
	return control_ask_about(uid, minor, op, NULL, ret, ret_pid, err);
}

int control_ask_about(uid_t uid, unsigned minor, const char *op, const char *path, json_t **ret,
		      pid_t *ret_pid, struct err *err)
{
	json_t *request = json_pack("{s:s, s:s*}", "op", op, "path", path);
	int rc = control_ask_with(uid, minor, request, ret, ret_pid, err);
	json_decref(request);
	return rc;
}

int control_ask_with(uid_t uid, unsigned minor, json_t *request, json_t **ret, pid_t *ret_pid,
		     struct err *err)
{
	int rc = -ENOENT;
	for (unsigned i = 0; i < CONTROL_DIRS; i++) {
		AUTO_FD int dir = control_dir_open(uid, i, err);
		AUTO_FD int fd = dir < 0 ? dir : connect_to(dir, minor, err);
		if (fd < 0) {
			rc = rc == -ENOENT ? fd : rc;
			continue;
		}
		rc = peer(fd, uid, ret_pid, err);
		return rc < 0 ? rc : exchange(fd, request, ret, err);
	}
	return rc;
}

/* "57.sock" */
static bool parse_name(const char *name, unsigned *ret)
{
	char *end;
	if (*name < '0' || *name > '9')
		return false;
	errno = 0;
	unsigned long n = strtoul(name, &end, 10);
	*ret = (unsigned)n;
	return errno == 0 && n <= UINT32_MAX && strcmp(end, ".sock") == 0;
}

static void sweep_dir(int dir, control_found_fn found, void *ctx)
{
	bool locked = control_dir_lock(dir);
	int copy = fcntl(dir, F_DUPFD_CLOEXEC, 3);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	if (d == NULL) {
		if (copy >= 0)
			close(copy);
		return;
	}
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		unsigned minor;
		if (!parse_name(e->d_name, &minor))
			continue;
		AUTO_FD int fd = connect_to(dir, minor, NULL);
		if (fd == -ECONNREFUSED && locked)
			(void)unlinkat(dir, e->d_name, 0);
		else if (fd >= 0 || fd == -ETIMEDOUT)
			found(ctx, minor);
	}
	closedir(d);
}

void control_sweep(uid_t uid, control_found_fn found, void *ctx)
{
	for (unsigned i = 0; i < CONTROL_DIRS; i++) {
		AUTO_FD int dir = control_dir_open(uid, i, NULL);
		if (dir >= 0)
			sweep_dir(dir, found, ctx);
	}
}
