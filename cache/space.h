/* SPDX-License-Identifier: Apache-2.0 */
/* space — keeps a cache directory below its cap and its disk above the floor.
 * Layer: cache/; internal.
 *
 * <dir>/lock holds the account (cache/account.h); who holds byte 0 of that
 * file may read and change it. Inside the process one thread at a time goes
 * in: that is a gate, not a mutex, because it waits for disk and processes.
 *
 * A stale account is replaced by a count of what is there: always when the
 * first store opens a directory that no other has open, so that what killed
 * processes left charged lasts no longer than that, and whenever something
 * has to be evicted, which must look at every file anyhow.
 *
 * A process that was stopped inside its gate must not stop us: after
 * SPACE_LOCK_MS (or what the store was opened with), of one call or of several that
 * ran out of time, we count for ourselves, write no account, and ask for a new count
 * as soon as the lock can be had. Until then nobody of ours waits for it again.
 *
 * Blobs that were unlinked while this process had them open still use the
 * disk. They are in no directory, so they stand in no account; each process
 * adds its own (`orphans`) to what the account says until the last reference
 * goes. Eviction makes none: it passes over what any process has open, since
 * unlinking that would free nothing.
 *
 * Blocking: disk, and other processes up to SPACE_LOCK_MS.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/statvfs.h>

#include "base/call.h"
#include "base/err.h"
#include "base/lock.h"
#include "cache/account.h"

#define SPACE_LOCK_MS 5000

struct store;

/* Blocks that were unlinked and are not shown as free yet. */
struct late {
	uint64_t bytes;
	uint64_t shown; /* free when last looked */
	int64_t until_ms;
};

struct space {
	uint64_t limit_asked, floor;
	int64_t lock_ms;                             /* SPACE_LOCK_MS, or as the store was told */
	int (*ask_disk)(int fd, struct statvfs *fs); /* fstatvfs; tests replace it */
	struct lock lock;
	struct cond free;
	bool busy;           /* guarded by lock: a thread is inside the gate */
	uint64_t orphans;    /* guarded by lock; bytes */
	struct account seen; /* guarded by lock: as the last one left the gate */
	uint64_t seen_limit; /* guarded by lock */
	/* The rest belongs to the thread inside. */
	int fd;      /* <dir>/lock, or -1 */
	bool joined; /* we are among the users of that file */
	bool locked;
	bool owes_count;
	int64_t held_since_ms; /* when the lock was first not to be had; 0: it was, last time */
	int64_t held_last_ms;  /* and when it was looked at last */
	struct account account;
	struct late late;
	uint64_t limit; /* 0: not known before the first count */
};

void space_init(struct space *sp, uint64_t limit, uint64_t floor);
void space_release(struct space *sp);

/* Makes room for a file of `size` bytes of which *charged are in the account
 * already, gives it its blocks where the file system can, and moves *charged
 * to what is in the account now. -EFBIG: beyond the cap; -ENOSPC. */
NODISCARD int space_reserve(struct store *s, int fd, uint64_t size, uint64_t *charged,
			    struct call *call, struct err *err);
/* More of the same after the disk was full all the same: true if any was freed. */
bool space_evict_more(struct store *s, uint64_t bytes);
/* Whether `bytes` more leave the floor, for what is in no account (refs/).
 * Evicts if need be. -ENOSPC. */
NODISCARD int space_spare(struct store *s, uint64_t bytes, struct err *err);
/* A file's share goes from one value to another. */
void space_adjust(struct store *s, uint64_t from, uint64_t to);
/* What a file of that size is charged with before it has its blocks. */
uint64_t space_rounded(uint64_t size);
/* The cap; counts first if it has to. */
uint64_t space_limit(struct store *s);
void space_orphan(struct store *s, uint64_t bytes);
uint64_t space_orphans(struct store *s);
void space_orphan_gone(struct store *s, uint64_t bytes);

/* What was last seen inside, without going in: waits for nobody. */
void space_seen(struct store *s, struct account *ret, uint64_t *ret_limit);

/* The gate, for what has to change files and account in one step. */
NODISCARD int space_enter(struct store *s, struct call *call, struct err *err);
void space_leave(struct store *s);
/* Inside: files that went. */
void space_uncount(struct store *s, uint64_t bytes, uint64_t blobs);
