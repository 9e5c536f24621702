/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/cli/options.h"
#include "fs/log.h"

#define WORDS_MAX 16

static struct cli_args args;
static struct err err;
static char pem[] = "/tmp/wasmocifs-options-XXXXXX";

/* The words are split at blanks. */
static int parse(unsigned command, const char *line)
{
	static char copy[512];
	static char *argv[WORDS_MAX + 1];
	int argc = 0;
	char *rest = NULL;
	snprintf(copy, sizeof(copy), "x %s", line);
	for (char *w = strtok_r(copy, " ", &rest); w != NULL; w = strtok_r(NULL, " ", &rest))
		argv[argc++] = w;
	argv[argc] = NULL;
	cli_args_release(&args);
	cli_args_init(&args);
	err.text[0] = '\0';
	return options_parse(command, argc, argv, &args, &err);
}

/* A value that the option takes, and whether it has arrived. */
static const char *good_value(const struct option_spec *o)
{
	switch (o->kind) {
	case OPTION_DIRECTORY:
		return "/srv/cache";
	case OPTION_TREE:
		return "/proc/sys";
	case OPTION_FILE:
	case OPTION_CONFIG:
		return "/proc/version";
	case OPTION_CERTIFICATES:
		return pem;
	case OPTION_OUTPUT:
		return "/tmp/metrics.prom";
	case OPTION_SIZE:
		return "64M";
	case OPTION_DURATION:
		return "7s";
	case OPTION_CHOICE:
		return o->choices[1];
	case OPTION_USER:
	case OPTION_GROUP:
		return "1234";
	case OPTION_UMASK:
		return "027";
	case OPTION_FD:
		return "2";
	case OPTION_TEXT:
		return "linux/amd64";
	case OPTION_HOSTS:
		return "harbor.internal:8443";
	case OPTION_WORDS:
		return "offline";
	case OPTION_IGNORED:
		return o->arg != NULL ? "fuse" : "";
	case OPTION_FLAG:
		break;
	}
	return "";
}

static void assert_arrived(const struct option_spec *o)
{
	const void *at = (const char *)&args + o->offset;
	switch (o->kind) {
	case OPTION_FLAG:
		assert_true(*(const bool *)at);
		break;
	case OPTION_DIRECTORY:
	case OPTION_TREE:
	case OPTION_FILE:
	case OPTION_CERTIFICATES:
	case OPTION_CONFIG:
	case OPTION_TEXT:
	case OPTION_OUTPUT:
		assert_string_equal(*(char *const *)at, good_value(o));
		break;
	case OPTION_SIZE:
		assert_int_equal(*(const uint64_t *)at, 64 << 20);
		break;
	case OPTION_DURATION:
		assert_int_equal(*(const int64_t *)at, 7000);
		break;
	case OPTION_CHOICE:
		assert_int_equal(*(const unsigned *)at, 1);
		break;
	case OPTION_USER:
	case OPTION_GROUP:
		assert_int_equal(*(const int64_t *)at, 1234);
		break;
	case OPTION_UMASK:
		assert_int_equal(*(const int64_t *)at, 027);
		break;
	case OPTION_FD:
		assert_int_equal(*(const int *)at, 2);
		break;
	case OPTION_HOSTS:
		assert_int_equal(((const struct names *)at)->n, 1);
		assert_string_equal(((const struct names *)at)->v[0], good_value(o));
		break;
	case OPTION_WORDS:
		assert_true(args.offline);
		break;
	case OPTION_IGNORED:
		break;
	}
}

static void check(unsigned command, const struct option_spec *o, const char *line)
{
	if (parse(command, line) != 0)
		fail_msg("%s: %s", line, err.text);
	assert_arrived(o);
	assert_int_equal(args.n_operands, 2);
	assert_string_equal(args.operands[0], "source");
	assert_string_equal(args.operands[1], "/mnt");
}

/* In every form in which it may be written, between and behind the operands. */
static void test_every_option(void **state)
{
	(void)state;
	size_t n;
	char line[256];
	const struct option_spec *table = options_table(&n);
	for (size_t i = 0; i < n; i++) {
		const struct option_spec *o = &table[i];
		const char *value = good_value(o);
		for (unsigned command = 1; command <= CLI_HELPER; command <<= 1) {
			if ((o->commands & command) == 0)
				continue;
			if (o->name != NULL) {
				snprintf(line, sizeof(line), "source --%s%s%s /mnt", o->name,
					 o->arg != NULL ? " " : "", value);
				check(command, o, line);
				snprintf(line, sizeof(line), "source /mnt --%s%s%s", o->name,
					 o->arg != NULL ? "=" : "", value);
				check(command, o, line);
			}
			if (o->letter != 0) {
				snprintf(line, sizeof(line), "-%c%s source /mnt", o->letter, value);
				check(command, o, line);
			}
		}
	}
}

static void test_every_option_as_word(void **state)
{
	(void)state;
	size_t n, words = 0;
	char line[256];
	const struct option_spec *table = options_table(&n);
	for (size_t i = 0; i < n; i++) {
		const struct option_spec *o = &table[i];
		if (!options_in_words(o))
			continue;
		words++;
		snprintf(line, sizeof(line), "source /mnt -o ro,%s%s%s,nofail", o->name,
			 o->arg != NULL ? "=" : "", good_value(o));
		check(CLI_MOUNT, o, line);
		check(CLI_HELPER, o, line);
		for (char *p = strchr(line, ','); *p != '\0' && *p != '='; p++)
			*p = *p == '-' ? '_' : *p;
		check(CLI_MOUNT, o, line);
	}
	assert_true(words >= 13);
}

static void test_mount_words(void **state)
{
	(void)state;
	assert_int_equal(parse(CLI_HELPER, "ghcr.io /mnt -sn -v -t fuse.wasmocifs -o "
					   "rw,defaults,nosuid,nodev,noatime,_netdev,nofail,user,"
					   "users,noauto,x-systemd.automount,X-mount.mkdir=0755,"
					   "comment=y,dev,suid,ro"),
			 0);
	assert_false(args.noexec);
	assert_int_equal(parse(CLI_HELPER, "ghcr.io /mnt -o noexec,user=me"), 0);
	assert_true(args.noexec);
	assert_int_equal(parse(CLI_HELPER, "ghcr.io /mnt -o ,,ro,,"), 0);
	assert_int_equal(parse(CLI_HELPER, "ghcr.io /mnt -o nonsense"), -EINVAL);
	assert_int_equal(parse(CLI_HELPER, "ghcr.io /mnt -s -o nonsense"), 0);
}

static void test_commas_in_words(void **state)
{
	(void)state;
	cli_args_release(&args);
	cli_args_init(&args);
	assert_int_equal(options_parse_words("cache=/a\\,b\\\\c,offline", &args, &err), 0);
	assert_string_equal(args.cache, "/a,b\\c");
	assert_true(args.offline);
	assert_int_equal(options_parse_words("cache=/x\\", &args, &err), 0);
	assert_string_equal(args.cache, "/x\\");
	assert_int_equal(options_parse_words("cache=", &args, &err), -EINVAL);
}

static void test_relative_paths(void **state)
{
	(void)state;
	assert_int_equal(chdir("/proc"), 0);
	assert_int_equal(parse(CLI_MOUNT, "--cache some/where --auth-file version a b"), 0);
	assert_string_equal(args.cache, "/proc/some/where");
	assert_string_equal(args.auth_file, "/proc/version");
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(parse(CLI_MOUNT, "--cache there --cache here a b"), 0);
	assert_string_equal(args.cache, "/here");
}

struct mistake {
	unsigned command;
	const char *line, *text;
};

static const struct mistake mistakes[] = {
    {CLI_MOUNT, "--chace /x a b", "unknown option --chace; did you mean --cache?"},
    {CLI_MOUNT, "--frobnicate=3 a b", "unknown option --frobnicate; see 'wasmocifs mount --help'"},
    {CLI_MOUNT, "-x a b", "unknown option -x; see 'wasmocifs mount --help'"},
    {CLI_HELPER, "-x a b", "unknown option -x; see 'wasmocifs mount --help'"},
    {CLI_UNMOUNT, "--cache /x a", "unknown option --cache; see 'wasmocifs unmount --help'"},
    {CLI_STATUS, "--jsn", "unknown option --jsn; did you mean --json?"},
    {CLI_MOUNT, "a b --cache", "--cache needs a value: --cache DIR"},
    {CLI_MOUNT, "a b -o", "-o needs a value: -o KEY[=VALUE],…"},
    {CLI_MOUNT, "--offline=yes a b", "--offline: 'yes' is neither true nor false"},
    {CLI_STATUS, "--json=true", "--json takes no value"},
    {CLI_MOUNT, "--cache= a b", "--cache: give the path of a directory"},
    {CLI_MOUNT, "--auth-file /nowhere a b",
     "--auth-file: cannot read /nowhere: No such file or directory"},
    {CLI_MOUNT, "--auth-file= a b", "--auth-file: give the path of a file"},
    {CLI_MOUNT, "--auth-file /proc a b", "--auth-file: /proc is a directory; give a file"},
    {CLI_MOUNT, "--auth-file /dev/null a b",
     "--auth-file: /dev/null is no regular file; give a file"},
    {CLI_MOUNT, "-o ca_file=/dev a b", "-o ca-file: /dev is a directory; give a file"},
    {CLI_MOUNT, "--ca-file /nowhere a b",
     "--ca-file: cannot read /nowhere: No such file or directory"},
    {CLI_MOUNT, "--ca-file /proc/version a b",
     "--ca-file: there is no PEM certificate (-----BEGIN CERTIFICATE-----) in /proc/version; a "
     "DER one can be converted: openssl x509 -inform der"},
    {CLI_MOUNT, "--cache-size 8X a b", "--cache-size: '8X' is not a size; write it as 500M or 8G"},
    {CLI_MOUNT, "--cache-size -1 a b", "--cache-size: '-1' is not a size; write it as 500M or 8G"},
    {CLI_MOUNT, "--cache-size 8 a b", "--cache-size: '8' is too small; give at least 1.0 MiB"},
    {CLI_MOUNT, "--cache-size 99999999T a b", "--cache-size: '99999999T' is too large"},
    {CLI_MOUNT, "--timeout 30 a b",
     "--timeout: '30' is not a duration; write it as 500ms, 8s or 5m"},
    {CLI_MOUNT, "--tag-ttl 999ms a b", "--tag-ttl: '999ms' is too short; give at least 1s"},
    {CLI_MOUNT, "--timeout 9ms a b", "--timeout: '9ms' is too short; give at least 100ms"},
    {CLI_MOUNT, "--timeout 2000000000000h a b", "--timeout: '2000000000000h' is too long"},
    {CLI_MOUNT, "--log-level loud a b",
     "--log-level: 'loud' is not one of error, warning, info or debug"},
    {CLI_MOUNT, "--ready-fd 1x a b",
     "--ready-fd: '1x' is not the number of a file descriptor; write it as 3"},
    {CLI_MOUNT, "--ready-fd 99999 a b",
     "--ready-fd: file descriptor 99999 is not open; open it for writing (99999>FILE in a "
     "shell)"},
    {CLI_MOUNT, "--ready-fd 0 a b",
     "--ready-fd: file descriptor 0 is not open for writing; open it for that (0>FILE in a "
     "shell)"},
    {CLI_MOUNT, "-o alow_other a b",
     "unknown mount option 'alow_other' after -o; did you mean 'allow-other'?"},
    {CLI_MOUNT, "-o help a b",
     "unknown mount option 'help' after -o; see 'wasmocifs mount --help'"},
    {CLI_MOUNT, "-o tag_ttl a b", "-o tag-ttl needs a value: -o tag-ttl=TIME"},
    {CLI_MOUNT, "-o offline=1 a b", "-o offline: '1' is neither true nor false"},
    {CLI_MOUNT, "-o timeout=1x a b",
     "-o timeout: '1x' is not a duration; write it as 500ms, 8s or 5m"},
};

static void test_mistakes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
		assert_int_equal(parse(mistakes[i].command, mistakes[i].line), -EINVAL);
		assert_string_equal(err.text, mistakes[i].text);
	}
}

static void test_defaults(void **state)
{
	(void)state;
	assert_int_equal(parse(CLI_MOUNT, "a b"), 0);
	assert_null(args.cache);
	assert_int_equal(args.ready_fd, -1);
	assert_int_equal(args.log_level, LOG_LEVEL_INFO);
	assert_int_equal(args.log_format, LOG_FORMAT_TEXT);
	assert_false(args.foreground || args.offline || args.allow_other || args.help);
	assert_int_equal(parse(CLI_MOUNT, "a -- -b"), 0);
	assert_int_equal(args.n_operands, 2);
}

static void test_flags_taken_back(void **state)
{
	(void)state;
	assert_int_equal(parse(CLI_MOUNT, "--offline=true --all -o allow_other a b"), 0);
	assert_true(args.offline && args.all && args.allow_other);
	assert_int_equal(parse(CLI_MOUNT, "--offline --offline=false -o all,all=false a b"), 0);
	assert_false(args.offline || args.all);
	assert_true(options_given(&args, offsetof(struct cli_args, offline)));
	assert_false(options_given(&args, offsetof(struct cli_args, allow_other)));
}

static void put(const char *text, off_t off)
{
	int fd = open(pem, O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, text, strlen(text), off), strlen(text));
	close(fd);
}

static void test_certificates(void **state)
{
	(void)state;
	static const char *const good[] = {"-----BEGIN CERTIFICATE-----",
					   "-----BEGIN TRUSTED CERTIFICATE-----",
					   "-----BEGIN X509 CERTIFICATE-----"};
	static const char *const bad[] = {"", "BEGIN CERTIFICATE", "-----BEGIN PRIVATE KEY-----",
					  "-----BEGIN CERTIFICATE REQUEST-----"};
	char line[128];
	snprintf(line, sizeof(line), "--ca-file %s a b", pem);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		put(bad[i], 0);
		assert_int_equal(parse(CLI_MOUNT, line), -EINVAL);
		assert_null(args.ca_file);
	}
	/* Not more than some MiB are read of what is none. */
	put(good[0], 1 << 30);
	assert_int_equal(parse(CLI_MOUNT, line), -EINVAL);
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		put(good[i], 1 << 20);
		assert_int_equal(parse(CLI_MOUNT, line), 0);
		assert_string_equal(args.ca_file, pem);
	}
}

static int setup(void **state)
{
	(void)state;
	static const char head[] = "-----BEGIN CERTIFICATE-----\n";
	int made = mkstemp(pem);
	if (made < 0 || write(made, head, strlen(head)) != (ssize_t)strlen(head))
		return -1;
	close(made);
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || dup2(fd, STDIN_FILENO) < 0)
		return -1;
	close(fd);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return unlink(pem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_option),     cmocka_unit_test(test_every_option_as_word),
	    cmocka_unit_test(test_mount_words),      cmocka_unit_test(test_commas_in_words),
	    cmocka_unit_test(test_relative_paths),   cmocka_unit_test(test_mistakes),
	    cmocka_unit_test(test_defaults),         cmocka_unit_test(test_certificates),
	    cmocka_unit_test(test_flags_taken_back),
	};
	int failed = cmocka_run_group_tests(tests, setup, teardown);
	cli_args_release(&args);
	return failed;
}
