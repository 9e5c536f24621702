/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/cli/mounts.h"

static const char text[] =
    "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
    "36 22 0:57 / /mnt/oci ro,nosuid,nodev,relatime shared:9 - fuse.wasmocifs ghcr.io "
    "ro,user_id=1000,group_id=1000,default_permissions\n"
    "37 22 0:57 /library /srv/lib ro - fuse.wasmocifs ghcr.io ro,user_id=1000,group_id=1000\n"
    "38 22 0:58 / /mnt/a\\040b ro - fuse.wasmocifs user_id=7 ro,user_id=0,group_id=0\n"
    "39 22 0:59 / /mnt/below ro - fuse.wasmocifs docker.io ro,user_id=0,group_id=0\n"
    "this is not a line of mountinfo\n"
    "40 39 0:60 / /mnt/below rw - tmpfs tmpfs rw\n"
    "41 22 0:61 / /mnt/sshfs rw - fuse.sshfs host: rw,user_id=0\n";

static struct mounts read_text(const char *s)
{
	char path[] = "/tmp/wasmocifs-mounts-XXXXXX";
	struct mounts m;
	int fd = mkstemp(path);
	assert_int_equal(write(fd, s, strlen(s)), strlen(s));
	close(fd);
	assert_int_equal(mounts_read(path, &m, NULL), 0);
	unlink(path);
	return m;
}

static void test_read(void **state)
{
	(void)state;
	struct mounts m = read_text(text);
	assert_int_equal(m.n, 4);
	assert_string_equal(m.v[0].mountpoint, "/mnt/oci");
	assert_string_equal(m.v[0].source, "ghcr.io");
	assert_int_equal(m.v[0].minor, 57);
	assert_int_equal(m.v[0].uid, 1000);
	assert_true(m.v[0].whole);
	assert_false(m.v[1].whole);
	assert_string_equal(m.v[2].mountpoint, "/mnt/a b");
	assert_int_equal(m.v[2].uid, 0);
	assert_true(m.v[3].covered);
	mounts_release(&m);
	assert_int_equal(mounts_read("/nowhere", &m, NULL), -ENOENT);
	m = read_text("");
	assert_int_equal(m.n, 0);
	mounts_release(&m);
}

static void test_find(void **state)
{
	(void)state;
	struct mounts m = read_text(text);
	assert_ptr_equal(mounts_find(&m, "/mnt/oci"), &m.v[0]);
	assert_null(mounts_find(&m, "/mnt/oci/x"));
	assert_null(mounts_find(&m, "/mnt/below"));
	assert_null(mounts_find(&m, "/mnt/sshfs"));
	assert_ptr_equal(mounts_above(&m, "/mnt/oci"), &m.v[0]);
	assert_ptr_equal(mounts_above(&m, "/mnt/oci/library/x:1"), &m.v[0]);
	assert_null(mounts_above(&m, "/mnt/ocixx"));
	assert_null(mounts_above(&m, "/mnt"));
	assert_null(mounts_above(&m, "/mnt/below/x"));
	assert_ptr_equal(mounts_by_minor(&m, 57), &m.v[0]);
	assert_null(mounts_by_minor(&m, 60));
	mounts_release(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_read),
	    cmocka_unit_test(test_find),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
