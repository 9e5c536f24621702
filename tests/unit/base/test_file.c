/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/file.h"

struct fixture {
	char path[64];
	int dirfd;
};

static int setup(void **state)
{
	static struct fixture f;
	strcpy(f.path, "/tmp/wasmocifs-test-XXXXXX");
	if (mkdtemp(f.path) == NULL)
		return -1;
	f.dirfd = open(f.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = &f;
	return f.dirfd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	static const char *const files[] = {"file", "link", "fifo", "sub/file", "loop", "out"};
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		(void)unlinkat(f->dirfd, files[i], 0);
	(void)unlinkat(f->dirfd, "sub", AT_REMOVEDIR);
	close(f->dirfd);
	return rmdir(f->path);
}

static void make_file(const struct fixture *f, const char *name, const void *data, size_t len)
{
	AUTO_FD int fd = openat(f->dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, data, len), 0);
}

static void whole_file_comes_back_with_a_nul(void **state)
{
	const struct fixture *f = *state;
	make_file(f, "file", "ab\0cd", 5);
	char *text = NULL;
	size_t len = 0;
	assert_int_equal(file_read_small(f->dirfd, "file", 5, &text, &len), 0);
	assert_int_equal(len, 5);
	assert_memory_equal(text, "ab\0cd", 6);
	free(text);
	assert_int_equal(file_read_small(f->dirfd, "file", 4, &text, &len), -EFBIG);
	assert_int_equal(file_read_small(f->dirfd, "none", 4, &text, &len), -ENOENT);
	make_file(f, "file", "", 0);
	assert_int_equal(file_read_small(f->dirfd, "file", 0, &text, &len), 0);
	assert_int_equal(len, 0);
	free(text);
}

static void file_without_size_is_read_to_its_end(void **state)
{
	(void)state;
	char *text = NULL;
	size_t len = 0;
	assert_int_equal(file_read_small(AT_FDCWD, "/proc/self/maps", 1 << 24, &text, &len), 0);
	assert_true(len > 100);
	assert_int_equal(text[len - 1], '\n');
	free(text);
	assert_int_equal(file_read_small(AT_FDCWD, "/proc/self/maps", 100, &text, &len), -EFBIG);
}

static void what_is_no_file_is_refused(void **state)
{
	const struct fixture *f = *state;
	char *text = NULL;
	size_t len = 0;
	make_file(f, "file", "x", 1);
	assert_int_equal(symlinkat("file", f->dirfd, "link"), 0);
	assert_int_equal(mkfifoat(f->dirfd, "fifo", 0600), 0);
	assert_int_equal(mkdirat(f->dirfd, "sub", 0700), 0);
	assert_int_equal(file_read_small(f->dirfd, "link", 9, &text, &len), -ELOOP);
	assert_int_equal(file_read_small(f->dirfd, "fifo", 9, &text, &len), -EINVAL);
	assert_int_equal(file_read_small(f->dirfd, "sub", 9, &text, &len), -EISDIR);

	char path[96];
	snprintf(path, sizeof(path), "%s/link", f->path);
	assert_int_equal(file_read_followed(path, 9, &text, &len), 0);
	free(text);
	assert_int_equal(file_read_followed(path, 0, &text, &len), -EFBIG);
	snprintf(path, sizeof(path), "%s/fifo", f->path);
	assert_int_equal(file_read_followed(path, 9, &text, &len), -EINVAL);
	snprintf(path, sizeof(path), "%s/none", f->path);
	assert_int_equal(file_read_followed(path, 9, &text, &len), -ENOENT);
}

static void nothing_leads_out_of_the_directory(void **state)
{
	const struct fixture *f = *state;
	assert_int_equal(mkdirat(f->dirfd, "sub", 0700), 0);
	make_file(f, "sub/file", "x", 1);
	assert_int_equal(symlinkat("sub", f->dirfd, "loop"), 0);
	AUTO_FD int fd = file_open_beneath(f->dirfd, "sub/file", O_RDONLY, 0);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_true(file_open_beneath(f->dirfd, "loop/file", O_RDONLY, 0) < 0);
	assert_int_equal(file_open_beneath(f->dirfd, "../x", O_RDONLY, 0), -EXDEV);
	assert_int_equal(file_open_beneath(f->dirfd, f->path, O_RDONLY, 0), -EXDEV);
}

/* As a kernel before 5.6, or a sandbox, answers. */
static bool forbid_openat2(int code)
{
	struct sock_filter filter[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)code),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = ARRAY_LEN(filter), .filter = filter};
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int check_without_openat2(const struct fixture *f, int code)
{
	if (!forbid_openat2(code))
		return 77;
	int fd = file_open_beneath(f->dirfd, "sub/file", O_RDONLY, 0);
	if (fd < 0 || fcntl(fd, F_GETFD) != FD_CLOEXEC)
		return 1;
	if (file_open_beneath(f->dirfd, "loop/file", O_RDONLY, 0) != -ENOTDIR)
		return 2;
	if (file_open_beneath(f->dirfd, "link", O_RDONLY, 0) != -ELOOP)
		return 3;
	if (file_open_beneath(f->dirfd, "sub/../../x", O_RDONLY, 0) != -EXDEV)
		return 4;
	if (file_open_beneath(f->dirfd, f->path, O_RDONLY, 0) != -EXDEV)
		return 5;
	return file_open_beneath(f->dirfd, "sub/none", O_RDONLY, 0) == -ENOENT ? 0 : 6;
}

static void the_same_holds_without_openat2(void **state)
{
	const struct fixture *f = *state;
	static const int codes[] = {ENOSYS, EPERM};
	assert_int_equal(mkdirat(f->dirfd, "sub", 0700), 0);
	make_file(f, "sub/file", "x", 1);
	assert_int_equal(symlinkat("sub", f->dirfd, "loop"), 0);
	assert_int_equal(symlinkat("sub/file", f->dirfd, "link"), 0);
	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		int status = 0;
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			_exit(check_without_openat2(f, codes[i]));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		if (WEXITSTATUS(status) == 77) {
			print_message("seccomp filters are not allowed here\n");
			skip();
		}
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

static void reads_and_writes_are_whole_or_fail(void **state)
{
	const struct fixture *f = *state;
	char buf[8];
	AUTO_FD int fd = openat(f->dirfd, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(file_pwrite_all(fd, "world", 5, 3), 0);
	assert_int_equal(file_pwrite_all(fd, "hel", 3, 0), 0);
	assert_int_equal(file_pread_full(fd, buf, sizeof(buf), 0), 8);
	assert_memory_equal(buf, "helworld", 8);
	assert_int_equal(file_pread_full(fd, buf, sizeof(buf), 6), 2);
	assert_int_equal(file_pread_full(fd, buf, sizeof(buf), 100), 0);
	assert_int_equal(file_pread_full(-1, buf, 1, 0), -EBADF);
	assert_int_equal(file_write_all(-1, buf, 1), -EBADF);
	AUTO_FD int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	assert_int_equal(file_write_all(full, "x", 1), -ENOSPC);
	assert_int_equal(file_pwrite_all(full, "x", 1, 0), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(whole_file_comes_back_with_a_nul, setup, teardown),
	    cmocka_unit_test(file_without_size_is_read_to_its_end),
	    cmocka_unit_test_setup_teardown(what_is_no_file_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(nothing_leads_out_of_the_directory, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_same_holds_without_openat2, setup, teardown),
	    cmocka_unit_test_setup_teardown(reads_and_writes_are_whole_or_fail, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
