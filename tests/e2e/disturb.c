/* SPDX-License-Identifier: Apache-2.0 */
/* disturb — preloaded into a daemon, lets its calls on the cache directory fail, and moves its wall
 * clock. What a test wants stands in a file that both have mapped (disturb.py). */
/* The daemon calls them by these names: it is compiled for large files. */
#undef _FILE_OFFSET_BITS

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ERRNOS 8

/* What a call does to the disk. */
#define LOOKS   0
#define CHANGES 1
#define SYNCS   2

/* As disturb.py packs it. */
struct wishes {
	_Atomic uint32_t odds; /* in 10,000 */
	uint32_t least;        /* what a call must be to fail: any, CHANGES or SYNCS */
	uint32_t n_errnos;
	int32_t errnos[ERRNOS];
	_Atomic int32_t die_at; /* how many changes more; 0: it lives on */
	_Atomic int64_t wall_offset_s;
	_Atomic uint64_t hits, calls;
	char dir[PATH_MAX];
};

static struct wishes *wishes;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("DISTURB");
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	void *p = mmap(NULL, sizeof(*wishes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	wishes = p != MAP_FAILED ? p : NULL;
}

static bool is_inside(const char *path)
{
	size_t len = strlen(wishes->dir);
	return strncmp(path, wishes->dir, len) == 0;
}

static bool is_ours(int fd, const char *path)
{
	char link[64], target[PATH_MAX];
	if (path != NULL && path[0] == '/')
		return is_inside(path);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return is_inside(target);
}

/* The process is killed before the change that it was given to live to. */
static void maybe_die(int fd, const char *path)
{
	if (atomic_load(&wishes->die_at) > 0 && is_ours(fd, path) &&
	    atomic_fetch_sub(&wishes->die_at, 1) == 1)
		(void)kill(getpid(), SIGKILL);
}

/* 0: it goes on. Not static: the headers of the C library make some of its callers inline. */
int due(uint32_t does, int fd, const char *path);
int due(uint32_t does, int fd, const char *path)
{
	int before = errno;
	int code = 0;
	if (wishes != NULL && does != LOOKS)
		maybe_die(fd, path);
	uint32_t odds = wishes != NULL ? atomic_load(&wishes->odds) : 0;
	if (odds > 0 && does >= wishes->least && is_ours(fd, path)) {
		uint64_t n = atomic_fetch_add(&wishes->calls, 1);
		uint64_t x = (n + 1) * 0x9e3779b97f4a7c15u;
		x = (x ^ x >> 31) * 0xbf58476d1ce4e5b9u;
		x ^= x >> 29;
		if (x % 10000 < odds) {
			code = wishes->errnos[(x >> 32) % wishes->n_errnos];
			atomic_fetch_add(&wishes->hits, 1);
		}
	}
	errno = before;
	return code;
}

#define WRAP(type, name, params, args, does, fd, path, failure)                                    \
	type name params;                                                                          \
	type name params                                                                           \
	{                                                                                          \
		static type(*real) params;                                                         \
		if (real == NULL)                                                                  \
			*(void **)(void *)&real = dlsym(RTLD_NEXT, #name);                         \
		int code = due(does, fd, path);                                                    \
		if (code == 0)                                                                     \
			return real args;                                                          \
		errno = code;                                                                      \
		return failure;                                                                    \
	}

WRAP(ssize_t, pread64, (int fd, void *p, size_t n, off_t off), (fd, p, n, off), LOOKS, fd, NULL, -1)
WRAP(ssize_t, pwrite64, (int fd, const void *p, size_t n, off_t off), (fd, p, n, off), CHANGES, fd,
     NULL, -1)
WRAP(ssize_t, write, (int fd, const void *p, size_t n), (fd, p, n), CHANGES, fd, NULL, -1)
WRAP(int, fallocate64, (int fd, int mode, off_t off, off_t n), (fd, mode, off, n), CHANGES, fd,
     NULL, -1)
WRAP(int, ftruncate64, (int fd, off_t n), (fd, n), CHANGES, fd, NULL, -1)
WRAP(int, fsync, (int fd), (fd), SYNCS, fd, NULL, -1)
WRAP(int, fdatasync, (int fd), (fd), SYNCS, fd, NULL, -1)
WRAP(int, renameat, (int from, const char *a, int to, const char *b), (from, a, to, b), CHANGES,
     from, a, -1)
WRAP(int, unlinkat, (int fd, const char *name, int flags), (fd, name, flags), CHANGES, fd, name, -1)
WRAP(int, mkdirat, (int fd, const char *name, mode_t mode), (fd, name, mode), CHANGES, fd, name, -1)
WRAP(int, fstat64, (int fd, struct stat64 *st), (fd, st), LOOKS, fd, NULL, -1)
WRAP(int, fstatat64, (int fd, const char *name, struct stat64 *st, int flags),
     (fd, name, st, flags), LOOKS, fd, name, -1)
WRAP(int, fstatvfs64, (int fd, struct statvfs64 *fs), (fd, fs), LOOKS, fd, NULL, -1)
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode), CHANGES, fd, NULL, -1)

int openat64(int dirfd, const char *path, int flags, ...)
{
	static int (*real)(int, const char *, int, ...);
	if (real == NULL)
		*(void **)(void *)&real = dlsym(RTLD_NEXT, "openat64");
	va_list args;
	va_start(args, flags);
	mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
	va_end(args);
	int code = due((flags & O_CREAT) != 0 ? CHANGES : LOOKS, dirfd, path);
	if (code == 0)
		return real(dirfd, path, flags, mode);
	errno = code;
	return -1;
}

int fcntl64(int fd, int cmd, ...)
{
	static int (*real)(int, int, ...);
	if (real == NULL)
		*(void **)(void *)&real = dlsym(RTLD_NEXT, "fcntl64");
	va_list args;
	va_start(args, cmd);
	void *arg = va_arg(args, void *);
	va_end(args);
	bool lock = cmd == F_OFD_SETLK || cmd == F_OFD_GETLK;
	int code = lock ? due(LOOKS, fd, NULL) : 0;
	if (code == 0)
		return real(fd, cmd, arg);
	errno = code;
	return -1;
}

long syscall(long number, ...)
{
	static long (*real)(long, ...);
	if (real == NULL)
		*(void **)(void *)&real = dlsym(RTLD_NEXT, "syscall");
	long a[6];
	va_list args;
	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	int code = 0;
	if (number == SYS_openat2) {
		bool creates = (((const struct open_how *)a[2])->flags & O_CREAT) != 0;
		code = due(creates ? CHANGES : LOOKS, (int)a[0], (const char *)a[1]);
	}
	if (code == 0)
		return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	errno = code;
	return -1;
}

int clock_gettime(clockid_t id, struct timespec *ret)
{
	static int (*real)(clockid_t, struct timespec *);
	if (real == NULL)
		*(void **)(void *)&real = dlsym(RTLD_NEXT, "clock_gettime");
	int rc = real(id, ret);
	if (rc == 0 && id == CLOCK_REALTIME && wishes != NULL)
		ret->tv_sec += atomic_load(&wishes->wall_offset_s);
	return rc;
}

time_t time(time_t *ret)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (ret != NULL)
		*ret = now.tv_sec;
	return now.tv_sec;
}
