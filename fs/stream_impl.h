/* SPDX-License-Identifier: Apache-2.0 */
/* stream_impl — what the files of fs/stream.h share. Layer: fs/, internal to them.
 *
 *	stream.c        the table, users, and reads
 *	stream_range.c  ranges: which chunks are fetched by whom, and how they arrive
 *	stream_main.c   a stream's own thread
 *
 * A chunk that is not here is claimed by one range at the most, so no two write it. A range may
 * lose its tail to somebody who needs a chunk of it sooner than it would come; it ends where that
 * begins. Where a host ignores ranges, one transfer of the whole claims what is missing.
 */
#pragma once

#include <stdatomic.h>
#include <sys/queue.h>

#include "base/lock.h"
#include "cache/chunks.h"
#include "fs/flight.h"
#include "fs/fs_impl.h"
#include "fs/readahead.h"
#include "fs/stream.h"
#include "registry/source.h"

#include <uthash.h>

#define STREAM_RANGES_MAX      4             /* of one stream, beyond what somebody waits for */
#define STREAM_STEAL_CHUNKS    16            /* a range that is farther away is not waited for */
#define STREAM_BACKGROUND      (64ull << 20) /* bytes of one range in the background */
#define STREAM_LITTLE_CHUNKS   16            /* what it asks for at least, if some of it is here */
#define STREAM_BACKGROUNDS_MAX 2             /* of all streams that nobody waits for */
#define STREAM_IDLE_MS         1000          /* without a miss, and the background has its turn */
#define STREAM_RETRY_MS        5000          /* of the background, after a failure; doubles */
#define STREAM_RETRY_MOST_MS   60000
#define STREAM_NICE            10
#define STREAM_DISTRUSTED_MAX  256
#define STREAM_OPEN_TRIES      3

enum stream_state { STREAM_NEW, STREAM_LIVE, STREAM_DONE, STREAM_SPOILED };

/* Chunks that a parked READ waits for: all of them, or the failure of one. An OPEN: the one that
 * would be behind the last. */
struct wanted {
	uint64_t first, last;
	TAILQ_ENTRY(wanted) link;
};

/* Who is asked, and what its object was called. */
struct stream_place {
	struct site *site;
	char repo[REPOSITORY_MAX];
	struct source_etag etag;
};

struct range {
	struct stream *stream; /* a reference */
	struct call call;
	TAILQ_ENTRY(range) link; /* in stream.ranges */
	SLIST_ENTRY(range) fresh;
	/* guarded by the stream's lock */
	uint64_t first, end; /* chunks; end may become less */
	uint64_t at;         /* the chunk that comes next */
	bool whole;          /* the host sends all of it */
	bool ahead;          /* nobody waited for it when it was made */
	bool refused;        /* no thread takes the job */
	uint64_t turn;       /* when it was made */
	/* the job's own */
	const struct stream_place *place; /* who is asked */
	uint64_t pos;                     /* the next byte that arrives */
	bool skip;                        /* the chunk is not its own */
	bool enough;                      /* it ended where it was told to */
};
TAILQ_HEAD(range_queue, range);
SLIST_HEAD(range_list, range); /* made, and not yet submitted */

struct stream {
	struct streams *table;
	struct digest digest;
	uint64_t size, count; /* bytes; chunks */
	struct site *site;
	char repo[REPOSITORY_MAX]; /* that it was opened under */
	atomic_int refs;
	unsigned users; /* guarded by the table's lock, as the next */
	bool in_table;
	struct stream *next;

	_Atomic int state; /* enum stream_state */
	/* Set before the state that has them, and then they stay. */
	struct chunks *chunks; /* LIVE, DONE unless it came from the cache; SPOILED */
	struct blob *blob;     /* DONE; NULL: it matched, and could not be kept */
	struct err spoiled;

	struct lock lock;
	struct cond cond; /* of its thread */
	/* guarded by lock */
	bool closing;
	bool stale_pages; /* another process served it */
	bool whole;       /* the host ignores ranges */
	struct range *whole_range;
	TAILQ_HEAD(, wanted) wanted;
	struct range_queue ranges;
	unsigned n_ranges;
	struct readahead readahead;
	struct stream_place from; /* who gives it */
	int64_t demand_ms;        /* when a chunk was missed last */
	int64_t background_ms;    /* not before */
	int64_t awaited_ms;       /* when somebody who wants the whole was there last */
	unsigned failures;        /* in a row */
	int failure;              /* the last one, or 0 */
	struct err failure_err;
	uint64_t failure_turn; /* of the try that failed */
	bool again;            /* somebody wants another try to open the partial */
	struct call call;      /* of its thread's own work; only it moves the deadline */
};

struct streams {
	struct fs *fs;
	atomic_int backgrounds;
	/* How many have come to wait for a whole so far: a try is theirs that has begun since. */
	_Atomic uint64_t turns;
	struct pool *pool;
	struct lock lock;
	struct cond later; /* of streams_await, which looks again after a while */
	/* guarded by lock */
	struct stream *first;
	unsigned n;
	bool stopping;
	struct digest distrusted[STREAM_DISTRUSTED_MAX];
	unsigned n_distrusted;
};

/* stream.c */
void stream_distrust(struct stream *s);
struct want stream_chunk_want(const struct stream *s, uint64_t n);
void stream_tell(struct stream *s, uint64_t n, int code, const struct err *err);
/* Whoever waits for chunks that are here is told so. */
void stream_tell_done(struct stream *s);
/* Who waits for a missing chunk from first to end - 1 is told of this failure. */
void stream_tell_failed(struct stream *s, uint64_t first, uint64_t end, int code,
			const struct err *err);
/* Remembers it, for `why` too. turn: table->turns when the try began. */
void stream_note_failure(struct stream *s, int code, const struct err *err, uint64_t turn);

/* stream_range.c */
/* Ranges for what is missing from first to last and claimed by nobody; false: no memory. */
bool ranges_schedule(struct stream *s, uint64_t first, uint64_t last, bool ahead,
		     struct range_list *fresh) REQUIRES(s->lock);
void ranges_schedule_wanted(struct stream *s, struct range_list *fresh) REQUIRES(s->lock);
void ranges_submit(struct range_list *fresh);
/* NULL: nothing is missing that is not claimed, or no memory. */
struct range *range_background(struct stream *s) REQUIRES(s->lock);
void range_run(void *range);
void ranges_cancel(struct stream *s, const struct range *except) REQUIRES(s->lock);

/* stream_main.c */
void stream_main(void *stream);
void stream_drop_unsure(void *streams);
