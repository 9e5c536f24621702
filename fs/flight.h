/* SPDX-License-Identifier: Apache-2.0 */
/* flight — one piece of work, however many requests wait for it. Layer: fs/.
 *
 * A want names what a request is missing. The first request that wants it
 * starts a flight: a job in a pool. All others join. When the job is done,
 * every waiter is resumed, and runs its operation again from the start: now it
 * finds what it missed, or carries the failure to its caller.
 *
 * Life of a flight
 *
 *	waiter_watch     once for each waiter, before anything may interrupt it
 *	flight_park      found or made, waiter added, job queued
 *	job              runs in a pool's thread, with no lock held
 *	finished         taken out of the table, then each waiter's resume() runs
 *	                 in the job's thread
 *	left             a waiter that ran out of time is resumed with what the
 *	                 host said last (base/call.h), or else with -ETIMEDOUT, and
 *	                 the flight goes on: what it brings is kept. A waiter
 *	                 that was given up gets -EINTR, and with the last of these
 *	                 the flight's call is cancelled.
 *	waiter_unwatch   once, when the waiter will not park again
 *	joined late      a flight that was cancelled and then wanted again runs a
 *	                 second time
 *
 * A waiter is resumed exactly once per flight_park, by whoever takes it out of
 * its flight under the lock: the job, the watch thread, or flights_stop. From
 * the moment flight_park is called the waiter may be gone at any time.
 *
 * The watch thread resumes waiters whose time has come, and looks at the
 * callers of interrupted ones (fs/signals.h) at once and then every
 * WATCH_MS until they are answered or let go. The kernel's reading ahead is no call of
 * anybody, and is not interrupted when he for whom it was done is killed, but keeps his file open:
 * so of a READ it looks every UNHEARD_MS whether its caller lives. Who waits for the same page
 * reads it himself then.
 *
 * Threads: any. Locks: one for table, waiters and watch; a leaf. resume(), jobs
 * and /proc are outside it. waiter_interrupt() only takes the lock, so
 * libfuse may call it with its own locks held. The lock is held over call_cancel,
 * whose wakers only signal.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/call.h"
#include "base/digest.h"
#include "base/err.h"
#include "registry/reference.h"
#include "registry/source.h"

struct blob;
struct pool;

#define WATCH_MS   100
#define UNHEARD_MS 1000 /* how often the callers of waiters are looked at that are `unheard` */

/* How many times the time of one call a transfer may wait for its turn while others
 * bring bytes. */
#define FLIGHT_TURNS 20

enum want_kind {
	WANT_TAG = 1,   /* what repo:tag names now */
	WANT_DIGEST,    /* the same, without its manifest where that is not known */
	WANT_MANIFEST,  /* the parsed manifest repo@digest */
	WANT_NAMED,     /* whether repo has the digest, and its size */
	WANT_BLOB,      /* the verified bytes of digest, from any repository that has it */
	WANT_REPO,      /* whether repo exists */
	WANT_TAGS,      /* the tag listing of repo */
	WANT_CATALOG,   /* the list of repositories */
	WANT_REFERRERS, /* who refers to repo@digest */
	WANT_PACKAGES,  /* where the registry keeps Wasm packages */
	WANT_INDEX,     /* index.json of repo: brings a blob */
	WANT_ROOTFS,    /* the merged layers of the image repo@digest (fs/layers.h) */
	WANT_LAYER,     /* what lies in layer number `layer` of it (fs/layers.h) */
	WANT_MEMBER,    /* the bytes of a member of that layer: brings a blob */
	WANT_CHUNK, /* chunk number `layer` of a blob that is read as it arrives (fs/stream.h) */
};

/* Zeroed, then filled: hashed and compared as a whole. */
struct want {
	enum want_kind kind;
	char repo[REPOSITORY_MAX]; /* "" for WANT_BLOB and WANT_CATALOG */
	char tag[TAG_MAX + 1];
	struct digest digest;
	uint64_t size;        /* WANT_BLOB, WANT_MEMBER, WANT_CHUNK */
	uint64_t layer;       /* WANT_LAYER, WANT_MEMBER, WANT_CHUNK */
	struct digest member; /* WANT_MEMBER */
	/* Set by fetch_park: what the cache has is brought by another flight than
	 * what must be fetched, so that it never waits behind the network. */
	bool local;
};

/* Whether both miss the same thing, wherever it comes from. */
bool want_equal(const struct want *a, const struct want *b);
/* Who is asked for what, as a person would write it; repo: that of a WANT_BLOB. */
void want_describe(const struct want *w, const char *title, const char *repo, char *out,
		   size_t room);

struct flight;

/* Embedded in a parked request. Filled in by the caller: */
struct waiter {
	/* clock_ms(): resumed as too late, unless bytes are flowing, or it waits for its
	 * turn while those of others are. */
	int64_t deadline_ms;
	int64_t soft_ms; /* after the flight has taken this long: resumed with
			  * FLIGHT_SLOW; 0: never */
	bool strict;     /* deadline_ms holds although bytes are flowing */
	bool impatient;  /* deadline_ms holds although it waits for its turn */
	/* Looked at every that long, unless the disk is at work: resumed with FLIGHT_CRAWLS if
	 * less than FLIGHT_PACE_BYTES_S came meanwhile, FLIGHT_SILENT if nothing, FLIGHT_QUEUED if
	 * it waits for its turn; 0: never */
	int64_t pace_ms;
	uint64_t
	    brought;  /* set when it is resumed: what its flight has received, as flight_progress */
	pid_t tid;    /* the calling thread, for its signals */
	bool unheard; /* the kernel may not say that its caller is gone: a READ of its own */
	/* code: 0, one of FLIGHT_…, or -errno with err. blob: what a WANT_BLOB brought,
	 * borrowed for the call. */
	void (*resume)(struct waiter *w, int code, const struct err *err, struct blob *blob);

	/* flight.c's own, under its lock */
	struct flight *flight;
	TAILQ_ENTRY(waiter) in_flight, watched, hit;
	uint64_t serial;
	bool interrupted; /* in the list of those, by `hit` */
	uint64_t seen;    /* of pace_ms: the progress there was, and when it is looked at again */
	int64_t look_ms;
};
enum flight_code { FLIGHT_SLOW = 1, FLIGHT_CRAWLS, FLIGHT_SILENT, FLIGHT_QUEUED, FLIGHT_MOVED };
#define FLIGHT_PACE_BYTES_S (64u << 10)

/* What a job is given. It sets *ret_blob (a reference) for a WANT_BLOB. */
struct flight_job {
	const struct want *want;
	const char *repo; /* for a WANT_BLOB: where to fetch it from */
	struct call *call;
	/* Bytes received, or 1 for work on the disk that takes its time: waiters have
	 * patience while it is not 0. */
	_Atomic uint64_t *progress;
	_Atomic bool *busy; /* with the disk: nobody else is slow */
	/* Of a WANT_BLOB: how many of its bytes are here, those of earlier tries too. */
	_Atomic uint64_t *have;
};
typedef int (*flight_fn)(void *ctx, const struct flight_job *job, struct blob **ret_blob,
			 struct err *err);

struct flights;

struct flights_options {
	flight_fn run;
	void *ctx;
	const char *title;  /* who is asked, for texts; borrowed */
	int64_t timeout_ms; /* of a job's call, from when it was queued */
};

NODISCARD int flights_new(const struct flights_options *o, struct flights **ret);
/* Starts the watch thread. */
NODISCARD int flights_start(struct flights *f);
/* Cancels every flight and resumes every waiter with -ECANCELED; parking is
 * refused from then on. The pools must be freed before flights_free. */
void flights_stop(struct flights *f);
void flights_free(struct flights *f); /* NULL is fine */

/* Joins or starts. `repo` is where a WANT_BLOB may be fetched from, if it starts now or
 * runs again; `pool` is where a new job runs. Returns 0 (the waiter is no longer the caller's);
 * FLIGHT_SLOW: not parked, the flight has been under way longer than soft_ms;
 * -ECANCELED: stopping; -ENOMEM. pool NULL: there is no job; it waits for flight_tell by whoever
 * works on it, and has patience as long as that one has, and is gone with its last waiter. */
NODISCARD int flight_park(struct flights *f, const struct want *want, const char *repo,
			  struct pool *pool, struct waiter *w);
/* Resumes all who wait for what has no job of its own; none is fine. */
void flight_tell(struct flights *f, const struct want *want, int code, const struct err *err);
/* Starts the flight, if there is none, for nobody: its result is for later. */
void flight_start(struct flights *f, const struct want *want, const char *repo, struct pool *pool);

/* It is better had elsewhere: cancelled. `others` are resumed with FLIGHT_MOVED; without it, it
 * goes on if somebody waits still. repo: NULL, or where it is fetched from if it is wanted again
 * before it has ended. */
void flight_leave(struct flights *f, const struct want *want, bool others, const char *repo);
/* Whether it is under way, and not cancelled; and where from: unchanged if it is not. NULL is
 * fine. */
bool flight_is_under_way(struct flights *f, const struct want *want, char repo[REPOSITORY_MAX]);
/* How much it has brought; 0 also if there is none. */
uint64_t flight_progress(struct flights *f, const struct want *want);

/* Gives the waiter its serial; from now on waiter_interrupt finds it. */
void waiter_watch(struct flights *f, struct waiter *w);
/* Whoever parked it gives it up. True: it is out of its flight and will not be resumed; the
 * last one cancels the flight. False: it was resumed, or is about to be. */
bool waiter_leave(struct flights *f, struct waiter *w);
/* Not while it is parked. */
void waiter_unwatch(struct flights *f, struct waiter *w);
/* The kernel interrupted it. By serial, since it may be gone. */
void waiter_interrupt(struct flights *f, uint64_t serial);

/* A blob that comes, or waits for its turn. */
struct flight_transfer {
	char repo[REPOSITORY_MAX];
	struct digest digest;
	uint64_t size, have;
	uint64_t received; /* of `have`, by this flight, or more where it began again */
	int64_t begun_ms;  /* clock_ms(); 0: it waits for its turn */
	unsigned waiters;
};
/* Those under way, at most max, those that have begun first; returns how many it wrote. */
size_t flights_transfers(struct flights *f, struct flight_transfer *ret, size_t max);

/* What is under way for a want. */
struct flight_state {
	int64_t since_ms; /* clock_ms(): when it was wanted */
	bool begun;       /* or it waits for its turn */
	uint64_t have;    /* of a WANT_BLOB: how many of its bytes are here */
};
/* False: nothing, or it was cancelled. */
bool flight_find(struct flights *f, const struct want *want, struct flight_state *ret);

struct flights_usage {
	uint64_t flights, parked;
};
void flights_usage(struct flights *f, struct flights_usage *ret);
