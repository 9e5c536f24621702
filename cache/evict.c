/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/evict.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "cache/filelock.h"
#include "cache/pins.h"
#include "cache/store_impl.h"

/* The oldest files that one pass remembers; a further pass finds the next. */
#define CANDIDATES_MAX 1024
/* How long unlinked blocks that the disk does not show as free are believed to
 * become so: some file systems free them with their next commit. */
#define LATE_MS 60000

struct candidate {
	struct timespec used;
	uint64_t bytes;
	size_t dir; /* index of dirs_scanned */
	char name[NAME_MAX + 1];
};

struct scan {
	uint64_t bytes, blobs;
	bool failed;         /* something is there that could not be looked at */
	bool ask_held;       /* also of each blob, which costs an open */
	uint64_t evictable;  /* bytes of what nobody is known to hold */
	struct candidate *v; /* room for 2 * CANDIDATES_MAX, or NULL: only count */
	size_t n;
};

static const char *const dirs_scanned[] = {"blobs/sha256", "blobs/sha512", PARTIAL_DIR};
#define DIR_PARTIAL 2
static const char *const algorithms[] = {"sha256", "sha512"}; /* of those before it */

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

bool evict_is_held(int dirfd, const char *name)
{
	AUTO_FD int fd = open_to_ask(dirfd, name);
	return fd >= 0 ? filelock_taken(fd) : !says_no_file(-errno);
}

/* What a file that a living process fetches counts with. */
static uint64_t held_bytes(int dirfd, const char *name, uint64_t on_disk)
{
	AUTO_FD int fd = open_to_ask(dirfd, name);
	uint64_t promised = space_rounded(path_partial_size(name));
	return promised > on_disk && (fd < 0 || filelock_charged(fd)) ? promised : on_disk;
}

/* What eviction must leave where it is. */
static bool is_pinned(struct store *s, size_t dir, const char *name)
{
	if (dir == DIR_PARTIAL)
		return false;
	AUTO_FD int pins = pins_open(s, algorithms[dir]);
	return pins_name(pins, name);
}

static void scan_file(struct scan *scan, size_t dir, int dirfd, int pins, const char *name)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		scan->failed = scan->failed || errno != ENOENT;
		return;
	}
	if (!S_ISREG(st.st_mode))
		return;
	uint64_t bytes = disk_bytes(&st);
	bool held = (dir == DIR_PARTIAL || scan->ask_held) && evict_is_held(dirfd, name);
	scan->bytes += held && dir == DIR_PARTIAL ? held_bytes(dirfd, name, bytes) : bytes;
	scan->blobs += dir != DIR_PARTIAL;
	if (held || (dir != DIR_PARTIAL && pins_name(pins, name)))
		return;
	scan->evictable += bytes;
	add_candidate(scan, dir, name, &st);
}

struct scan_dir {
	struct scan *scan;
	size_t dir;
	int pins; /* of pins_open */
};

static int scan_entry(void *ctx, int dirfd, const char *name)
{
	const struct scan_dir *d = ctx;
	scan_file(d->scan, d->dir, dirfd, d->pins, name);
	return 0;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void scan_all(struct store *s, struct scan *scan)
{
	struct account *a = &s->space.account;
	scan->bytes = scan->blobs = scan->evictable = 0;
	scan->n = 0;
	scan->failed = false;
	for (size_t i = 0; i < ARRAY_LEN(dirs_scanned); i++) {
		AUTO_FD int pins = i == DIR_PARTIAL ? -ENOENT : pins_open(s, algorithms[i]);
		struct scan_dir in = {scan, i, pins};
		int rc = dirs_each(dirs_open(&s->dirs, dirs_scanned[i]), scan_entry, &in);
		scan->failed = scan->failed || (rc < 0 && !says_no_file(rc));
	}
	if (scan->v != NULL)
		keep_oldest(scan);
	/* What could not be looked at is there still. */
	a->bytes = scan->failed ? larger(scan->bytes, a->bytes) : scan->bytes;
	a->blobs = scan->failed ? larger(scan->blobs, a->blobs) : scan->blobs;
	a->stale = scan->failed;
}

void evict_count(struct store *s)
{
	struct scan scan = {0};
	scan_all(s, &scan);
}

uint64_t evict_free_shown(const struct store *s)
{
	struct statvfs fs;
	uint64_t bytes = 0;
	if (s->space.ask_disk(s->dirs.fd, &fs) < 0 ||
	    __builtin_mul_overflow((uint64_t)fs.f_bavail, (uint64_t)fs.f_frsize, &bytes))
		return 0;
	return bytes;
}

/* Of what was unlinked, what a disk with `shown` free does not show yet. */
static uint64_t still_late(struct late *l, uint64_t shown)
{
	uint64_t more = shown > l->shown ? shown - l->shown : 0;
	l->shown = shown;
	l->bytes = more < l->bytes && clock_ms() < l->until_ms ? l->bytes - more : 0;
	return l->bytes;
}

uint64_t evict_free_bytes(struct store *s)
{
	uint64_t shown = evict_free_shown(s);
	return shown + still_late(&s->space.late, shown);
}

void evict_free_taken(struct store *s, uint64_t bytes)
{
	struct late *l = &s->space.late;
	l->shown = l->shown > bytes ? l->shown - bytes : 0;
}

static void expect_free(struct store *s, uint64_t bytes)
{
	struct late *l = &s->space.late;
	if (l->bytes == 0)
		l->until_ms = clock_ms() + LATE_MS;
	l->bytes += bytes;
}

/* False: somebody holds it, it is pinned, or it went by itself. */
static bool evict_one(struct store *s, const struct candidate *c)
{
	AUTO_FD int dirfd = dirs_open(&s->dirs, dirs_scanned[c->dir]);
	if (dirfd < 0 || evict_is_held(dirfd, c->name) || is_pinned(s, c->dir, c->name) ||
	    unlinkat(dirfd, c->name, 0) < 0)
		return false;
	space_uncount(s, c->bytes, c->dir != DIR_PARTIAL);
	s->evictions++;
	s->evicted_bytes += c->bytes;
	return true;
}

/* What has to go. */
struct excess {
	uint64_t least; /* for cap and floor */
	uint64_t all;   /* with the slack */
};

static struct excess find_excess(struct store *s, uint64_t keep, uint64_t slack,
				 uint64_t free_wanted)
{
	uint64_t used = s->space.account.bytes;
	uint64_t left = evict_free_bytes(s);
	uint64_t short_of = left < free_wanted ? free_wanted - left : 0;
	uint64_t over = used > keep ? used - keep : 0;
	uint64_t over_slack = used > keep - slack ? used - (keep - slack) : 0;
	return (struct excess){.least = over > short_of ? over : short_of,
			       .all = over_slack > short_of ? over_slack : short_of};
}

/* Whether as much would go if the candidates were evicted now. */
static bool is_enough(struct store *s, const struct scan *scan, uint64_t bytes)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < scan->n && sum < bytes; i++) {
		const struct candidate *c = &scan->v[i];
		AUTO_FD int dirfd = dirs_open(&s->dirs, dirs_scanned[c->dir]);
		if (dirfd >= 0 && !evict_is_held(dirfd, c->name))
			sum += c->bytes;
	}
	return sum >= bytes;
}

/* One pass over the candidates, oldest first. What was unlinked is what counts,
 * not what the disk shows of it by now. */
static uint64_t evict_pass(struct store *s, const struct scan *scan, uint64_t bytes)
{
	uint64_t freed = 0;
	for (size_t i = 0; i < scan->n && freed < bytes; i++) {
		if (evict_one(s, &scan->v[i]))
			freed += scan->v[i].bytes;
	}
	expect_free(s, freed);
	return freed;
}

uint64_t evict_to(struct store *s, uint64_t keep, uint64_t slack, uint64_t free_wanted)
{
	struct scan scan = {.v = calloc(2 * CANDIDATES_MAX, sizeof(*scan.v))};
	uint64_t total = 0;
	for (;;) {
		scan_all(s, &scan);
		struct excess excess = find_excess(s, keep, slack, free_wanted);
		if (excess.least == 0 || excess.least > scan.evictable)
			break;
		/* So many are held that it takes a look at each file to know
		 * what the rest comes to. */
		if (!scan.ask_held && !is_enough(s, &scan, excess.least)) {
			scan.ask_held = true;
			continue;
		}
		uint64_t freed = evict_pass(s, &scan, excess.all);
		total += freed;
		if (freed == 0)
			break;
	}
	free(scan.v);
	return total;
}
