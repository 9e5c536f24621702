/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/filelock.h"

#include <errno.h>
#include <fcntl.h>

static int set(int fd, short type, int64_t byte)
{
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
	while (fcntl(fd, F_OFD_SETLK, &l) < 0) {
		if (errno == EACCES)
			return -EAGAIN;
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

int filelock_exclusive(int fd, int64_t byte)
{
	return set(fd, F_WRLCK, byte);
}

int filelock_shared(int fd, int64_t byte)
{
	return set(fd, F_RDLCK, byte);
}

int filelock_drop(int fd, int64_t byte)
{
	return set(fd, F_UNLCK, byte);
}

static int ask(int fd, int64_t first, int64_t n)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = first, .l_len = n};
	return fcntl(fd, F_OFD_GETLK, &l) < 0 ? -errno : l.l_type != F_UNLCK;
}

int filelock_ask(int fd)
{
	return ask(fd, FILELOCK_WRITER, FILELOCK_READER - FILELOCK_WRITER + 1);
}

bool filelock_taken(int fd)
{
	return filelock_ask(fd) > 0;
}

bool filelock_charged(int fd)
{
	return ask(fd, FILELOCK_CHARGED, 1) > 0;
}
