/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/op.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cache/store.h"
#include "fs/failures.h"
#include "fs/fetch.h"
#include "fs/fuse_uapi.h"
#include "fs/log.h"
#include "fs/session.h"
#include "fs/stream.h"

/* A handler needs a tag, a manifest and a blob at the most; what is evicted
 * between two steps is fetched again. */
#define OP_HOPS_MAX 16
/* An image that is larger than the cache comes piece by piece. */
#define OP_HOPS_LAYERS 64

/* What an interrupt is told: whose flights, and the serial among them. */
#define SITE_SHIFT  56
#define SERIAL_MASK ((UINT64_C(1) << SITE_SHIFT) - 1)
_Static_assert(SITES_MAX <= 1 << (64 - SITE_SHIFT), "a site's number");

static void op_run(struct op *op);

/* libfuse calls this with its request lock held, perhaps after the op has ended
 * elsewhere: so it is told the serial, not the op. */
static void on_interrupt(fuse_req_t req, void *data)
{
	struct fs *fs = fuse_req_userdata(req);
	uint64_t mark = (uint64_t)(uintptr_t)data;
	struct site *site = sites_at(&fs->sites, (unsigned)(mark >> SITE_SHIFT));
	if (site)
		waiter_interrupt(fetcher_flights(site->fetcher), mark & SERIAL_MASK);
}

static void op_resume(struct waiter *w, int code, const struct err *err, struct blob *blob)
{
	struct op *op = (struct op *)w;
	atomic_fetch_sub(&op->fs->parked, 1);
	if (code == -EINTR || code == -ECANCELED) {
		op->err = *err;
		op_reply_err(op, code);
		return;
	}
	op->failure = code < 0 ? code : 0;
	bool paced = code == FLIGHT_CRAWLS || code == FLIGHT_SILENT || code == FLIGHT_QUEUED;
	op->route.pace = paced ? code : 0;
	op->route.begun &= code != FLIGHT_MOVED;
	if (code > FLIGHT_SLOW)
		op->hops--; /* nothing was brought */
	if (code < 0 || code == FLIGHT_SLOW)
		op->accept_stale = true;
	if (code < 0) {
		op->failed = op->want;
		op->failure_err = *err;
	}
	/* Its flight goes on, and has not failed: but somebody may ask why this did. */
	if (code == -ETIMEDOUT)
		failures_put(fetcher_failures(op->site->fetcher), &op->want, code, err);
	blob_unref(op->blob);
	op->blob = blob ? blob_ref(blob) : NULL;
	op_run(op);
}

struct op *op_new(fuse_req_t req, uint64_t ino, enum operation operation, op_handler handler)
{
	struct op *op = calloc(1, sizeof(*op));
	if (!op) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	op->fs = fuse_req_userdata(req);
	op->req = req;
	op->unique = session_unique();
	op->ino = ino;
	op->operation = operation;
	op->handler = handler;
	op->waiter.resume = op_resume;
	op->start_us = clock_us();
	op->start_ms = op->start_us / 1000;
	op->waiter.deadline_ms = op->start_ms + op->fs->o.timeout_ms;
	op->waiter.strict = op->fs->o.strict_timeout;
	op->waiter.tid = fuse_req_ctx(req)->pid;
	return op;
}

/* From now on an interruption finds the op, parked or not. */
static void watch(struct op *op)
{
	struct flights *f = fetcher_flights(op->site->fetcher);
	waiter_watch(f, &op->waiter);
	op->watched = true;
	uint64_t mark = (uint64_t)op->site->number << SITE_SHIFT | op->waiter.serial;
	fuse_req_interrupt_func(op->req, on_interrupt, (void *)(uintptr_t)mark);
}

static int park_within_limit(struct op *op, struct err *err)
{
	struct fs *fs = op->fs;
	int r;
	unsigned parked = atomic_fetch_add(&fs->parked, 1);
	if (parked < OP_PARKED_MAX ||
	    (parked < 2 * OP_PARKED_MAX && fetch_is_cached(op->site->fetcher, &op->want)))
		r = fetch_park(op->site->fetcher, &op->want, op->repo, &op->waiter, err);
	else
		r = err_set(err, -EBUSY,
			    "%u requests of this mount wait for registries already, the most it "
			    "takes; see 'wasmocifs status', and try again",
			    OP_PARKED_MAX);
	if (r != 0)
		atomic_fetch_sub(&fs->parked, 1);
	return r;
}

/* 0: parked, and the op may be gone. 1: run the handler again. */
static int park(struct op *op)
{
	if (!op->watched)
		watch(op);
	op->waiter.soft_ms = op->accept_stale ? 0 : op->soft_ms;
	struct err err = {""};
	bool chunk = op->want.kind == WANT_CHUNK;
	struct stream *stream = chunk ? stream_ref(op->stream) : NULL;
	struct want want = op->want; /* the op may be gone once it is parked */
	uint64_t first = op->chunk_first;
	int r = park_within_limit(op, &err);
	if (r == 0 && stream)
		stream_await(stream, &want, first);
	stream_unref(stream);
	if (r == 0)
		return 0;
	op->accept_stale = true;
	if (r < 0) {
		op->failure = r;
		op->failed = op->want;
		op->failure_err = err;
	}
	return 1;
}

static unsigned hops_max(const struct op *op)
{
	return op->want.kind == WANT_ROOTFS ? OP_HOPS_LAYERS : OP_HOPS_MAX;
}

static void op_run(struct op *op)
{
	for (;;) {
		op->err.text[0] = '\0';
		int r = op->handler(op);
		if (r == OP_REPLIED)
			return;
		if (r == -EINPROGRESS) {
			r = op_failed(op, &op->want);
			if (r)
				op->err = op->failure_err;
			else if (++op->hops > hops_max(op))
				r = err_set(&op->err, -EIO, "what was fetched is gone again");
			else if (park(op) == 0)
				return;
			else
				continue;
		}
		op_reply_err(op, r);
		return;
	}
}

void op_hold_briefly(struct op *op)
{
	int64_t at_most = op->start_ms + OP_HOLD_MS;
	if (op->waiter.deadline_ms > at_most)
		op->waiter.deadline_ms = at_most;
	op->waiter.strict = true;
}

void op_start(struct op *op)
{
	int r = op_find_site(op, op->ino, false);
	if (r)
		op_reply_err(op, r);
	else
		op_run(op);
}

int op_want(struct op *op, const struct want *want, int64_t soft_ms)
{
	op->want = *want;
	op->soft_ms = soft_ms;
	return -EINPROGRESS;
}

int op_want_blob(struct op *op, const struct digest *d, uint64_t size, const char *repo)
{
	struct want w;
	memset(&w, 0, sizeof(w));
	w.kind = WANT_BLOB;
	w.digest = *d;
	w.size = size;
	snprintf(op->repo, sizeof(op->repo), "%s", repo);
	return op_want(op, &w, 0);
}

/* What the op waits for is the stream's affair, and it goes where that is. */
static int want_chunk(struct op *op, struct stream *stream, const struct want *want)
{
	op_enter(op, stream_site(stream));
	snprintf(op->repo, sizeof(op->repo), "%s", stream_repo(stream));
	return op_want(op, want, 0);
}

int op_read_stream(struct op *op, struct stream *stream, char **ret, size_t *ret_len)
{
	struct want want;
	stream_unref(op->stream);
	op->stream = stream;
	int r = stream_read(stream, op->offset, op->size, ret, ret_len, &want, &op->chunk_first);
	if (r == -EBADMSG)
		stream_why_spoiled(stream, &op->err);
	return r == -EINPROGRESS ? want_chunk(op, stream, &want) : r;
}

static void leave_opened(struct op *op)
{
	if (op->opens)
		stream_leave(op->opens);
	op->opens = NULL;
}

int op_open_stream(struct op *op, struct stream *stream)
{
	struct want want;
	if (stream_is_open(stream, &want, &op->chunk_first))
		return 0;
	stream_unref(op->stream);
	op->stream = stream_ref(stream);
	leave_opened(op);
	op->opens = stream;
	return want_chunk(op, stream, &want);
}

void op_note_no_room(struct op *op)
{
	if (!op->opens || op_failed(op, &op->want) != -ENOSPC)
		return;
	op->verifies_first = true;
	leave_opened(op);
}

int op_failed(const struct op *op, const struct want *want)
{
	return op->failure && want_equal(want, &op->failed) ? op->failure : 0;
}

void op_leave(struct op *op)
{
	if (!op->watched)
		return;
	fuse_req_interrupt_func(op->req, NULL, NULL);
	waiter_unwatch(fetcher_flights(op->site->fetcher), &op->waiter);
	op->watched = false;
}

static void count(const struct op *op, int errnum)
{
	struct metrics *m = &op->fs->metrics;
	metrics_count(m, op->operation, errnum, op->start_us);
	if (op->operation != OPERATION_OPEN || op->bytes == OP_BYTES_UNKNOWN)
		return;
	_Atomic uint64_t *n = op->bytes == OP_BYTES_HERE ? &m->hits : &m->misses;
	atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

/* Nothing may find the op any more: then its request can be answered. */
static fuse_req_t end(struct op *op, int errnum)
{
	fuse_req_t req = op->req;
	count(op, errnum);
	op_leave(op);
	blob_unref(op->blob);
	stream_unref(op->stream);
	leave_opened(op);
	free(op);
	return req;
}

int op_errno(int code, bool said)
{
	switch (code) {
	case -ECANCELED:
		return EINTR;
	case -EAGAIN:
	case -EINPROGRESS:
	case -EBUSY:
		return code == -EBUSY ? EBUSY : EIO;
	case -ENAMETOOLONG:
		return ENOENT;
	/* Faults of this machine, whatever it calls them. */
	case -EMFILE:
	case -ENOMEM:
		return EIO;
	/* Ours, without a word, where the table of nodes is full or has lost one: then the kernel
	 * looks a path up again. */
	case -ENFILE:
	case -ESTALE:
		return said ? EIO : -code;
	case -EUSERS: /* of fs/sites.h */
		return ENFILE;
	case -EDQUOT:
		return ENOSPC;
	default:
		return code < 0 ? -code : EIO;
	}
}

/* A name that is not there is no news; a file that was listed and is gone is. */
static bool worth_a_line(const struct op *op, int code)
{
	return (code != -ENOENT || op->operation == OPERATION_OPEN) && code != -EINTR &&
	       code != -ECANCELED && code != -ENODATA && code != -ERANGE && code != -EROFS &&
	       code != -ENAMETOOLONG;
}

/* As people call it. */
static const char *word_for(enum operation o)
{
	if (o == OPERATION_GETATTR)
		return "stat";
	return o == OPERATION_OPENDIR || o == OPERATION_READDIR ? "list" : operation_name(o);
}

/* One line for all that fails because its host does, however many names were
 * asked for; else one for each text. */
static void log_reply(const struct op *op, int errnum)
{
	const char *text = op->err.text[0] ? op->err.text : strerror(errnum);
	bool of_host =
	    errnum == EACCES || errnum == EHOSTUNREACH || errnum == ETIMEDOUT || errnum == EBUSY;
	char key[ERR_TEXT_MAX + 16];
	snprintf(key, sizeof(key), "%d %s", errnum,
		 of_host && op->site ? source_title(op->site->source) : text);
	log_failure("fs", key, "%s: %s: %s", word_for(op->operation), text,
		    strerrorname_np(errnum));
}

void op_reply_err(struct op *op, int code)
{
	int errnum = op_errno(code, op->err.text[0] != '\0');
	if (worth_a_line(op, code))
		log_reply(op, errnum);
	fuse_reply_err(end(op, errnum), errnum);
}

int op_reply_entry(struct op *op, const struct fuse_entry_param *e)
{
	return fuse_reply_entry(end(op, e->ino ? 0 : ENOENT), e);
}

void op_reply_attr(struct op *op, const struct stat *st, double timeout_s)
{
	fuse_reply_attr(end(op, 0), st, timeout_s);
}

void op_reply_readlink(struct op *op, const char *target)
{
	fuse_reply_readlink(end(op, 0), target);
}

int op_reply_open(struct op *op, int32_t backing_id)
{
	struct fuse_file_info fi = op->fi;
	fuse_req_t req = end(op, 0);
	if (backing_id <= 0)
		return fuse_reply_open(req, &fi);
	/* libfuse 3.14 has no reply that carries a backing id. */
	struct uapi_open_out out = {fi.fh, UAPI_FOPEN_PASSTHROUGH, backing_id};
	return fuse_reply_buf(req, (const char *)&out, sizeof(out));
}

void op_reply_buf(struct op *op, const void *data, size_t len)
{
	fuse_reply_buf(end(op, 0), data, len);
}

void op_reply_xattr(struct op *op, size_t len)
{
	fuse_reply_xattr(end(op, 0), len);
}
