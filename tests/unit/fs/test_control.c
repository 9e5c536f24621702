/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime directory of root is not a test's, so these run in a directory of
 * their own as another user where they are started by root. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fs/control.h"

#define NOBODY 65534

static char base[] = "/tmp/wasmocifs-control-XXXXXX";
static char dir[sizeof(base) + 16];

static json_t *op_status(void *ctx, const json_t *request, struct err *err)
{
	(void)request;
	(void)err;
	return json_pack("{s:s}", "ctx", (const char *)ctx);
}

static json_t *op_fail(void *ctx, const json_t *request, struct err *err)
{
	(void)ctx;
	(void)request;
	(void)err_set(err, -EIO, "it cannot");
	return NULL;
}

static const struct control_op ops[] = {{"status", op_status}, {"fail", op_fail}};
static char context[] = "context";

static struct control *start(unsigned minor)
{
	struct control *c = NULL;
	struct err err = {""};
	if (control_new(minor, ops, 2, context, &c, &err) < 0)
		fail_msg("%s", err.text);
	return c;
}

static void socket_path(unsigned minor, char out[sizeof(struct sockaddr_un)])
{
	snprintf(out, sizeof(struct sockaddr_un), "%s/%u.sock", dir, minor);
}

static bool exists(unsigned minor)
{
	char path[sizeof(struct sockaddr_un)];
	struct stat st;
	socket_path(minor, path);
	return lstat(path, &st) == 0;
}

static void test_ask(void **state)
{
	(void)state;
	struct control *c = start(7);
	json_t *reply = NULL;
	pid_t pid = 0;
	assert_int_equal(control_ask(geteuid(), 7, "status", &reply, &pid, NULL), 0);
	assert_string_equal(json_string_value(json_object_get(reply, "ctx")), "context");
	assert_int_equal(pid, getpid());
	json_decref(reply);
	control_free(c);
	assert_false(exists(7));
	assert_int_equal(control_ask(geteuid(), 7, "status", &reply, NULL, NULL), -ENOENT);
}

static void test_refusals(void **state)
{
	(void)state;
	struct control *c = start(7);
	json_t *reply = NULL;
	struct err err;
	assert_int_equal(control_ask(geteuid(), 7, "fail", &reply, NULL, &err), -EIO);
	assert_string_equal(err.text, "the daemon says: it cannot");
	assert_int_equal(control_ask(geteuid(), 7, "dance", &reply, NULL, &err), -EIO);
	assert_non_null(strstr(err.text, "does not know 'dance'"));
	control_free(c);
}

static int connect_to(unsigned minor)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	char path[sizeof(to)];
	socket_path(minor, path);
	memcpy(to.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* What came back before the end of the stream. */
static const char *say(const char *request, size_t len)
{
	static char text[4096];
	int fd = connect_to(7);
	/* The server may have hung up on us already. */
	(void)!send(fd, request, len, MSG_NOSIGNAL);
	(void)shutdown(fd, SHUT_WR);
	ssize_t n, have = 0;
	while ((n = read(fd, text + have, sizeof(text) - 1 - (size_t)have)) > 0)
		have += n;
	text[have] = '\0';
	close(fd);
	return text;
}

static void test_hostile_requests(void **state)
{
	(void)state;
	struct control *c = start(7);
	static char huge[2 * CONTROL_REQUEST_MAX];
	memset(huge, '[', sizeof(huge));
	assert_string_equal(say(huge, sizeof(huge)), "");
	assert_string_equal(say("", 0), "");
	assert_string_equal(say("no newline", 10), "");
	assert_non_null(strstr(say("nonsense\n", 9), "error"));
	assert_non_null(strstr(say("{\"op\":7}\n", 9), "error"));
	assert_non_null(strstr(say("{}\n", 3), "error"));
	assert_non_null(strstr(say("{\"op\":\"status\"}\n{\"op\":\"status\"}\n", 32), "context"));
	control_free(c);
}

/* Who connects and says nothing delays the next, and no more. */
static void test_silent_client(void **state)
{
	(void)state;
	struct control *c = start(7);
	int fd = connect_to(7);
	int64_t before = clock_ms();
	char byte;
	assert_int_equal(read(fd, &byte, 1), 0);
	assert_true(clock_ms() - before >= CONTROL_TIMEOUT_MS - 50);
	close(fd);
	fd = connect_to(7);
	before = clock_ms();
	control_free(c); /* does not wait for it either */
	assert_true(clock_ms() - before < CONTROL_TIMEOUT_MS / 2);
	close(fd);
}

static void found(void *ctx, unsigned minor)
{
	*(unsigned *)ctx += minor;
}

/* A socket that nobody listens to any more, as after a crash. */
static void make_dead(unsigned minor)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	char path[sizeof(to)];
	socket_path(minor, path);
	memcpy(to.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
	close(fd);
}

static void test_sweep(void **state)
{
	(void)state;
	struct control *c = start(7);
	json_t *reply;
	make_dead(8);
	assert_int_equal(control_ask(geteuid(), 8, "status", &reply, NULL, NULL), -ECONNREFUSED);
	unsigned sum = 0;
	control_sweep(geteuid(), found, &sum);
	assert_int_equal(sum, 7);
	assert_true(exists(7));
	assert_false(exists(8));
	control_free(c);
}

static void test_replaces_and_yields(void **state)
{
	(void)state;
	make_dead(9);
	struct control *first = start(9);
	struct control *second = start(9);
	control_free(first); /* must not take the second's socket away */
	json_t *reply = NULL;
	assert_int_equal(control_ask(geteuid(), 9, "status", &reply, NULL, NULL), 0);
	json_decref(reply);
	control_free(second);
	assert_false(exists(9));
}

/* A directory that others may write to is not ours: the next place is taken. */
static void test_open_directory(void **state)
{
	(void)state;
	json_t *reply;
	struct control *c = start(7);
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_not_equal(control_ask(geteuid(), 7, "status", &reply, NULL, NULL), 0);
	assert_int_equal(chmod(dir, 0700), 0);
	control_free(c);
}

static int setup(void **state)
{
	(void)state;
	if (mkdtemp(base) == NULL)
		return -1;
	if (geteuid() == 0 &&
	    (chown(base, NOBODY, NOBODY) < 0 || setresgid(NOBODY, NOBODY, 0) < 0 ||
	     setresuid(NOBODY, NOBODY, 0) < 0))
		return -1;
	snprintf(dir, sizeof(dir), "%s/wasmocifs", base);
	return setenv("XDG_RUNTIME_DIR", base, 1);
}

static int teardown(void **state)
{
	(void)state;
	(void)rmdir(dir);
	if (setresuid(0, 0, 0) < 0 && geteuid() == 0)
		return -1;
	return rmdir(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ask),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_hostile_requests),
	    cmocka_unit_test(test_silent_client),
	    cmocka_unit_test(test_sweep),
	    cmocka_unit_test(test_replaces_and_yields),
	    cmocka_unit_test(test_open_directory),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
