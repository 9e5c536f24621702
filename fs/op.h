/* SPDX-License-Identifier: Apache-2.0 */
/* op — one request of the kernel that may have to wait. Layer: fs/.
 *
 * A handler looks at what is known and either replies, fails with -errno, or
 * says what it is missing: `return op_want(op, &want)`. Then the op is parked on
 * that want (fs/fetch.h), no thread waits, and the handler runs again from the
 * start once the want is there, or once it has failed: op_failed tells. A
 * handler that has no use for a failure wants the same again, and the op fails
 * with what the flight said. So handlers keep no state between runs.
 *
 * Life of an op
 *
 *	op_new → op_start → the handler runs → one of op_reply_*, which ends it
 *
 * After a handler has replied, the op is gone. Replies are made with no lock
 * held.
 *
 * Threads: an op is in the hands of one thread at a time: the FUSE thread, then
 * whichever thread resumes it.
 */
#pragma once

#include <fuse_lowlevel.h>

#include "base/err.h"
#include "fs/flight.h"
#include "fs/fs_impl.h"

/* How long what holds the directory's lock in the kernel (LOOKUP, READDIR) waits. */
#define OP_HOLD_MS 5000
/* How long a place is waited for that sends little of what another one has too, or nothing;
 * and for how long its registry is then asked after the others. */
#define OP_SHARE_MS 2000
#define OP_SLOW_MS  30000
/* How many requests of a mount wait at once, some 3 KB each: the kernel has no limit for those
 * that a thread waits for. Beyond, what would have to wait is EBUSY; what is known is answered, and
 * what waits for the disk alone has as much room again. */
#define OP_PARKED_MAX 8192
/* How many places an op leaves, at the most. */
#define OP_PLACES_MAX 8
/* How long what is known, but old, may be delayed by asking again. */
#define OP_STALE_TAG_MS     1000
#define OP_STALE_LISTING_MS 5000

struct op;

/* OP_REPLIED: the op is gone. -EINPROGRESS: op_want was called. Else -errno,
 * with op->err filled in or empty. */
#define OP_REPLIED 0
typedef int (*op_handler)(struct op *op);

/* A repository that content was asked for, in vain so far. */
struct op_place {
	struct site *site;
	bool crawled; /* but something came, or might have in its turn */
	char repo[REPOSITORY_MAX];
};

/* Content is one node wherever it is found, and an op is told the node: so this is not about
 * whose path was opened, but about who gives the bytes (fs/op_site.c). */
struct op_route {
	bool begun;
	bool settled; /* it stays where it is */
	bool turned;
	int pace; /* of the flight that it waited for: 0, or one of FLIGHT_… */
	unsigned left_n;
	struct op_place left[OP_PLACES_MAX];
};

struct op {
	struct waiter waiter;
	struct fs *fs;
	struct site *site; /* that the node belongs to; NULL: none, as of a directory of hosts */
	fuse_req_t req;
	op_handler handler;
	enum operation operation;
	int64_t start_us;
	/* Of the content it opens, once that is known: whether the bytes are here. */
	enum op_bytes { OP_BYTES_UNKNOWN, OP_BYTES_HERE, OP_BYTES_MISSING } bytes;

	uint64_t ino;
	char name[256];  /* LOOKUP, GETXATTR */
	uint64_t unique; /* the kernel's number for the request; with NODE_UNIQUE_RESENT, perhaps */
	size_t size;     /* GETXATTR, LISTXATTR, READDIR, READ */
	uint64_t offset; /* READDIR, READ */
	struct fuse_file_info fi;

	struct blob *blob;     /* what the last flight brought; a reference */
	struct stream *stream; /* of a WANT_CHUNK: a reference in memory */
	uint64_t chunk_first;  /* the first one that is missing */
	struct stream *opens;  /* a use of it, by an OPEN that waits for its partial */
	bool verifies_first;   /* there is no room to read it as it arrives */
	bool accept_stale;     /* what is known but old will do */
	bool place_asked;      /* fs/packages.c has asked for what it knew, but old */
	bool watched;
	bool explains; /* for fs/why.h: nothing is made or asked for it */
	unsigned hops;
	int64_t start_ms;
	struct want want;          /* of op_want */
	int64_t soft_ms;           /* of op_want */
	char repo[REPOSITORY_MAX]; /* where a WANT_BLOB is fetched from */
	struct op_route route;
	int failure;        /* of the last flight: 0 or -errno */
	struct want failed; /* which want that was */
	struct err failure_err;
	struct err err; /* of the handler */
};

/* Replies ENOMEM itself and returns NULL if there is no memory. */
struct op *op_new(fuse_req_t req, uint64_t ino, enum operation operation, op_handler handler);
/* It will wait for OP_HOLD_MS at the most. */
void op_hold_briefly(struct op *op);
void op_start(struct op *op);

/* soft_ms: see struct waiter; 0 for what has no older answer. */
NODISCARD int op_want(struct op *op, const struct want *want, int64_t soft_ms);
NODISCARD int op_want_blob(struct op *op, const struct digest *d, uint64_t size, const char *repo);
/* READ of what is read as it arrives: reads it, or wants a chunk. Takes over the reference. */
NODISCARD int op_read_stream(struct op *op, struct stream *stream, char **ret, size_t *ret_len);
/* OPEN of it: 0 once it is open, and the stream is the caller's still; else wants that. */
NODISCARD int op_open_stream(struct op *op, struct stream *stream);
/* It could not be opened for want of room: what is verified first may be kept in memory. */
void op_note_no_room(struct op *op);
/* fs/op_site.c. Sets op->site by the node. A host's directory has none before somebody
 * enters it; for an op that explains none is made: -EAGAIN. -errno of sites_get. */
NODISCARD int op_find_site(struct op *op, uint64_t node, bool enters);
/* From now on it is about this one. Not while it is parked. */
void op_enter(struct op *op, struct site *site);
void op_leave(struct op *op); /* nothing may interrupt it before it parks again */
/* Content that may lie in more than one place: d is what a registry that has it will have named;
 * op->site and op->repo are the place. op_route_begin: the first, of those that are known: not one
 * that is down or slow if there is another, and where it is being fetched already. op_route_turn:
 * whether the place has failed or is too slow, and there is another, to which it has turned: what
 * op->want started is given up, or goes on with it. Then op_route_share sets how long it waits
 * there. */
void op_route_begin(struct op *op, const struct digest *d, const char *repo, uint64_t size);
bool op_route_turn(struct op *op, const struct digest *d);
void op_route_share(struct op *op);
/* 0, or what this want failed with in the last flight. */
int op_failed(const struct op *op, const struct want *want);

/* What the kernel is told of -errno: those of the design, and nothing internal. said: there is a
 * text. */
int op_errno(int code, bool said);
/* Each ends the op. */
void op_reply_err(struct op *op, int code); /* -errno; logs what deserves it */
int op_reply_entry(struct op *op, const struct fuse_entry_param *e); /* -errno: not delivered */
void op_reply_attr(struct op *op, const struct stat *st, double timeout_s);
void op_reply_readlink(struct op *op, const char *target);
int op_reply_open(struct op *op, int32_t backing_id); /* with op->fi; -errno as above */
void op_reply_buf(struct op *op, const void *data, size_t len);
void op_reply_xattr(struct op *op, size_t len);
