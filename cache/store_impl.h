/* SPDX-License-Identifier: Apache-2.0 */
/* store_impl — what the files of the store share. Layer: cache/; internal.
 *
 * Locks: store.lock guards the tables and every field of a blob marked with
 * it. It is a leaf: nothing is taken and nothing blocks under it. The locks
 * inside `space` and `worker` are leaves too. The gate of cache/space.h is
 * entered with none of them held.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

/* All keys are digests, which are as good as random already. */
#define HASH_FUNCTION(key, len, hash)                                                              \
	memcpy(&(hash), (const char *)(key) + offsetof(struct digest, bytes), sizeof(hash))
#include <uthash.h>

#include "base/lock.h"
#include "cache/dirs.h"
#include "cache/hashed.h"
#include "cache/space.h"
#include "cache/store.h"
#include "cache/worker.h"

/* Open files kept for blobs that nobody has at the moment. They are pinned
 * against eviction by other processes, so there are few bytes of them, and not for long. */
#define BLOB_IDLE_FDS   64
#define BLOB_IDLE_BYTES (64ull << 20)
#define BLOB_IDLE_MS    10000
/* Blobs in memory that nobody has: each takes a descriptor and a page, however small. Of
 * the descriptors that blobs may have, half at the most. */
#define BLOB_IDLE_MEMORY_MAX 1024
/* Blobs whose hashing is remembered by file identity, without a descriptor. */
#define BLOB_KNOWN_MAX   16384
#define WRONG_FILES_MAX  64
#define BLOB_TOUCH_MS    60000 /* how often the time of use is written down */

#define PARTIAL_SWEEP_MS 600000 /* age at which one that nobody waits for goes */
#define PARTIAL_STALL_MS 10000  /* without progress of another process's */
#define CHUNKS_STALL_MS  1000   /* the same for what is read as it arrives, on either side */
#define PARTIAL_SYNC_MS  60000  /* the same when it is complete: being synced */
#define STORE_TICK_MS    300000
#define STORE_PUT_MAX    (100ull << 20)

#define PARTIAL_DIR      "partial"
#define PARTIAL_NAME_MAX 256

/* What makes a file the same that was hashed. */
struct file_id {
	dev_t dev;
	ino_t ino;
	uint64_t size;
	struct timespec mtime;
};

enum blob_state {
	BLOB_DISK,   /* in blobs/; may be opened again by its name */
	BLOB_FRESH,  /* matched, publishing under way or failed: fd is all there is */
	BLOB_MEMORY, /* in a memfd */
};

enum blob_list { BLOB_NO_LIST, BLOB_IDLE, BLOB_KNOWN, BLOB_IDLE_MEMORY };

TAILQ_HEAD(blob_queue, blob);

struct blob {
	struct job bury; /* first: the worker casts back */
	struct store *store;
	struct digest digest;
	uint64_t size;
	/* Guarded by store.lock; fd stands still while there are references. */
	int fd;
	unsigned refs;
	enum blob_state state;
	enum blob_list list;
	bool in_table;
	struct file_id id;
	uint64_t orphan_bytes;
	int64_t touched_ms, idle_ms; /* idle_ms: since when it is in the list of these */
	TAILQ_ENTRY(blob) link;
	UT_hash_handle hh;
};

struct verifying;

/* A file of blobs/ that is wrong, and would not go. */
struct wrong_file {
	struct digest digest;
	struct file_id id;
};

struct store {
	struct dirs dirs;
	struct space space;
	struct worker worker;
	struct hashed hashed;
	uint64_t memory_budget, open_max, idle_memory_max;
	_Atomic uint64_t evictions, evicted_bytes, verifications, mismatches; /* so far */
	/* PARTIAL_STALL_MS, PARTIAL_SYNC_MS and BLOB_IDLE_MS; tests shorten them. */
	int64_t stall_ms, sync_ms, idle_max_ms;

	struct lock lock;
	struct cond changed; /* a verification or partial of this process ended */
	struct blob *blobs;  /* guarded by lock, as all below */
	struct blob_queue idle, known, idle_memory; /* oldest first */
	uint64_t n_idle, idle_bytes, n_known, n_idle_memory;
	bool idle_watched; /* the worker will look for what is idle for too long */
	uint64_t n_open;   /* blobs that have a descriptor, in the table or not */
	unsigned n_jobs;   /* of the worker that hold a blob, or close one */
	uint64_t memory_bytes;
	struct partial *partials;
	struct verifying *verifying;
	struct wrong_file wrong[WRONG_FILES_MAX]; /* the oldest is replaced */
	unsigned n_wrong;                         /* so far */
	uint64_t publish_failures;
	char last_failure[ERR_TEXT_MAX], memory_cause[ERR_TEXT_MAX];
};

/* store.c: hashes the whole file, by d's algorithm. -ENODATA: the disk does not give it. */
NODISCARD int store_hash(int fd, const struct digest *d, struct call *call, struct digest *ret,
			 struct err *err);

/* paths.c */
#define BLOB_DIR_MAX  16 /* "blobs/sha512" */
#define BLOB_PATH_MAX (BLOB_DIR_MAX + DIGEST_HEX_MAX)
void path_blob_dir(const struct digest *d, char out[BLOB_DIR_MAX]);
void path_blob(const struct digest *d, char out[BLOB_PATH_MAX]);
void path_partial(const struct digest *d, uint64_t size, char out[PARTIAL_NAME_MAX]);
/* A name next to it that nobody else makes: private to one writer. */
void path_private(char name[PARTIAL_NAME_MAX]);
bool path_is_private(const char *name);
/* The size in a partial's name; 0 if it has none. */
uint64_t path_partial_size(const char *name);

/* blob.c: the table of verified blobs */
void file_id_of(const struct stat *st, struct file_id *ret);
bool file_id_equal(const struct file_id *a, const struct file_id *b);
uint64_t disk_bytes(const struct stat *st);
/* 0: *ret is a reference; -EAGAIN: hashed before, see *ret_id, but not open
 * now; -ENOENT: not known. */
NODISCARD int blobs_find(struct store *s, const struct digest *d, struct blob **ret,
			 struct file_id *ret_id);
/* Whether its descriptor is open; its size if so. */
bool blobs_open_size(struct store *s, const struct digest *d, uint64_t *ret);
/* Enters what was hashed. fd is taken over whatever happens; where the table
 * has the blob open already, *ret is that one. -ENOMEM. */
NODISCARD int blobs_add(struct store *s, const struct digest *d, int fd, const struct file_id *id,
			enum blob_state state, struct blob **ret);
/* Whether one more may be opened. blobs_room closes those that nobody has, and waits for those
 * that only the worker has, BLOB_ROOM_MS at the most. -EMFILE: all of `most` are in use. Threads
 * may pass together, so that is not all there is. */
#define BLOB_ROOM_MS 2000
bool blobs_have_room(struct store *s);
NODISCARD int blobs_room(struct store *s, uint64_t most, struct err *err);
/* Around a job of the worker that holds a blob. */
void blobs_job_begins(struct store *s);
void blobs_job_ends(struct store *s);
/* Takes it out of the table; who has it open keeps it. orphan_bytes: what its
 * file, unlinked by us, goes on using while it is open. True if it is open. */
bool blobs_forget(struct store *s, const struct digest *d, uint64_t orphan_bytes);
/* Whether its file is as it was when it was hashed. */
bool blob_is_intact(struct blob *b);
/* Only if it is this very blob: it cannot be trusted to stay what it was. */
void blobs_disown(struct store *s, struct blob *b);
/* False: it was dropped meanwhile and must not keep its name. */
bool blobs_published(struct store *s, struct blob *b);
bool blobs_wanted(struct store *s, const struct blob *b);
/* Its file lost its name and goes on using this much while it is open. */
void blobs_orphan(struct store *s, struct blob *b, uint64_t bytes);
/* Closes what is open for nobody, so that it can be evicted. */
void blobs_close_idle(struct store *s);
/* The worker's: closes what has been so for BLOB_IDLE_MS, and asks to be called for the next. */
void blobs_close_old(struct store *s);
void blobs_release(struct store *s);

/* memory.c: the budget */
NODISCARD int memory_take(struct store *s, uint64_t size, struct err *err);
void memory_return(struct store *s, uint64_t size);
/* What the disk refused went there; `why` is what it said, NULL: nothing. */
void memory_note(struct store *s, const struct err *why);
/* New empty memfd. */
NODISCARD int memory_file(void);
/* Enters one that matched. Takes over fd, and `size` bytes of the budget,
 * whatever happens. */
NODISCARD int memory_blob(struct store *s, const struct digest *d, int fd, uint64_t size,
			  struct blob **ret);

/* put.c: what memory stood in for goes to disk, as far as there is room now. Blobs that somebody
 * has stay where they are. */
void put_settle(struct store *s);

/* open.c: files of the directory */
/* One of those that cache/store.h names, for what a system call said: -EACCES
 * of a local file must not look like a refusal of the registry. */
int store_errno(int code);
/* Whether what an open or file_read_small said means that there is no file of ours behind the
 * name: nothing, or what was planted there. All else is a failure, and no absence. */
bool says_no_file(int code);
/* The blob's file, if it is one that may be there: regular and ours. Others
 * are removed, and -ENOENT. */
NODISCARD int open_blob(struct store *s, const struct digest *d, struct stat *ret_st,
			struct err *err);
/* Whether one is in blobs/, by name only: 0, -ENOENT, or -EIO. */
NODISCARD int open_blob_exists(struct store *s, const struct digest *d, uint64_t *ret_size);
/* The same open file for reading only, even if it has no name any more. */
NODISCARD int open_again(int fd);
/* Unlinks the blob's name if it is (still) the file of id, or if id is NULL
 * whatever it is, and takes it out of the account. Bytes of disk it used. */
uint64_t remove_blob(struct store *s, const struct digest *d, const struct file_id *id);

/* The file of id is wrong: its name goes. False: it could not be removed; from now on it is passed
 * over here, as if there were none. */
bool remove_wrong(struct store *s, const struct digest *d, const struct file_id *id);

/* A new empty file in partial/ under a name of its own, locked by us.
 * name: in, what it is for (path_partial, or a word); out, its name. */
NODISCARD int open_private(struct store *s, char name[PARTIAL_NAME_MAX], struct err *err);
/* Whether the name is (still) this open file, which *ret_st describes. The
 * directory may have been removed, and made anew by another process. */
bool names_file(int dirfd, const char *name, int fd, struct stat *ret_st);
/* A file of partial/ goes, and what was charged for it. If it will not go, that stays charged. */
void remove_partial(struct store *s, const char *name, int fd, uint64_t charged);

/* publish.c */
struct publication {
	struct digest digest;
	char name[PARTIAL_NAME_MAX]; /* in partial/ */
	uint64_t charged;
};
/* Renames a complete partial into blobs/ and settles the account. */
NODISCARD int publish_rename(struct store *s, const struct publication *p, int fd, struct err *err);
/* In the background: rename, sync of the directory. Takes over the writer's fd; keeps a
 * reference to b until done. -ENOMEM: nothing taken. */
NODISCARD int publish_later(struct store *s, const struct publication *p, int fd, struct blob *b);
/* Starts write-back of a part that was just written, in the background. */
void publish_flush(struct store *s, int fd, uint64_t off, uint64_t len);

/* sweep.c: removes what killed processes and abandoned fetches left, and what eviction made
 * worthless. */
void sweep(struct store *s);
bool sweep_is_old(const struct stat *st); /* for so long, nobody is about to use it */

/* archives.c: of layers of which neither tar nor index is left, the records go. */
void archives_sweep(struct store *s);
