/* SPDX-License-Identifier: Apache-2.0 */
/* Partials that nobody waits for, the temporary files of killed processes, and records of
 * archives (cache/archives.c) of which nothing is left.
 * What somebody holds locked is never touched. A file that its maker has not
 * locked yet may be taken from under it; makers look for that. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "cache/filelock.h"
#include "cache/store_impl.h"

bool sweep_is_old(const struct stat *st)
{
	int64_t age_ms = clock_wall_ms() - (int64_t)st->st_mtim.tv_sec * 1000;
	/* A time in the future says nothing, and must not keep it for ever. */
	return age_ms >= PARTIAL_SWEEP_MS || age_ms <= -PARTIAL_SWEEP_MS;
}

/* A fetch that was killed between making its file read-only and renaming it:
 * an ordinary user cannot open that for writing, and so not lock it. Nobody
 * else can, so it is enough that nobody has it locked. */
static void sweep_read_only(struct store *s, int dirfd, const char *name)
{
	AUTO_FD int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || filelock_taken(fd) || fstat(fd, &st) < 0)
		return;
	remove_partial(s, name, fd, disk_bytes(&st));
}

static void sweep_file(struct store *s, int dirfd, const char *name)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(st.st_mode))
		return;
	if (!S_ISREG(st.st_mode)) {
		(void)unlinkat(dirfd, name, 0);
		return;
	}
	bool resumable = !path_is_private(name);
	if (resumable && !sweep_is_old(&st))
		return;
	AUTO_FD int fd = openat(dirfd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == EACCES) {
		sweep_read_only(s, dirfd, name);
		return;
	}
	if (fd < 0 || filelock_exclusive(fd, FILELOCK_WRITER) < 0)
		return;
	/* Locked by us, and still what the name shows: only who holds the lock
	 * may rename or remove it, so it stays so. */
	if (!names_file(dirfd, name, fd, &st) || (resumable && !sweep_is_old(&st)))
		return;
	remove_partial(s, name, fd, disk_bytes(&st));
}

static int sweep_entry(void *ctx, int dirfd, const char *name)
{
	sweep_file(ctx, dirfd, name);
	return 0;
}

void sweep(struct store *s)
{
	(void)dirs_each(dirs_open(&s->dirs, PARTIAL_DIR), sweep_entry, s);
	archives_sweep(s);
}
