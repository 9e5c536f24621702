/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cache/faults.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* No error: half of what was asked for. */
#define SHORT  (-1)
#define ERRNOS 9

static const struct {
	const char *name;
	bool disk, changes;
	int errnos[ERRNOS]; /* up to the first 0 */
} kinds[FAULT_KINDS] = {
    [FAULT_OPEN] = {"open", true, false, {EIO, EMFILE, ENOMEM, ESTALE, EINTR, ENFILE}},
    [FAULT_CREATE] = {"create",
		      true,
		      true,
		      {ENOSPC, EIO, EDQUOT, EROFS, EMFILE, ENOMEM, ESTALE, EINTR}},
    [FAULT_READ] = {"read", true, false, {EIO, SHORT, EINTR, ESTALE}},
    [FAULT_WRITE] = {"write", true, true, {ENOSPC, EIO, SHORT, EDQUOT, EROFS, EINTR, ESTALE}},
    [FAULT_ALLOCATE] = {"fallocate", true, true, {ENOSPC, EIO, EDQUOT, EOPNOTSUPP, EINTR, EROFS}},
    [FAULT_TRUNCATE] = {"ftruncate", true, true, {EIO, EROFS, ESTALE, EINTR}},
    [FAULT_SYNC] = {"sync", true, false, {EIO, ENOSPC, EDQUOT, ESTALE, EINTR}},
    [FAULT_RENAME] = {"rename", true, true, {ENOSPC, EIO, EDQUOT, EROFS, ESTALE, ENOMEM}},
    [FAULT_UNLINK] = {"unlink", true, true, {EIO, EROFS, ESTALE, ENOMEM}},
    [FAULT_MKDIR] = {"mkdir", true, true, {ENOSPC, EIO, EDQUOT, EROFS, ESTALE, ENOMEM}},
    [FAULT_STAT] = {"stat", true, false, {EIO, ESTALE, ENOMEM}},
    [FAULT_STATFS] = {"statfs", true, false, {EIO, ESTALE, ENOSYS}},
    [FAULT_LOCK] = {"lock", false, false, {ENOLCK, EIO, EAGAIN, EINTR, EINVAL}},
    [FAULT_DESCRIPTOR] = {"descriptor", false, false, {EMFILE, ENOMEM, ENFILE}},
    [FAULT_MODE] = {"mode", true, true, {EIO, EROFS, EPERM, ESTALE}},
    [FAULT_READDIR] = {"readdir", true, false, {EIO, ENOMEM, ESTALE}},
    [FAULT_RANDOM] = {"getrandom", false, false, {EAGAIN, ENOSYS}},
    [FAULT_THREAD] = {"thread", false, false, {EAGAIN}},
    [FAULT_MEMORY] = {"memory", false, false, {ENOMEM}},
    [FAULT_HASH] = {"hash", false, false, {ENOMEM}},
};

static struct fault_plan plan;
static struct fault_report *report;
static pthread_t armer;
static atomic_bool armed;
static atomic_uint calls;
static atomic_long live;
/* Set once by the call that is hit; read only after `armed`. */
static atomic_int sticky_errno;
static __thread bool is_exempt;

const char *fault_kind_name(enum fault_kind kind)
{
	return kinds[kind].name;
}

long faults_live(void)
{
	return atomic_load(&live);
}

void faults_arm(const struct fault_plan *p, struct fault_report *r)
{
	plan = *p;
	report = r;
	armer = pthread_self();
	atomic_store(&calls, 0);
	atomic_store(&sticky_errno, 0);
	atomic_store(&armed, true);
}

void faults_disarm(void)
{
	atomic_store(&armed, false);
}

void faults_exempt(bool exempt)
{
	is_exempt = exempt;
}

static unsigned variants_of(enum fault_kind kind)
{
	unsigned n = 0;
	while (n < ERRNOS && kinds[kind].errnos[n] != 0)
		n++;
	return n;
}

static int hit(enum fault_kind kind)
{
	unsigned n = variants_of(kind);
	int code = kinds[kind].errnos[plan.which % n];
	if ((plan.how == FAULT_KIND_FROM || plan.how == FAULT_DISK_FROM) &&
	    (code == EINTR || code == EAGAIN || code == SHORT))
		code = EIO; /* which no kernel repeats for ever */
	report->hit = true;
	report->kind = kind;
	report->variants = n;
	snprintf(report->what, sizeof(report->what), "%s %s", kinds[kind].name,
		 code == SHORT ? "SHORT" : strerrorname_np(code));
	return code;
}

static bool counts(enum fault_kind kind)
{
	if (!atomic_load(&armed) || is_exempt ||
	    plan.others == (pthread_equal(armer, pthread_self()) != 0))
		return false;
	if (plan.how == FAULT_DIE || plan.how == FAULT_TEAR)
		return kinds[kind].changes;
	return plan.how != FAULT_DISK_FROM || kinds[kind].disk;
}

/* The error that this call has to give; 0: none. */
static int due(enum fault_kind kind)
{
	if (!counts(kind))
		return 0;
	int sticky = atomic_load(&sticky_errno);
	if (sticky != 0)
		return plan.how == FAULT_DISK_FROM || kind == report->kind ? sticky : 0;
	unsigned n = atomic_fetch_add(&calls, 1) + 1;
	report->calls = n;
	if (n != plan.nth)
		return 0;
	int code = hit(kind);
	if (plan.how == FAULT_DIE || (plan.how == FAULT_TEAR && kind != FAULT_WRITE))
		_exit(FAULT_DIED);
	if (plan.how == FAULT_TEAR)
		return SHORT;
	if (plan.how != FAULT_ONCE)
		atomic_store(&sticky_errno, code);
	return code;
}

#define WRAP(type, name, params, args, kind, failure)                                              \
	type __real_##name params;                                                                 \
	type __wrap_##name params;                                                                 \
	type __wrap_##name params                                                                  \
	{                                                                                          \
		int code = due(kind);                                                              \
		if (code == 0)                                                                     \
			return __real_##name args;                                                 \
		errno = code;                                                                      \
		return failure;                                                                    \
	}

/* Transfers of bytes may also be short. */
#define WRAP_BYTES(type, name, params, args, kind, len)                                            \
	type __real_##name params;                                                                 \
	type __wrap_##name params;                                                                 \
	type __wrap_##name params                                                                  \
	{                                                                                          \
		int code = due(kind);                                                              \
		if (code == SHORT)                                                                 \
			len = (len + 1) / 2;                                                       \
		if (code == 0 || code == SHORT) {                                                  \
			type done = __real_##name args;                                            \
			if (code == SHORT && plan.how == FAULT_TEAR)                               \
				_exit(FAULT_DIED);                                                 \
			return done;                                                               \
		}                                                                                  \
		errno = code;                                                                      \
		return -1;                                                                         \
	}

WRAP_BYTES(ssize_t, pread64, (int fd, void *p, size_t len, off_t off), (fd, p, len, off),
	   FAULT_READ, len)
WRAP_BYTES(ssize_t, pwrite64, (int fd, const void *p, size_t len, off_t off), (fd, p, len, off),
	   FAULT_WRITE, len)
WRAP_BYTES(ssize_t, write, (int fd, const void *p, size_t len), (fd, p, len), FAULT_WRITE, len)
WRAP(int, fallocate64, (int fd, int mode, off_t off, off_t len), (fd, mode, off, len),
     FAULT_ALLOCATE, -1)
WRAP(int, ftruncate64, (int fd, off_t len), (fd, len), FAULT_TRUNCATE, -1)
WRAP(int, fsync, (int fd), (fd), FAULT_SYNC, -1)
WRAP(int, fdatasync, (int fd), (fd), FAULT_SYNC, -1)
WRAP(int, sync_file_range, (int fd, off_t off, off_t n, unsigned flags), (fd, off, n, flags),
     FAULT_SYNC, -1)
WRAP(int, renameat, (int from, const char *a, int to, const char *b), (from, a, to, b),
     FAULT_RENAME, -1)
WRAP(int, unlinkat, (int fd, const char *name, int flags), (fd, name, flags), FAULT_UNLINK, -1)
WRAP(int, mkdir, (const char *name, mode_t mode), (name, mode), FAULT_MKDIR, -1)
WRAP(int, mkdirat, (int fd, const char *name, mode_t mode), (fd, name, mode), FAULT_MKDIR, -1)
WRAP(int, fstat64, (int fd, struct stat *st), (fd, st), FAULT_STAT, -1)
WRAP(int, fstatat64, (int fd, const char *name, struct stat *st, int flags), (fd, name, st, flags),
     FAULT_STAT, -1)
WRAP(int, faccessat, (int fd, const char *name, int mode, int flags), (fd, name, mode, flags),
     FAULT_STAT, -1)
WRAP(int, fstatvfs64, (int fd, struct statvfs *fs), (fd, fs), FAULT_STATFS, -1)
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode), FAULT_MODE, -1)
WRAP(int, futimens, (int fd, const struct timespec times[2]), (fd, times), FAULT_MODE, -1)
WRAP(int, dup3, (int from, int to, int flags), (from, to, flags), FAULT_DESCRIPTOR, -1)
WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags), FAULT_DESCRIPTOR, -1)
WRAP(DIR *, fdopendir, (int fd), (fd), FAULT_DESCRIPTOR, NULL)
WRAP(struct dirent *, readdir64, (DIR * d), (d), FAULT_READDIR, NULL)
WRAP(ssize_t, getrandom, (void *buf, size_t len, unsigned flags), (buf, len, flags), FAULT_RANDOM,
     -1)
WRAP(int, pthread_create,
     (pthread_t * t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg),
     (t, attr, fn, arg), FAULT_THREAD, EAGAIN)
WRAP(EVP_MD_CTX *, EVP_MD_CTX_new, (void), (), FAULT_HASH, NULL)
WRAP(int, EVP_DigestUpdate, (EVP_MD_CTX * ctx, const void *p, size_t len), (ctx, p, len),
     FAULT_HASH, 0)
WRAP(int, EVP_DigestFinal_ex, (EVP_MD_CTX * ctx, unsigned char *out, unsigned *n), (ctx, out, n),
     FAULT_HASH, 0)
WRAP(int, EVP_Digest,
     (const void *p, size_t len, unsigned char *out, unsigned *n, const EVP_MD *md, ENGINE *e),
     (p, len, out, n, md, e), FAULT_HASH, 0)

/* ---- calls of many forms ---- */

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __real_openat64(int dirfd, const char *path, int flags, ...);
int __wrap_openat64(int dirfd, const char *path, int flags, ...);
int __real_fcntl64(int fd, int cmd, ...);
int __wrap_fcntl64(int fd, int cmd, ...);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

static int fail_open(int flags)
{
	return due((flags & O_CREAT) != 0 ? FAULT_CREATE : FAULT_OPEN);
}

int __wrap_open64(const char *path, int flags, ...)
{
	va_list args;
	va_start(args, flags);
	mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
	va_end(args);
	int code = fail_open(flags);
	errno = code;
	return code != 0 ? -1 : __real_open64(path, flags, mode);
}

int __wrap_openat64(int dirfd, const char *path, int flags, ...)
{
	va_list args;
	va_start(args, flags);
	mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
	va_end(args);
	int code = fail_open(flags);
	errno = code;
	return code != 0 ? -1 : __real_openat64(dirfd, path, flags, mode);
}

int __wrap_fcntl64(int fd, int cmd, ...)
{
	va_list args;
	va_start(args, cmd);
	void *arg = va_arg(args, void *);
	va_end(args);
	int code = 0;
	if (cmd == F_OFD_SETLK || cmd == F_OFD_GETLK)
		code = due(FAULT_LOCK);
	else if (cmd == F_DUPFD_CLOEXEC)
		code = due(FAULT_DESCRIPTOR);
	errno = code;
	return code != 0 ? -1 : __real_fcntl64(fd, cmd, arg);
}

long __wrap_syscall(long number, ...)
{
	long a[6];
	va_list args;
	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	int code = 0;
	if (number == SYS_openat2)
		code = fail_open((int)((const struct open_how *)a[2])->flags);
	errno = code;
	return code != 0 ? -1 : __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- memory ---- */

#define WRAP_MEMORY(name, params, args)                                                            \
	void *__real_##name params;                                                                \
	void *__wrap_##name params;                                                                \
	void *__wrap_##name params                                                                 \
	{                                                                                          \
		if (due(FAULT_MEMORY) != 0) {                                                      \
			errno = ENOMEM;                                                            \
			return NULL;                                                               \
		}                                                                                  \
		void *p = __real_##name args;                                                      \
		if (p != NULL)                                                                     \
			atomic_fetch_add(&live, 1);                                                \
		return p;                                                                          \
	}

WRAP_MEMORY(malloc, (size_t n), (n))
WRAP_MEMORY(calloc, (size_t n, size_t size), (n, size))
WRAP_MEMORY(strdup, (const char *s), (s))

#define WRAP_GROW(name, params, args)                                                              \
	void *__real_##name params;                                                                \
	void *__wrap_##name params;                                                                \
	void *__wrap_##name params                                                                 \
	{                                                                                          \
		bool is_new = old == NULL;                                                         \
		if (due(FAULT_MEMORY) != 0) {                                                      \
			errno = ENOMEM;                                                            \
			return NULL;                                                               \
		}                                                                                  \
		void *p = __real_##name args;                                                      \
		if (p != NULL && is_new)                                                           \
			atomic_fetch_add(&live, 1);                                                \
		return p;                                                                          \
	}

WRAP_GROW(realloc, (void *old, size_t n), (old, n))
WRAP_GROW(reallocarray, (void *old, size_t n, size_t size), (old, n, size))

void __real_free(void *p);
void __wrap_free(void *p);
void __wrap_free(void *p)
{
	if (p != NULL)
		atomic_fetch_sub(&live, 1);
	__real_free(p);
}
