/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "registry/credential_helper.h"
#include "registry/helper_run.h"

#define LONG_MS 20000
#define LOGIN   "echo '{\"Username\":\"me\",\"Secret\":\"s3cret\"}'\n"

static char dir[64];

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test-helper-XXXXXX");
	assert_non_null(mkdtemp(dir));
	setenv("PATH", dir, 1);
	return 0;
}

static int drop_dir(void **state)
{
	char command[128];

	(void)state;
	setenv("PATH", "/usr/bin:/bin", 1);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

/* A helper of that name, which does this. Its whole path, in a static buffer. */
static const char *script(const char *name, const char *text)
{
	static char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/" HELPER_PREFIX "%s", dir, name);
	unlink(path);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\nPATH=/usr/bin:/bin; D=%s\n%s", dir, text);
	fclose(f);
	assert_int_equal(chmod(path, 0700), 0);
	return path;
}

/* How many lines a file of the directory has. */
static size_t lines_of(const char *name)
{
	char path[160];
	size_t n = 0;
	FILE *f;
	int c;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "r");
	if (!f)
		return 0;
	while ((c = fgetc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

static void remove_file(const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
}

/* A killed process may wait for whoever inherited it to take note. */
static bool is_alive(int pid)
{
	char path[64], state = 'X';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f)
		return false;
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = 'X';
	fclose(f);
	return state != 'Z' && state != 'X';
}

/* How many of the processes whose numbers a file has are still running. SIGKILL is no
 * wait: they are looked at until none is, or for 10 s. */
static size_t alive_in(const char *name)
{
	int64_t until_ms = clock_ms() + 10000;
	char path[160];
	size_t n;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	do {
		FILE *f = fopen(path, "r");
		int pid;

		assert_non_null(f);
		n = 0;
		while (fscanf(f, "%d", &pid) == 1)
			n += is_alive(pid);
		fclose(f);
		sched_yield();
	} while (n > 0 && clock_ms() < until_ms);
	return n;
}

static void no_child_is_left(void)
{
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

/* ---- what it printed ---- */

static int parse(const char *text, int exit_code, struct credential *c, struct err *err)
{
	*c = (struct credential){0};
	return helper_parse(text, strlen(text), exit_code, c, err);
}

static void logins(void **state)
{
	struct credential c;

	(void)state;
	assert_int_equal(
	    parse("{\"ServerURL\":\"h\",\"Username\":\"me\",\"Secret\":\"s\"}\n", 0, &c, NULL), 1);
	assert_int_equal(c.kind, CREDENTIAL_PASSWORD);
	assert_string_equal(c.user, "me");
	assert_string_equal(c.secret, "s");
	credential_release(&c);
	assert_int_equal(parse("{\"Username\":\"<token>\",\"Secret\":\"id\"}", 0, &c, NULL), 1);
	assert_int_equal(c.kind, CREDENTIAL_IDENTITY);
	credential_release(&c);
	assert_int_equal(parse("{\"Username\":\"\",\"Secret\":\"\"}", 0, &c, NULL), 0);
	assert_int_equal(parse("{}", 0, &c, NULL), 0);
	assert_int_equal(parse("credentials not found in native keychain\n", 1, &c, NULL), 0);
}

static void what_cannot_be_used(void **state)
{
	static const char *const texts[] = {
	    "",
	    "topsecret",
	    "[\"topsecret\"]",
	    "{\"Username\":\"me\",\"Secret\":7}",
	    "{\"Username\":\"me\"}",
	    "{\"Username\":\"topsecret:x\",\"Secret\":\"topsecret\"}",
	    "{\"Username\":\"<token>\",\"Secret\":\"topsecret\\r\\nX: y\"}",
	    "{\"Username\":\"me\",\"Secret\":\"topsecret\\u0000x\"}",
	    "{\"Username\":\"me\",\"Secret\":\"topsecret\xff\"}",
	    "{\"Username\":\"me\",\"Secret\":topsecret}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct credential c;
		struct err err = {""};

		assert_int_equal(parse(texts[i], 0, &c, &err), -EACCES);
		assert_null(strstr(err.text, "topsecret"));
		assert_true(err.text[0] != '\0');
	}
}

static void a_failure_is_quoted_only_where_it_is_prose(void **state)
{
	struct credential c;
	struct err err = {""};

	(void)state;
	assert_int_equal(parse("exit status 2: gpg: decryption failed\nmore", 1, &c, &err),
			 -EACCES);
	assert_string_equal(err.text, "failed (exit 1): exit status 2: gpg: decryption failed");
	assert_int_equal(parse("topsecret", 3, &c, &err), -EACCES);
	assert_string_equal(err.text, "failed (exit 3)");
	assert_int_equal(parse("{\"Secret\": \"topsecret\"}", 1, &c, &err), -EACCES);
	assert_string_equal(err.text, "failed (exit 1)");
	assert_int_equal(parse("a token: eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9", 1, &c, &err),
			 -EACCES);
	assert_string_equal(err.text, "failed (exit 1)");
	assert_int_equal(parse("\033[31mno way\n", 1, &c, &err), -EACCES);
	assert_string_equal(err.text, "failed (exit 1)");
	assert_int_equal(parse("{", -1, &c, &err), -EACCES);
	assert_string_equal(err.text, "was killed by a signal");
}

static void names(void **state)
{
	(void)state;
	assert_true(helper_name_is_good("ecr-login"));
	assert_true(helper_name_is_good("osxkeychain.2_x"));
	assert_false(helper_name_is_good(""));
	assert_false(helper_name_is_good("../x"));
	assert_false(helper_name_is_good("a/b"));
	assert_false(helper_name_is_good("a b"));
	assert_false(helper_name_is_good("a;b"));
	assert_false(helper_name_is_good("\xc3\xa4"));
}

/* ---- one run ---- */

static int run(const char *path, int64_t limit_ms, struct helper_output *o, struct err *err)
{
	struct call call;
	int r;

	*o = (struct helper_output){0};
	call_init(&call, INT64_MAX);
	r = helper_run(path, "the.server:5000", limit_ms, &call, o, err);
	call_release(&call);
	no_child_is_left();
	return r;
}

static void it_is_told_the_server_and_heard(void **state)
{
	struct helper_output o;
	struct err err = {""};

	(void)state;
	assert_int_equal(
	    run(script("echo", "printf '%s ' \"$1\" \"$#\"; cat; echo lost >&2; exit 3"), LONG_MS,
		&o, &err),
	    0);
	assert_string_equal(o.text, "get 1 the.server:5000");
	assert_int_equal(o.exit_code, 3);
	helper_output_release(&o);
}

/* Signals blocked and ignored here, a descriptor that nothing closes. */
static void it_inherits_nothing(void **state)
{
	struct helper_output o;
	struct err err = {""};
	sigset_t all, old;
	int fd = open("/dev/null", O_RDONLY);

	(void)state;
	assert_true(fd >= 0);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	signal(SIGPIPE, SIG_IGN);
	/* ls has a descriptor of its own; the signals are 1 to 31. */
	assert_int_equal(
	    run(script("env", "ls /proc/self/fd | wc -l; pwd; readlink /proc/self/fd/2\n"
			      "grep -E '^Sig(Blk|Ign):.*[08]0000000$' /proc/self/status | wc -l"),
		LONG_MS, &o, &err),
	    0);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	signal(SIGPIPE, SIG_DFL);
	close(fd);
	assert_string_equal(o.text, "4\n/\n/dev/null\n2\n");
	helper_output_release(&o);
}

static void what_hangs_is_killed(void **state)
{
	struct helper_output o;
	struct err err = {""};
	int64_t start_ms = clock_ms();

	(void)state;
	/* With all that it started. */
	remove_file("pids");
	assert_int_equal(run(script("hang", "echo $$ > $D/pids\n"
					    "sleep 60 & echo $! >> $D/pids\n"
					    "trap '' TERM; sleep 60"),
			     100, &o, &err),
			 -EACCES);
	assert_true(clock_ms() - start_ms < 10000);
	assert_string_equal(err.text, "gave no answer within 1 s");
	assert_int_equal(lines_of("pids"), 2);
	assert_int_equal(alive_in("pids"), 0);
}

static void what_floods_is_killed(void **state)
{
	struct helper_output o;
	struct err err = {""};

	(void)state;
	assert_int_equal(run(script("flood", "exec cat /dev/zero"), LONG_MS, &o, &err), -EACCES);
	assert_string_equal(err.text, "printed more than 65536 bytes");
	assert_int_equal(run(script("fill", "head -c 65536 /dev/zero"), LONG_MS, &o, &err), 0);
	assert_int_equal(o.len, HELPER_OUTPUT_MAX);
	helper_output_release(&o);
}

static void a_signal_ends_it(void **state)
{
	struct helper_output o;
	struct err err = {""};

	(void)state;
	assert_int_equal(run(script("dead", "kill -9 $$"), LONG_MS, &o, &err), 0);
	assert_int_equal(o.exit_code, -1);
	helper_output_release(&o);
}

/* One of its group goes with it; one that left the group only keeps the pipe. */
static void a_grandchild_is_not_waited_for(void **state)
{
	struct helper_output o;
	struct err err = {""};
	int64_t start_ms = clock_ms();

	(void)state;
	assert_int_equal(run(script("left", "sleep 60 & echo hello"), LONG_MS, &o, &err), 0);
	assert_string_equal(o.text, "hello\n");
	helper_output_release(&o);
	assert_int_equal(
	    run(script("away", "setsid sleep 5 & while ! pgrep -s $! >/dev/null; do :; done; "
			       "echo hello"),
		LONG_MS, &o, &err),
	    0);
	assert_string_equal(o.text, "hello\n");
	helper_output_release(&o);
	assert_true(clock_ms() - start_ms < 5000);
}

static void what_closes_its_output_is_waited_for(void **state)
{
	struct helper_output o;
	struct err err = {""};

	(void)state;
	assert_int_equal(
	    run(script("quiet", "echo hello; exec >&-; sleep 0.2; exit 7"), LONG_MS, &o, &err), 0);
	assert_string_equal(o.text, "hello\n");
	assert_int_equal(o.exit_code, 7);
	helper_output_release(&o);
}

static void what_cannot_run_says_so(void **state)
{
	struct helper_output o;
	struct err err = {""};
	char path[160];

	(void)state;
	snprintf(path, sizeof(path), "%s", script("broken", ""));
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(run("/nonexistent", LONG_MS, &o, &err), -EACCES);
	assert_non_null(strstr(err.text, "cannot be run"));
	assert_int_equal(run(path, LONG_MS, &o, &err), -EACCES);
}

struct canceller {
	struct call call;
	const char *path;
};

static void *cancel_soon(void *ctx)
{
	struct canceller *c = ctx;

	while (lines_of("started") == 0)
		sched_yield();
	call_cancel(&c->call);
	return NULL;
}

static void the_call_ends_it(void **state)
{
	struct canceller c;
	struct helper_output o;
	struct err err = {""};
	pthread_t thread;

	(void)state;
	c.path = script("slow", "echo >> $D/started; sleep 60");
	call_init(&c.call, INT64_MAX);
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &c), 0);
	assert_int_equal(helper_run(c.path, "h", LONG_MS, &c.call, &o, &err), -ECANCELED);
	pthread_join(thread, NULL);
	call_release(&c.call);
	no_child_is_left();
	call_init(&c.call, clock_ms() + 50);
	assert_int_equal(helper_run(c.path, "h", LONG_MS, &c.call, &o, &err), -ETIMEDOUT);
	call_release(&c.call);
	no_child_is_left();
	remove_file("started");
}

/* ---- what is kept ---- */

static int get(struct helpers *h, const char *name, uint64_t era, struct credential *c,
	       struct err *err)
{
	struct call call;
	int r;

	*c = (struct credential){0};
	call_init(&call, INT64_MAX);
	r = helpers_get(h, name, "h", era, &call, c, err);
	call_release(&call);
	return r;
}

static void a_login_is_kept(void **state)
{
	struct helpers *h = NULL;
	struct credential c;
	struct err err = {""};

	(void)state;
	script("keep", "echo >> $D/runs\n" LOGIN);
	assert_int_equal(helpers_new(LONG_MS, &h), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(get(h, "keep", 0, &c, &err), 1);
		assert_string_equal(c.secret, "s3cret");
		credential_release(&c);
	}
	assert_int_equal(lines_of("runs"), 1);
	/* Somebody has logged in meanwhile. */
	assert_int_equal(get(h, "keep", 1, &c, &err), 1);
	credential_release(&c);
	assert_int_equal(lines_of("runs"), 2);
	helpers_free(h);
	remove_file("runs");
}

static void a_refused_login_is_asked_for_once_more(void **state)
{
	struct helpers *h = NULL;
	struct credential c;
	struct err err = {""};

	(void)state;
	script("again", "echo >> $D/runs\n" LOGIN);
	assert_int_equal(helpers_new(LONG_MS, &h), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(get(h, "again", 0, &c, &err), 1);
		helpers_refused(h, &c.id);
		credential_release(&c);
	}
	assert_int_equal(lines_of("runs"), 2);
	helpers_free(h);
	remove_file("runs");
}

static void a_failure_and_none_are_kept_too(void **state)
{
	struct helpers *h = NULL;
	struct credential c;
	struct err err = {""};

	(void)state;
	script("none", "echo >> $D/runs\necho credentials not found in native keychain; exit 1");
	script("fail", "echo >> $D/runs\nexit 5");
	assert_int_equal(helpers_new(LONG_MS, &h), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(get(h, "none", 0, &c, &err), 0);
		assert_int_equal(get(h, "fail", 0, &c, &err), -EACCES);
		assert_string_equal(err.text, "docker-credential-fail: failed (exit 5)");
	}
	assert_int_equal(lines_of("runs"), 2);
	assert_int_equal(get(h, "missing", 0, &c, &err), -EACCES);
	assert_non_null(
	    strstr(err.text, "docker-credential-missing, which has the login, is not on the PATH"));
	helpers_free(h);
	remove_file("runs");
}

struct asker {
	struct helpers *helpers;
	int code;
};

static void *ask(void *ctx)
{
	struct asker *a = ctx;
	struct credential c;

	a->code = get(a->helpers, "one", 0, &c, NULL);
	credential_release(&c);
	return NULL;
}

static void many_ask_and_one_runs(void **state)
{
	struct asker askers[32];
	pthread_t threads[32];
	struct helpers *h = NULL;

	(void)state;
	script("one", "echo >> $D/runs\nsleep 0.3\n" LOGIN);
	assert_int_equal(helpers_new(LONG_MS, &h), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
		askers[i] = (struct asker){.helpers = h};
		assert_int_equal(pthread_create(&threads[i], NULL, ask, &askers[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(askers[i].code, 1);
	}
	assert_int_equal(lines_of("runs"), 1);
	helpers_free(h);
	remove_file("runs");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(logins),
	    cmocka_unit_test(what_cannot_be_used),
	    cmocka_unit_test(a_failure_is_quoted_only_where_it_is_prose),
	    cmocka_unit_test(names),
	    cmocka_unit_test(it_is_told_the_server_and_heard),
	    cmocka_unit_test(it_inherits_nothing),
	    cmocka_unit_test(what_hangs_is_killed),
	    cmocka_unit_test(what_floods_is_killed),
	    cmocka_unit_test(a_signal_ends_it),
	    cmocka_unit_test(a_grandchild_is_not_waited_for),
	    cmocka_unit_test(what_closes_its_output_is_waited_for),
	    cmocka_unit_test(what_cannot_run_says_so),
	    cmocka_unit_test(the_call_ends_it),
	    cmocka_unit_test(a_login_is_kept),
	    cmocka_unit_test(a_refused_login_is_asked_for_once_more),
	    cmocka_unit_test(a_failure_and_none_are_kept_too),
	    cmocka_unit_test(many_ask_and_one_runs),
	};

	return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
