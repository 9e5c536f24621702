/* SPDX-License-Identifier: Apache-2.0 */
/* store — blobs on disk, keyed by digest. Layer: cache/; includes only base/.
 *
 * A cache directory is one trust domain of one user; any number of that
 * user's processes share it. Only bytes that matched their digest in this
 * process leave it.
 *
 *	<dir>/blobs/<alg>/<hex>    complete; 0444; made by rename only
 *	<dir>/partial/…            being fetched, with how much of it is there
 *	<dir>/pins/<alg>/<hex>     eviction passes over that blob (cache/pins.h)
 *	<dir>/lock                 held (OFD) while space is accounted
 *
 * Life of an entry
 *
 *	ABSENT     store_get: -ENOENT
 *	PARTIAL    a struct partial has it open; a lock on the file keeps other
 *	           processes out and dies with its holder; bytes on disk are
 *	           untrusted, and are hashed again when a fetch resumes
 *	PRESENT    in blobs/, not yet hashed by this process, nor, of one mount, by one
 *	           before it: store_get gives -EAGAIN, store_verify hashes it (disk
 *	           time, no network)
 *	VERIFIED   struct blob: an open file whose bytes matched. Eviction and
 *	           other processes only unlink names, so it stays readable.
 *
 * A commit syncs what matched and makes it VERIFIED: the caller may serve it at
 * once, while a thread of the store renames it into blobs/. A crash in between
 * leaves a partial, nothing wrong.
 *
 * Calling sequence
 *
 *	store_get → 0: use, blob_unref
 *	          → -EAGAIN: store_verify, on a thread that may wait for the disk
 *	          → -ENOENT: store_partial → write what is missing → commit
 *
 * Space. The cap counts what the directory holds on disk, partials included;
 * the floor is what must stay free on its file system. Both are made to hold
 * before anything is written: store_partial reserves the whole size, evicting
 * least recently used blobs that no process has open, unlinking which would
 * free nothing, and that are not pinned. Where the disk refuses all the same, the blob goes to
 * memory (a memfd) within memory_budget, else -ENOSPC.
 *
 * Descriptors. Each blob that somebody has is an open file, and so are some that somebody had
 * within the last seconds. There are open_max of them: those that nobody has are closed first, and
 * then store_verify, store_partial and store_put are -EMFILE; store_get, which waits for nobody, is
 * -EAGAIN.
 *
 * Threads: every function from any thread. store_get never waits for more
 * than a directory lookup; the others may block on the disk, store_partial
 * and store_verify also on another thread or process, until their call ends.
 *
 * Errors: -ENOENT not there · -EAGAIN not yet hashed · -EBADMSG bytes do not
 * match, and have been dropped · -EFBIG larger than the cap could ever hold ·
 * -ENOSPC no room on disk nor in the memory budget · -EEXIST published by
 * somebody else meanwhile · -ECANCELED, -ETIMEDOUT the call · -ENOMEM · -EIO
 * local fault, which says nothing of what is there · from store_open also
 * -EACCES: the directory is another's, or others may write to it. A directory
 * that vanishes is made anew.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/call.h"
#include "base/digest.h"
#include "base/err.h"

struct store;
struct blob;
struct partial;

struct store_options {
	const char *dir;        /* absolute; made 0700, with its parents */
	uint64_t limit;         /* cap in bytes; 0: the default of the design */
	uint64_t floor;         /* free bytes to leave; 0: STORE_FLOOR_DEFAULT */
	uint64_t memory_budget; /* bytes; 0: STORE_MEMORY_DEFAULT */
	uint64_t open_max;      /* blobs that are open at once; 0: half the soft limit of open
				 * files, STORE_OPEN_LEAST at least */
	int64_t lock_ms;        /* how long a process that has the account, and is stopped, is
				 * waited for; 0: SPACE_LOCK_MS */
};

#define STORE_OPEN_LEAST    32

#define STORE_LIMIT_DEFAULT (10ull << 30)
/* The default of a disk that happens to be full: what there is room for is the
 * floor's to say, and may change. */
#define STORE_LIMIT_LEAST (256ull << 20)
/* Or a twentieth of the file system, if that is less. */
#define STORE_FLOOR_DEFAULT  (256ull << 20)
#define STORE_MEMORY_DEFAULT (64ull << 20)

NODISCARD int store_open(const struct store_options *o, struct store **ret, struct err *err);
/* STORE_HASHED_LEN bytes, zero at first, for the processes of one mount that follow one another:
 * what one of them has hashed, the next does not hash again. NULL: give them back. */
#define STORE_HASHED_LEN (576u << 10)
void store_share_hashed(struct store *s, void *memory);
/* Starts the store's own thread: sweeps begin. The first blob that is written
 * would start it too. Until then there is none, so a process may fork. */
NODISCARD int store_start(struct store *s, struct err *err);
/* Waits for syncs under way, at most STORE_CLOSE_MS. No blob or partial may
 * be left. NULL is fine. */
#define STORE_CLOSE_MS 3000
void store_close(struct store *s);
/* The open directory, for cache/refs; borrowed. */
int store_dirfd(const struct store *s);

struct store_usage {
	char dir[4096];
	uint64_t bytes, limit, floor;
	uint64_t blobs;        /* complete ones */
	uint64_t memory_bytes; /* held in memory for want of disk */
	uint64_t open, open_max;
	/* Since the store was opened: */
	uint64_t evictions, evicted_bytes; /* files that this process unlinked for room */
	uint64_t verifications;            /* what was there and was hashed, whatever came of it */
	uint64_t mismatches; /* bytes, there or arriving, that were not the digest's */
	/* Blobs that were served but could not be put into blobs/, since the
	 * store was opened, and why the last one could not ("" if none). */
	uint64_t publish_failures;
	char last_failure[ERR_TEXT_MAX];
	/* Why the disk did not take what went to memory last ("" if nothing did). */
	char memory_cause[ERR_TEXT_MAX];
};
/* As of the last change that this process made or looked at: waits for nobody. */
void store_usage(struct store *s, struct store_usage *ret);

/* New reference in *ret. */
NODISCARD int store_get(struct store *s, const struct digest *d, struct blob **ret,
			struct err *err);
NODISCARD int store_verify(struct store *s, const struct digest *d, struct call *call,
			   struct blob **ret, struct err *err);
/* Whether it is PRESENT or VERIFIED, without a reference; its size if so. */
bool store_has(struct store *s, const struct digest *d, uint64_t *ret_size);
/* Drops it by name: readers keep what they have open. */
void store_drop(struct store *s, const struct digest *d);

/* What was read into memory and belongs to the cache (manifests). -EBADMSG
 * if the bytes are not the digest's. */
NODISCARD int store_put(struct store *s, const struct digest *d, const void *data, size_t len,
			struct blob **ret, struct err *err);

int blob_fd(const struct blob *b); /* read-only, borrowed: pread and passthrough */
uint64_t blob_size(const struct blob *b);
const struct digest *blob_digest(const struct blob *b);
struct blob *blob_ref(struct blob *b);
void blob_unref(struct blob *b); /* NULL is fine */

/* Opens the one partial of this digest, alone in this process and among all:
 * waits, within the call, while another thread or process has it, so the thread
 * that has one must not ask for it again. size is the descriptor's, exact.
 * What an earlier fetch left is hashed first; if the call ends that, it stays. */
NODISCARD int store_partial(struct store *s, const struct digest *d, uint64_t size,
			    struct call *call, struct partial **ret, struct err *err);
/* The same for bytes whose size is not known before their end, as of what is
 * unpacked here. Room is made as they come: partial_write beyond the cap is -EFBIG.
 * d may be just an algorithm, without bytes: then they are whatever they turn out to
 * be (blob_digest). Nobody is kept from making the same at once, nothing is there at
 * first, and partial_close keeps nothing. */
NODISCARD int store_unsized(struct store *s, const struct digest *d, struct partial **ret,
			    struct err *err);
/* How many bytes from the start are there already. */
uint64_t partial_have(const struct partial *p);
/* Appends and hashes. -EFBIG: beyond size (nothing of it is kept). */
NODISCARD int partial_write(struct partial *p, const void *data, size_t len, struct err *err);
/* Forgets what is there: the next write is at 0. */
NODISCARD int partial_restart(struct partial *p, struct err *err);
/* Ends p whatever happens. Short or not matching: -EBADMSG, dropped. */
NODISCARD int partial_commit(struct partial *p, struct blob **ret, struct err *err);
/* Keeps the bytes for a resume: those written, and those found when it was
 * opened. In memory, or beside a process that is stuck, it is not resumed.
 * NULL is fine. */
void partial_close(struct partial *p);
void partial_drop(struct partial *p); /* NULL is fine */
