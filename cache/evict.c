/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/evict.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

#include "cache/filelock.h"
#include "cache/store_impl.h"

/* The oldest files that one pass remembers; a further pass finds the next. */
#define CANDIDATES_MAX 1024

struct candidate {
	struct timespec used;
	uint64_t bytes;
	size_t dir; /* index of dirs_scanned */
	char name[NAME_MAX + 1];
};

struct scan {
	uint64_t bytes, blobs;
	uint64_t evictable;  /* bytes of unlocked partials and all blobs */
	struct candidate *v; /* room for 2 * CANDIDATES_MAX, or NULL: only count */
	size_t n;
};

static const char *const dirs_scanned[] = {"blobs/sha256", "blobs/sha512", PARTIAL_DIR};
#define DIR_PARTIAL 2

static int by_use(const void *a, const void *b)
{
	const struct timespec *x = &((const struct candidate *)a)->used;
	const struct timespec *y = &((const struct candidate *)b)->used;
	if (x->tv_sec != y->tv_sec)
		return x->tv_sec < y->tv_sec ? -1 : 1;
	return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

static void keep_oldest(struct scan *scan)
{
	qsort(scan->v, scan->n, sizeof(*scan->v), by_use);
	if (scan->n > CANDIDATES_MAX)
		scan->n = CANDIDATES_MAX;
}

static void add_candidate(struct scan *scan, size_t dir, const char *name, const struct stat *st)
{
	if (scan->v == NULL)
		return;
	if (scan->n == 2 * CANDIDATES_MAX)
		keep_oldest(scan);
	struct candidate *c = &scan->v[scan->n++];
	*c = (struct candidate){.used = dir == DIR_PARTIAL ? st->st_mtim : st->st_atim,
				.bytes = disk_bytes(st),
				.dir = dir};
	memcpy(c->name, name, strnlen(name, NAME_MAX));
}

static int open_to_ask(int dirfd, const char *name)
{
	return openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

/* Whether a process fetches, publishes or reads the file. */
static bool is_held(int dirfd, const char *name)
{
	AUTO_FD int fd = open_to_ask(dirfd, name);
	return fd >= 0 && filelock_taken(fd);
}

/* What a file that a living process fetches counts with. */
static uint64_t held_bytes(int dirfd, const char *name, uint64_t on_disk)
{
	AUTO_FD int fd = open_to_ask(dirfd, name);
	uint64_t promised = space_rounded(path_partial_size(name));
	return fd >= 0 && promised > on_disk && filelock_charged(fd) ? promised : on_disk;
}

static void scan_file(struct scan *scan, size_t dir, int dirfd, const char *name)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return;
	uint64_t bytes = disk_bytes(&st);
	if (dir == DIR_PARTIAL && is_held(dirfd, name)) {
		scan->bytes += held_bytes(dirfd, name, bytes);
		return;
	}
	scan->bytes += bytes;
	scan->blobs += dir != DIR_PARTIAL;
	scan->evictable += bytes;
	add_candidate(scan, dir, name, &st);
}

static void scan_dir(struct store *s, struct scan *scan, size_t dir)
{
	int fd = dirs_open(&s->dirs, dirs_scanned[dir]);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	if (d == NULL) {
		auto_close_(&fd);
		return;
	}
	const struct dirent *e;
	while ((e = readdir(d)) != NULL)
		scan_file(scan, dir, fd, e->d_name);
	closedir(d);
}

static void scan_all(struct store *s, struct scan *scan)
{
	scan->bytes = scan->blobs = scan->evictable = 0;
	scan->n = 0;
	for (size_t i = 0; i < ARRAY_LEN(dirs_scanned); i++)
		scan_dir(s, scan, i);
	if (scan->v != NULL)
		keep_oldest(scan);
	s->space.account = (struct account){.bytes = scan->bytes, .blobs = scan->blobs};
}

void evict_count(struct store *s)
{
	struct scan scan = {0};
	scan_all(s, &scan);
}

uint64_t evict_free_bytes(struct store *s)
{
	struct statvfs fs;
	uint64_t bytes = 0;
	if (fstatvfs(s->dirs.fd, &fs) < 0 ||
	    __builtin_mul_overflow((uint64_t)fs.f_bavail, (uint64_t)fs.f_frsize, &bytes))
		return 0;
	return bytes;
}

/* False: somebody holds it, or it went by itself. */
static bool evict_one(struct store *s, const struct candidate *c)
{
	AUTO_FD int dirfd = dirs_open(&s->dirs, dirs_scanned[c->dir]);
	if (dirfd < 0 || is_held(dirfd, c->name) || unlinkat(dirfd, c->name, 0) < 0)
		return false;
	space_uncount(s, c->bytes, c->dir != DIR_PARTIAL);
	return true;
}

/* What has to go still: how far cap and floor are missed. */
static uint64_t excess(struct store *s, uint64_t keep, uint64_t free_wanted)
{
	uint64_t used = s->space.account.bytes;
	uint64_t left = evict_free_bytes(s);
	uint64_t over = used > keep ? used - keep : 0;
	uint64_t short_of = left < free_wanted ? free_wanted - left : 0;
	return over > short_of ? over : short_of;
}

/* One pass over the candidates, oldest first. */
static uint64_t evict_pass(struct store *s, const struct scan *scan, uint64_t keep, uint64_t slack,
			   uint64_t free_wanted)
{
	uint64_t freed = 0;
	for (size_t i = 0; i < scan->n && excess(s, keep - slack, free_wanted) > 0; i++) {
		if (evict_one(s, &scan->v[i]))
			freed += scan->v[i].bytes;
	}
	return freed;
}

uint64_t evict_to(struct store *s, uint64_t keep, uint64_t slack, uint64_t free_wanted)
{
	struct scan scan = {.v = calloc(2 * CANDIDATES_MAX, sizeof(*scan.v))};
	uint64_t total = 0;
	for (;;) {
		scan_all(s, &scan);
		uint64_t need = excess(s, keep, free_wanted);
		if (need == 0 || need > scan.evictable)
			break;
		uint64_t freed = evict_pass(s, &scan, keep, slack, free_wanted);
		total += freed;
		if (freed == 0)
			break;
	}
	free(scan.v);
	return total;
}
