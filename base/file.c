/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define COMPONENT_MAX 256
/* RESOLVE_BENEATH gives EAGAIN when anything in the system was renamed at the
 * wrong moment; openat2(2) says to try again. */
#define RESOLVE_TRIES 8

int file_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;
	while (len > 0) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int file_pwrite_all(int fd, const void *data, size_t len, uint64_t off)
{
	const char *p = data;
	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int64_t file_pread_full(int fd, void *buf, size_t len, uint64_t off)
{
	char *p = buf;
	size_t done = 0;
	while (done < len) {
		ssize_t n = pread(fd, p + done, len - done, (off_t)(off + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (int64_t)done;
}

static int open_at(int dirfd, const char *path, int flags, mode_t mode)
{
	int fd = openat(dirfd, path, flags | O_NOFOLLOW | O_CLOEXEC, mode);
	return fd < 0 ? -errno : fd;
}

/* For kernels and sandboxes without openat2: one directory at a time. */
static int open_by_components(int dirfd, const char *path, int flags, mode_t mode)
{
	AUTO_FD int at = -1;
	const char *p = path;
	for (;;) {
		const char *slash = strchr(p, '/');
		size_t len = slash != NULL ? (size_t)(slash - p) : strlen(p);
		char component[COMPONENT_MAX];
		if (len >= sizeof(component))
			return -ENAMETOOLONG;
		memcpy(component, p, len);
		component[len] = '\0';
		if (len == 0 || strcmp(component, "..") == 0)
			return len == 0 ? -ENOENT : -EXDEV;
		int from = at >= 0 ? at : dirfd;
		if (slash == NULL)
			return open_at(from, component, flags, mode);
		int next = open_at(from, component, O_PATH | O_DIRECTORY, 0);
		if (next < 0)
			return next;
		auto_close_(&at);
		at = next;
		p = slash + 1;
	}
}

int file_open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
	    .flags = (uint64_t)(unsigned)(flags | O_NOFOLLOW | O_CLOEXEC),
	    .mode = (flags & O_CREAT) != 0 ? mode : 0,
	    .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	for (int i = 0; i < RESOLVE_TRIES; i++) {
		long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
		if (fd >= 0)
			return (int)fd;
		if (errno == ENOSYS || errno == EPERM)
			break;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
	if (path[0] == '/')
		return -EXDEV;
	return open_by_components(dirfd, path, flags, mode);
}

/* Reads to the end of the file, whatever fstat said of it. */
static int read_up_to(int fd, size_t first_room, size_t max, char **ret, size_t *ret_len)
{
	AUTO_FREE char *buf = NULL;
	size_t room = first_room < max ? first_room : max;
	size_t len = 0;
	for (;;) {
		char *grown = realloc(buf, room + 1);
		if (grown == NULL)
			return -ENOMEM;
		buf = grown;
		/* One byte more than fits tells the end from a cut. */
		int64_t n = file_pread_full(fd, buf + len, room + 1 - len, len);
		if (n < 0)
			return (int)n;
		len += (size_t)n;
		if (len <= room)
			break;
		if (room >= max)
			return -EFBIG;
		room = room > max / 2 ? max : room * 2 + 1;
	}
	buf[len] = '\0';
	*ret = steal_ptr(&buf);
	*ret_len = len;
	return 0;
}

static int read_small(int fd, size_t max, char **ret, size_t *ret_len)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if ((uint64_t)st.st_size > max)
		return -EFBIG;
	return read_up_to(fd, (size_t)st.st_size, max, ret, ret_len);
}

/* O_NONBLOCK: a FIFO must not hang us. */
#define READ_SMALL (O_RDONLY | O_NONBLOCK | O_NOCTTY)

int file_read_small(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len)
{
	bool beneath = dirfd != AT_FDCWD && path[0] != '/';
	AUTO_FD int fd = beneath ? file_open_beneath(dirfd, path, READ_SMALL, 0)
				 : open_at(dirfd, path, READ_SMALL, 0);
	return fd < 0 ? fd : read_small(fd, max, ret, ret_len);
}

int file_read_followed(const char *path, size_t max, char **ret, size_t *ret_len)
{
	AUTO_FD int fd = open(path, READ_SMALL | O_CLOEXEC);
	return fd < 0 ? -errno : read_small(fd, max, ret, ret_len);
}
