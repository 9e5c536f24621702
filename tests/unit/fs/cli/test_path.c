/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/cli/path.h"

static char base[] = "/tmp/wasmocifs-path-XXXXXX";
static char mountpoint[sizeof(base) + 16];

/* Resolves base/written; the result is compared below base. */
static const struct mounts_entry *resolve(const char *written, const char *expected)
{
	struct mounts_entry entry = {.mountpoint = mountpoint, .minor = 1, .whole = true};
	static struct mounts mounts;
	static struct mounts_entry kept;
	char path[PATH_MAX], result[PATH_MAX];
	const struct mounts_entry *mount = NULL;
	kept = entry;
	mounts = (struct mounts){.v = &kept, .n = 1};
	snprintf(path, sizeof(path), "%s/%s", base, written);
	assert_int_equal(path_resolve(path, &mounts, result, &mount), 0);
	assert_int_equal(strncmp(result, base, strlen(base)), 0);
	assert_string_equal(result + strlen(base), expected);
	return mount;
}

static void test_resolve(void **state)
{
	(void)state;
	assert_null(resolve("dir", "/dir"));
	assert_null(resolve("./dir//", "/dir"));
	assert_null(resolve("dir/../dir/.", "/dir"));
	assert_null(resolve("link", "/dir"));
	assert_null(resolve("absolute/x", "/dir/x"));
	assert_null(resolve("nothing/at/all", "/nothing/at/all"));
}

/* Nothing below a mount is looked at: "trap" in it would lead elsewhere. */
static void test_stops_at_a_mount(void **state)
{
	(void)state;
	assert_non_null(resolve("mnt", "/mnt"));
	assert_non_null(resolve("mnt/", "/mnt"));
	assert_non_null(resolve("mnt/trap/x", "/mnt/trap/x"));
	assert_non_null(resolve("into", "/mnt"));
	assert_non_null(resolve("into/trap", "/mnt/trap"));
	assert_non_null(resolve("mnt/a/../b", "/mnt/b"));
	assert_null(resolve("mnt/..", ""));
	assert_null(resolve("mnt/../dir", "/dir"));
}

static void test_failures(void **state)
{
	(void)state;
	struct mounts none = {0};
	char path[PATH_MAX + 100], result[PATH_MAX];
	const struct mounts_entry *mount = NULL;
	snprintf(path, sizeof(path), "%s/loop", base);
	assert_int_equal(path_resolve(path, &none, result, &mount), -ELOOP);
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(path_resolve(path, &none, result, &mount), -ENAMETOOLONG);
	assert_int_equal(path_resolve("/", &none, result, &mount), 0);
	assert_string_equal(result, "/");
	assert_int_equal(path_resolve("/..", &none, result, &mount), 0);
	assert_string_equal(result, "/");
}

static void test_absolute(void **state)
{
	(void)state;
	char *path = NULL;
	assert_int_equal(chdir("/proc"), 0);
	assert_int_equal(path_absolute("x", &path), 0);
	assert_string_equal(path, "/proc/x");
	free(path);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(path_absolute("x", &path), 0);
	assert_string_equal(path, "/x");
	free(path);
	assert_int_equal(path_absolute("/x/y", &path), 0);
	assert_string_equal(path, "/x/y");
	free(path);
}

static void test_within(void **state)
{
	(void)state;
	assert_true(path_is_within("/mnt", "/mnt"));
	assert_true(path_is_within("/mnt/a/b", "/mnt"));
	assert_false(path_is_within("/mntx", "/mnt"));
	assert_false(path_is_within("/", "/mnt"));
	assert_false(path_is_within("/mn", "/mnt"));
	assert_true(path_is_within("/", "/"));
	assert_true(path_is_within("/mnt", "/"));
}

static int make(void)
{
	if (mkdir("dir", 0700) < 0 || mkdir("mnt", 0700) < 0 || symlink("dir", "link") < 0 ||
	    symlink("../dir", "mnt/trap") < 0 || symlink("mnt", "into") < 0 ||
	    symlink("loop", "loop") < 0)
		return -1;
	char target[sizeof(base) + 16];
	snprintf(target, sizeof(target), "%s/./dir", base);
	return symlink(target, "absolute");
}

static int setup(void **state)
{
	(void)state;
	if (mkdtemp(base) == NULL || chdir(base) < 0)
		return -1;
	snprintf(mountpoint, sizeof(mountpoint), "%s/mnt", base);
	return make();
}

static int teardown(void **state)
{
	(void)state;
	static const char *const files[] = {"absolute", "loop", "into", "mnt/trap", "link"};
	if (chdir(base) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlink(files[i]);
	rmdir("mnt");
	rmdir("dir");
	return chdir("/") < 0 ? -1 : rmdir(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_resolve),  cmocka_unit_test(test_stops_at_a_mount),
	    cmocka_unit_test(test_failures), cmocka_unit_test(test_absolute),
	    cmocka_unit_test(test_within),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
