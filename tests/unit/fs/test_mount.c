/* SPDX-License-Identifier: Apache-2.0 */
/* fs/mountinfo.h, and fs/mount.h as an ordinary user. As root, and with a
 * daemon behind it: test_session.c. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/mount.h"
#include "fs/mountinfo.h"

#define NOBODY 65534

static void test_parse(void **state)
{
	struct mountinfo_entry e;

	(void)state;
	assert_int_equal(mountinfo_parse("36 35 98:7 /mnt1 /mnt2 rw,noatime master:1 - ext3 "
					 "/dev/root rw,errors=continue\n",
					 &e),
			 0);
	assert_int_equal(e.major, 98);
	assert_int_equal(e.minor, 7);
	assert_string_equal(e.mountpoint, "/mnt2");
	assert_string_equal(e.fstype, "ext3");
	assert_string_equal(e.source, "/dev/root");
	/* No optional field, several, and one that could be taken for the end. */
	assert_int_equal(mountinfo_parse("1 2 0:1 / /x rw - fuse.wasmocifs s rw", &e), 0);
	assert_string_equal(e.fstype, "fuse.wasmocifs");
	assert_int_equal(mountinfo_parse("1 2 0:1 / /x rw shared:1 -x master:2 - t s rw", &e), 0);
	assert_string_equal(e.fstype, "t");
	assert_int_equal(mountinfo_parse("1 2 0:1 / /x rw - t", &e), 0);
	assert_string_equal(e.source, "");
}

static void test_parse_escapes(void **state)
{
	struct mountinfo_entry e;

	(void)state;
	assert_int_equal(
	    mountinfo_parse("1 2 0:1 / /a\\040b\\011c\\134d\\377 rw - t s\\012 rw", &e), 0);
	assert_string_equal(e.mountpoint, "/a b\tc\\d\377");
	assert_string_equal(e.source, "s\n");
	assert_int_equal(mountinfo_parse("1 2 0:1 / /a\\04 rw - t s rw", &e), 0);
	assert_string_equal(e.mountpoint, "/a\\04");
	assert_int_equal(mountinfo_parse("1 2 0:1 / /a\\ rw - t s rw", &e), 0);
	assert_string_equal(e.mountpoint, "/a\\");
}

static void test_parse_refuses(void **state)
{
	static const char *const lines[] = {
	    "",
	    "\n",
	    "1",
	    "1 2",
	    "1 2 0:1",
	    "1 2 0:1 / /x",
	    "1 2 0:1 / /x rw",
	    "1 2 x / /x rw - t s rw",
	    "1 2 0:1 / /x rw -",
	    "1 2 0:1 / /x rw shared:1 t s",
	    "1 2 0 / /x rw - t s rw",
	};
	struct mountinfo_entry e;
	char *longest = malloc(3 * MOUNTINFO_FIELD_MAX);

	(void)state;
	assert_non_null(longest);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		assert_int_equal(mountinfo_parse(lines[i], &e), -EINVAL);
	(void)snprintf(longest, 3 * MOUNTINFO_FIELD_MAX, "1 2 0:1 / /%0*d rw - t s rw",
		       MOUNTINFO_FIELD_MAX, 0);
	assert_int_equal(mountinfo_parse(longest, &e), -EINVAL);
	free(longest);
}

static void test_find_takes_the_topmost(void **state)
{
	static const char text[] = "1 2 0:1 / /x rw - tmpfs lower rw\n"
				   "what is this\n"
				   "2 2 0:2 / /y rw - tmpfs other rw\n"
				   "3 2 0:3 / /x rw - ext4 upper rw\n";
	char path[] = "/tmp/wasmocifs-test-mountinfo-XXXXXX";
	struct mountinfo_entry e;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	assert_int_equal(mountinfo_find(path, "/x", &e), 0);
	assert_string_equal(e.source, "upper");
	assert_int_equal(e.minor, 3);
	assert_int_equal(mountinfo_find(path, "/z", &e), -ENOENT);
	(void)unlink(path);
	assert_int_equal(mountinfo_find(path, "/x", &e), -ENOENT);
}

static void test_close_what_is_not_mounted(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(mount_close("/no/such/place", false, &err), -EINVAL);
	assert_string_equal(err.text, "nothing is mounted on /no/such/place");
}

/* What the child of as_user reports: 0 is well, SKIPPED why on stdout. */
enum { WELL = 0, SKIPPED = 77 };

/* A mount namespace of its own, in which users may open /dev/fuse: nothing of
 * it outlives the process. */
static int become_user(const char *dir)
{
	char node[128];

	(void)snprintf(node, sizeof(node), "%s-fuse", dir);
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mknod(node, S_IFCHR | 0666, makedev(10, 229)) < 0)
		return SKIPPED;
	int r = chmod(node, 0666) < 0 || mount(node, "/dev/fuse", NULL, MS_BIND, NULL) < 0 ||
			chown(dir, NOBODY, NOBODY) < 0
		    ? SKIPPED
		    : WELL;
	(void)umount2(node, MNT_DETACH);
	(void)unlink(node);
	if (r == WELL && setresuid(NOBODY, NOBODY, NOBODY) < 0)
		r = SKIPPED;
	return r;
}

static int run_as_user(const char *dir, int (*body)(const char *dir))
{
	pid_t pid = fork();
	int status = 0;

	assert_true(pid >= 0);
	if (pid == 0) {
		int r = become_user(dir);

		_exit(r == WELL ? body(dir) : r);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void as_user(int (*body)(const char *dir))
{
	char dir[] = "/tmp/wasmocifs-test-user-XXXXXX";

	assert_non_null(mkdtemp(dir));
	int r = run_as_user(dir, body);
	assert_int_equal(rmdir(dir), 0);
	if (r == SKIPPED) {
		printf("# skipped: no ordinary user, no namespace or no fusermount3 here\n");
		skip();
	}
	assert_int_equal(r, WELL);
}

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			(void)fprintf(stderr, "%d: %s\n", __LINE__, #cond);                        \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

/* One line of /proc/self/mountinfo, whole. */
static bool mount_line(const char *mountpoint, char *line, size_t size)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	bool found = false;
	char field[128];

	(void)snprintf(field, sizeof(field), " %s ", mountpoint);
	while (f && !found && fgets(line, (int)size, f))
		found = strstr(line, field) != NULL;
	if (f)
		(void)fclose(f);
	return found;
}

static int user_mounts(const char *dir)
{
	struct mount_options o = {.mountpoint = dir, .source = "a,b\\c d"};
	struct mountinfo_entry e;
	char line[1024];
	struct err err;
	int fd = -1;

	if (access("/usr/bin/fusermount3", X_OK) < 0)
		return SKIPPED;
	CHECK(mount_open(&o, &fd, &err) == 0);
	CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	CHECK(mountinfo_find("/proc/self/mountinfo", dir, &e) == 0);
	CHECK(strcmp(e.fstype, "fuse.wasmocifs") == 0);
	CHECK(strcmp(e.source, "a,b\\c d") == 0);
	CHECK(mount_line(dir, line, sizeof(line)));
	CHECK(strstr(line, " ro,nosuid,nodev,") != NULL);
	CHECK(strstr(line, "noexec") == NULL);
	CHECK(strstr(line, "default_permissions") != NULL);
	CHECK(strstr(line, "allow_other") == NULL);
	close(fd);
	CHECK(mount_is_stale(dir));
	CHECK(mount_close(dir, false, &err) == 0);
	CHECK(mount_state(dir, NULL) == MOUNT_NONE);
	CHECK(mount_open(&o, &fd, &err) == 0);
	close(fd);
	CHECK(mount_open(&o, &fd, &err) == 0); /* over a stale one */
	CHECK(mount_close(dir, true, &err) == 0);
	CHECK(mount_state(dir, NULL) == MOUNT_NONE);
	return WELL;
}

static int user_is_refused(const char *dir)
{
	struct mount_options o = {.mountpoint = dir, .source = "x", .allow_other = true};
	struct err err;
	int fd = -1;

	if (access("/usr/bin/fusermount3", X_OK) < 0)
		return SKIPPED;
	int r = mount_open(&o, &fd, &err);
	if (r == 0) /* this machine's /etc/fuse.conf lets users */
		return mount_close(dir, true, &err) == 0 ? SKIPPED : 1;
	CHECK(r == -EPERM);
	CHECK(strstr(err.text, "fusermount3: ") == err.text);
	CHECK(strstr(err.text, "user_allow_other") != NULL);
	o.allow_other = false;
	o.mountpoint = "/";
	CHECK(mount_open(&o, &fd, &err) == -EACCES);
	CHECK(strstr(err.text, "directory of your own") != NULL);
	return WELL;
}

static int user_without_helper(const char *dir)
{
	struct mount_options o = {.mountpoint = dir, .source = "x"};
	struct err err;
	int fd = -1;

	CHECK(setenv("PATH", "/no/such/place", 1) == 0);
	CHECK(mount_open(&o, &fd, &err) == -EPERM);
	CHECK(strstr(err.text, "install the package fuse3") != NULL);
	return WELL;
}

static void test_user_mounts(void **state)
{
	(void)state;
	as_user(user_mounts);
}

static void test_user_is_refused(void **state)
{
	(void)state;
	as_user(user_is_refused);
}

static void test_user_without_helper(void **state)
{
	(void)state;
	as_user(user_without_helper);
}

static void test_refusals(void **state)
{
	struct mount_options mo = {.mountpoint = "/nonexistent/mountpoint", .source = "x"};
	struct err err;
	int fd;

	(void)state;
	assert_int_equal(mount_open(&mo, &fd, &err), -ENOENT);
	mo.mountpoint = "/dev/null";
	assert_int_equal(mount_open(&mo, &fd, &err), -ENOTDIR);
	assert_string_equal(err.text, "/dev/null is not a directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_parse),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_parse_escapes),
	    cmocka_unit_test(test_parse_refuses),
	    cmocka_unit_test(test_find_takes_the_topmost),
	    cmocka_unit_test(test_close_what_is_not_mounted),
	    cmocka_unit_test(test_user_mounts),
	    cmocka_unit_test(test_user_is_refused),
	    cmocka_unit_test(test_user_without_helper),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
