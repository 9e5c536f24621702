/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/space.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/units.h"
#include "cache/evict.h"
#include "cache/filelock.h"
#include "cache/store_impl.h"

#define LOCK_FILE     "lock"
#define BLOCK         4096u
#define POLL_FIRST_MS 1
#define POLL_MAX_MS   50
/* How often a disk that is full all the same is made emptier before giving up. */
#define FULL_TRIES 3
/* An eviction frees this part of the cap more than asked, so that a full
 * cache is not counted again for every blob. */
#define SLACK_PART 32

void space_init(struct space *sp, uint64_t limit, uint64_t floor)
{
	*sp = (struct space){.limit_asked = limit,
			     .limit = limit,
			     .floor = floor,
			     .lock_ms = SPACE_LOCK_MS,
			     .ask_disk = fstatvfs,
			     .fd = -1};
	lock_init(&sp->lock);
	cond_init(&sp->free);
}

void space_release(struct space *sp)
{
	auto_close_(&sp->fd);
	cond_release(&sp->free);
	lock_release(&sp->lock);
}

uint64_t space_rounded(uint64_t size)
{
	uint64_t up;
	if (__builtin_add_overflow(size, BLOCK - 1, &up))
		return UINT64_MAX;
	return up / BLOCK * BLOCK;
}

static uint64_t add_capped(uint64_t a, uint64_t b)
{
	uint64_t sum;
	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static uint64_t sub_floored(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* A timed wait that nobody ends: other processes cannot signal us. */
static void pause_ms(struct space *sp, int64_t ms)
{
	lock_take(&sp->lock);
	(void)cond_wait_until(&sp->free, &sp->lock, clock_ms() + ms);
	lock_drop(&sp->lock);
}

static int open_lock_file(struct store *s)
{
	struct space *sp = &s->space;
	struct stat st;
	if (sp->fd >= 0 && fstat(sp->fd, &st) == 0 && st.st_nlink > 0)
		return 0;
	auto_close_(&sp->fd);
	sp->fd = -1;
	int flags = O_RDWR | O_CREAT | O_NONBLOCK;
	AUTO_FD int fd = file_open_beneath(s->dirs.fd, LOCK_FILE, flags, 0600);
	if (fd == -ENOENT && dirs_revive(&s->dirs, NULL) == 0)
		fd = file_open_beneath(s->dirs.fd, LOCK_FILE, flags, 0600);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -EIO;
	sp->fd = steal_fd(&fd);
	/* Nothing that this process knew about another file's account holds. */
	sp->owes_count = false;
	sp->joined = false;
	sp->held_since_ms = 0;
	return 0;
}

/* With the account locked: we are among the users from now on. The first of them
 * asks for a new count: nobody who charged something before is alive. So does
 * one who cannot find out. */
static void join_users(struct space *sp)
{
	if (filelock_exclusive(sp->fd, FILELOCK_USERS) != -EAGAIN)
		sp->owes_count = true;
	(void)filelock_shared(sp->fd, FILELOCK_USERS);
	sp->joined = true;
}

/* Whether the lock that is not to be had has been another's for lock_ms, in this call and those
 * before it that had less time. */
static bool is_stuck(struct space *sp)
{
	int64_t now = clock_ms();
	bool given_up = sp->held_last_ms - sp->held_since_ms >= sp->lock_ms;
	/* Where nobody looked for so long it may have been free meanwhile; but who has waited once
	 * does not begin anew. */
	if (sp->held_since_ms == 0 || (!given_up && now - sp->held_last_ms >= sp->lock_ms))
		sp->held_since_ms = now;
	sp->held_last_ms = now;
	return now - sp->held_since_ms >= sp->lock_ms;
}

static int lock_account(struct store *s, struct call *call, struct err *err)
{
	struct space *sp = &s->space;
	int64_t wait_ms = POLL_FIRST_MS;
	while (open_lock_file(s) == 0) {
		int rc = filelock_exclusive(sp->fd, FILELOCK_ACCOUNT);
		if (rc == 0) {
			sp->locked = true;
			sp->held_since_ms = 0;
			if (!sp->joined)
				join_users(sp);
			return 0;
		}
		if (rc != -EAGAIN || is_stuck(sp))
			break;
		rc = call != NULL ? call_check(call, err) : 0;
		if (rc < 0)
			return rc;
		pause_ms(sp, wait_ms);
		wait_ms = wait_ms * 2 < POLL_MAX_MS ? wait_ms * 2 : POLL_MAX_MS;
	}
	sp->locked = false;
	return 0;
}

static void read_account(struct store *s)
{
	struct space *sp = &s->space;
	char text[ACCOUNT_LEN + 1];
	int64_t n = sp->locked ? file_pread_full(sp->fd, text, sizeof(text), 0) : -1;
	/* Read also where it is counted anew: not all may be there to be counted. */
	bool known = n >= 0 && account_parse(text, (size_t)n, &sp->account) == 0;
	if (!known || sp->owes_count || sp->account.stale)
		evict_count(s);
	if (sp->locked)
		sp->owes_count = false;
	if (sp->limit == 0) {
		uint64_t part = add_capped(evict_free_bytes(s), sp->account.bytes) / 4;
		if (part < STORE_LIMIT_LEAST)
			part = STORE_LIMIT_LEAST;
		sp->limit = part < STORE_LIMIT_DEFAULT ? part : STORE_LIMIT_DEFAULT;
	}
}

/* A lock that cannot be given back would keep every other process waiting until we come here
 * again: it goes with its open file. */
static void unlock_account(struct space *sp)
{
	if (filelock_drop(sp->fd, FILELOCK_ACCOUNT) < 0) {
		auto_close_(&sp->fd);
		sp->fd = -1;
	}
	sp->locked = false;
}

static void open_gate(struct space *sp)
{
	lock_take(&sp->lock);
	sp->seen = sp->account;
	sp->seen_limit = sp->limit;
	sp->busy = false;
	cond_broadcast(&sp->free);
	lock_drop(&sp->lock);
}

int space_enter(struct store *s, struct call *call, struct err *err)
{
	struct space *sp = &s->space;
	lock_take(&sp->lock);
	while (sp->busy) {
		(void)cond_wait_until(&sp->free, &sp->lock, clock_ms() + POLL_MAX_MS);
		if (call == NULL || !sp->busy)
			continue;
		lock_drop(&sp->lock);
		int rc = call_check(call, err);
		if (rc < 0)
			return rc;
		lock_take(&sp->lock);
	}
	sp->busy = true;
	lock_drop(&sp->lock);

	int rc = lock_account(s, call, err);
	if (rc < 0) {
		open_gate(sp);
		return rc;
	}
	read_account(s);
	return 0;
}

void space_leave(struct store *s)
{
	struct space *sp = &s->space;
	if (sp->locked) {
		char text[ACCOUNT_LEN + 1];
		account_format(&sp->account, text);
		/* An account that cannot be written is counted anew next time, by whoever comes:
		 * what stands there is no upper bound any more. */
		if (file_pwrite_all(sp->fd, text, ACCOUNT_LEN, 0) < 0) {
			sp->owes_count = true;
			(void)!ftruncate(sp->fd, 0);
		}
		unlock_account(sp);
	} else {
		sp->owes_count = true;
	}
	open_gate(sp);
}

void space_seen(struct store *s, struct account *ret, uint64_t *ret_limit)
{
	struct space *sp = &s->space;
	lock_take(&sp->lock);
	*ret = sp->seen;
	*ret_limit = sp->seen_limit != 0 ? sp->seen_limit : sp->limit_asked;
	lock_drop(&sp->lock);
}

uint64_t space_orphans(struct store *s)
{
	struct space *sp = &s->space;
	lock_take(&sp->lock);
	uint64_t bytes = sp->orphans;
	lock_drop(&sp->lock);
	return bytes;
}

void space_orphan(struct store *s, uint64_t bytes)
{
	struct space *sp = &s->space;
	lock_take(&sp->lock);
	sp->orphans += bytes;
	lock_drop(&sp->lock);
}

void space_orphan_gone(struct store *s, uint64_t bytes)
{
	struct space *sp = &s->space;
	lock_take(&sp->lock);
	ASSERT(sp->orphans >= bytes);
	sp->orphans -= bytes;
	lock_drop(&sp->lock);
}

void space_uncount(struct store *s, uint64_t bytes, uint64_t blobs)
{
	struct account *a = &s->space.account;
	a->bytes = sub_floored(a->bytes, bytes);
	a->blobs = sub_floored(a->blobs, blobs);
}

void space_adjust(struct store *s, uint64_t from, uint64_t to)
{
	if (space_enter(s, NULL, NULL) < 0)
		return;
	struct account *a = &s->space.account;
	a->bytes = add_capped(sub_floored(a->bytes, from), to);
	space_leave(s);
}

uint64_t space_limit(struct store *s)
{
	/* Only the gate may look at what is computed inside it. */
	if (s->space.limit_asked != 0)
		return s->space.limit_asked;
	if (space_enter(s, NULL, NULL) < 0)
		return STORE_LIMIT_DEFAULT;
	uint64_t limit = s->space.limit;
	space_leave(s);
	return limit;
}

/* Inside. Whether `need` bytes more keep to cap and floor. */
static bool has_room(struct store *s, uint64_t need)
{
	struct space *sp = &s->space;
	uint64_t used = add_capped(sp->account.bytes, space_orphans(s));
	return add_capped(used, need) <= sp->limit &&
	       evict_free_bytes(s) >= add_capped(sp->floor, need);
}

/* Inside. */
static bool make_room(struct store *s, uint64_t need)
{
	struct space *sp = &s->space;
	if (has_room(s, need))
		return true;
	uint64_t taken = add_capped(need, space_orphans(s));
	if (taken > sp->limit)
		return false;
	blobs_close_idle(s);
	uint64_t keep = sp->limit - taken;
	uint64_t slack = sp->limit / SLACK_PART;
	(void)evict_to(s, keep, slack < keep ? slack : 0, add_capped(sp->floor, need));
	return has_room(s, need);
}

/* Blocks for the whole file, so that no other writer can take them. 0 also
 * where the file system cannot do that: then each write finds out. */
static int allocate(int fd, uint64_t size)
{
	if (size == 0)
		return 0;
	for (;;) {
		if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size) == 0)
			return 0;
		if (errno == ENOSPC || errno == EDQUOT)
			return -ENOSPC;
		if (errno != EINTR)
			return 0;
	}
}

static int no_room(struct store *s, uint64_t size, struct err *err)
{
	char want[UNITS_SIZE_MAX], used[UNITS_SIZE_MAX], cap[UNITS_SIZE_MAX];
	char left[UNITS_SIZE_MAX], floor[UNITS_SIZE_MAX];
	units_format_size(size, want);
	units_format_size(s->space.account.bytes, used);
	units_format_size(s->space.limit, cap);
	units_format_size(evict_free_bytes(s), left);
	units_format_size(s->space.floor, floor);
	return err_set(err, -ENOSPC,
		       "no room for %s in the cache %s: it holds %s of at most %s, its disk has %s "
		       "free and keeps %s",
		       want, s->dirs.path, used, cap, left, floor);
}

static int reserve_inside(struct store *s, int fd, uint64_t size, uint64_t *charged,
			  struct err *err)
{
	struct space *sp = &s->space;
	if (size > sp->limit) {
		char want[UNITS_SIZE_MAX], cap[UNITS_SIZE_MAX];
		units_format_size(size, want);
		units_format_size(sp->limit, cap);
		return err_set(err, -EFBIG, "%s are more than the cache may hold (%s)", want, cap);
	}
	uint64_t need = sub_floored(space_rounded(size), *charged);
	int rc = -ENOSPC;
	for (int i = 0; rc < 0 && i < FULL_TRIES; i++) {
		if (!make_room(s, need))
			break;
		rc = allocate(fd, size);
		/* Quotas and reserved blocks: statfs promised too much. */
		if (rc < 0 && evict_to(s, UINT64_MAX, 0, evict_free_bytes(s) + need) == 0)
			break;
	}
	if (rc < 0)
		return no_room(s, size, err);
	struct stat st;
	uint64_t on_disk = fstat(fd, &st) == 0 ? disk_bytes(&st) : 0;
	uint64_t total = on_disk > space_rounded(size) ? on_disk : space_rounded(size);
	sp->account.bytes = add_capped(sub_floored(sp->account.bytes, *charged), total);
	*charged = total;
	evict_free_taken(s, need);
	(void)filelock_shared(fd, FILELOCK_CHARGED);
	return 0;
}

int space_reserve(struct store *s, int fd, uint64_t size, uint64_t *charged, struct call *call,
		  struct err *err)
{
	int rc = space_enter(s, call, err);
	if (rc < 0)
		return rc;
	rc = reserve_inside(s, fd, size, charged, err);
	space_leave(s);
	return rc;
}

int space_spare(struct store *s, uint64_t bytes, struct err *err)
{
	uint64_t wanted = add_capped(s->space.floor, space_rounded(bytes));
	/* Mostly there is plenty, and nobody has to be waited for. */
	if (evict_free_shown(s) >= wanted)
		return 0;
	int rc = space_enter(s, NULL, err);
	if (rc < 0)
		return rc;
	if (evict_free_bytes(s) < wanted) {
		blobs_close_idle(s);
		(void)evict_to(s, UINT64_MAX, 0, wanted);
	}
	if (evict_free_bytes(s) < wanted)
		rc = no_room(s, bytes, err);
	else
		evict_free_taken(s, space_rounded(bytes));
	space_leave(s);
	return rc;
}

bool space_evict_more(struct store *s, uint64_t bytes)
{
	if (space_enter(s, NULL, NULL) < 0)
		return false;
	blobs_close_idle(s);
	uint64_t freed = evict_to(s, UINT64_MAX, 0, evict_free_bytes(s) + bytes);
	space_leave(s);
	return freed > 0;
}
