/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "fs/failures.h"
#include "fs/fetch.h"
#include "fs/log.h"
#include "fs/nodes.h"
#include "fs/ops.h"
#include "fs/pool.h"
#include "fs/stream_impl.h"

#define AWAIT_MS 100

/* ---- the table ---- */

int streams_new(struct fs *fs, struct streams **ret)
{
	struct streams *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->fs = fs;
	lock_init(&t->lock);
	cond_init(&t->later);
	if (pool_new("stream", STREAMS_MAX, &t->pool)) {
		streams_free(t);
		return -ENOMEM;
	}
	*ret = t;
	return 0;
}

void streams_free(struct streams *t)
{
	if (!t)
		return;
	pool_free(t->pool);
	ASSERT(!t->first);
	cond_release(&t->later);
	lock_release(&t->lock);
	free(t);
}

static struct stream *find(struct streams *t, const struct digest *d) REQUIRES(t->lock)
{
	struct stream *s = t->first;
	while (s && !digest_equal(&s->digest, d))
		s = s->next;
	return s;
}

static void take_out(struct stream *s)
{
	struct streams *t = s->table;
	struct stream **at = &t->first;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	s->in_table = false;
	t->n--;
}

static bool is_distrusted(const struct streams *t, const struct digest *d) REQUIRES(t->lock)
{
	unsigned n =
	    t->n_distrusted < STREAM_DISTRUSTED_MAX ? t->n_distrusted : STREAM_DISTRUSTED_MAX;
	for (unsigned i = 0; i < n; i++) {
		if (digest_equal(&t->distrusted[i], d))
			return true;
	}
	return false;
}

void stream_distrust(struct stream *s)
{
	struct streams *t = s->table;
	lock_take(&t->lock);
	t->distrusted[t->n_distrusted++ % STREAM_DISTRUSTED_MAX] = s->digest;
	lock_drop(&t->lock);
}

static struct stream *stream_new(struct streams *t, struct site *site, const char *repo,
				 const struct digest *d, uint64_t size)
{
	struct stream *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->table = t;
	s->digest = *d;
	s->size = size;
	s->count = (size + CHUNK_BYTES - 1) / CHUNK_BYTES;
	s->site = site;
	strncat(s->repo, repo, sizeof(s->repo) - 1);
	s->from.site = site;
	memcpy(s->from.repo, s->repo, sizeof(s->from.repo));
	atomic_init(&s->refs, 1);
	atomic_init(&s->state, STREAM_NEW);
	lock_init(&s->lock);
	cond_init(&s->cond);
	TAILQ_INIT(&s->wanted);
	TAILQ_INIT(&s->ranges);
	call_init(&s->call, INT64_MAX);
	s->demand_ms = clock_ms();
	s->awaited_ms = INT64_MIN / 2;
	return s;
}

/* Its thread has a reference, and its users, all of them together, another one. */
static int add(struct streams *t, struct stream *s) REQUIRES(t->lock)
{
	stream_ref(s);
	int r = pool_submit(t->pool, stream_main, s);
	if (r) {
		atomic_fetch_sub(&s->refs, 1);
		return r == -ENOMEM ? r : -EAGAIN;
	}
	s->users = 1;
	s->in_table = true;
	s->next = t->first;
	t->first = s;
	t->n++;
	return 0;
}

int streams_open(struct streams *t, struct site *site, const char *repo, const struct digest *d,
		 uint64_t size, struct stream **ret, struct err *err)
{
	struct stream *fresh = stream_new(t, site, repo, d, size);
	int r = fresh ? 0 : -ENOMEM;
	if (fresh)
		fresh->stale_pages = t->fs->took_over;
	lock_take(&t->lock);
	struct stream *s = find(t, d);
	if (s && s->size == size)
		s->users++;
	else if (s || t->stopping || t->n >= STREAMS_MAX || is_distrusted(t, d))
		r = -EAGAIN;
	else if (r == 0)
		r = add(t, fresh);
	if (r == 0 && !s) {
		s = fresh;
		fresh = NULL;
	}
	lock_drop(&t->lock);
	stream_unref(fresh);
	if (r)
		return r;
	if (stream_is_spoiled(s)) {
		stream_why_spoiled(s, err);
		stream_leave(s);
		return -EBADMSG;
	}
	*ret = s;
	return 0;
}

void stream_use(struct stream *s)
{
	lock_take(&s->table->lock);
	s->users++;
	lock_drop(&s->table->lock);
}

/* Its thread sees to the rest. */
static void stream_close(struct stream *s)
{
	lock_take(&s->lock);
	s->closing = true;
	call_cancel(&s->call);
	ranges_cancel(s, NULL);
	cond_broadcast(&s->cond);
	lock_drop(&s->lock);
}

void stream_leave(struct stream *s)
{
	struct streams *t = s->table;
	lock_take(&t->lock);
	bool last = --s->users == 0;
	if (last && s->in_table)
		take_out(s);
	lock_drop(&t->lock);
	if (!last)
		return;
	stream_close(s);
	stream_unref(s);
}

struct stream *stream_ref(struct stream *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void stream_unref(struct stream *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	struct wanted *w;
	while ((w = TAILQ_FIRST(&s->wanted))) {
		TAILQ_REMOVE(&s->wanted, w, link);
		free(w);
	}
	chunks_free(s->chunks);
	blob_unref(s->blob);
	call_release(&s->call);
	cond_release(&s->cond);
	lock_release(&s->lock);
	free(s);
}

void streams_stop(struct streams *t)
{
	struct stream *s;
	lock_take(&t->lock);
	t->stopping = true;
	while ((s = t->first)) {
		stream_ref(s);
		take_out(s);
		lock_drop(&t->lock);
		stream_close(s);
		stream_unref(s);
		lock_take(&t->lock);
	}
	lock_drop(&t->lock);
}

struct found_wrong {
	struct digest v[STREAM_DISTRUSTED_MAX];
	unsigned n;
};

static void note_wrong(void *ctx, const struct node *node, const struct node_open *open,
		       const struct node_served *served)
{
	struct found_wrong *found = ctx;
	(void)node;
	if (open->mode == NODE_OPEN_SPOILED && found->n < STREAM_DISTRUSTED_MAX)
		found->v[found->n++] = served->digest;
}

void streams_take_over(struct streams *t)
{
	struct found_wrong found = {.n = 0};
	nodes_each_open(t->fs->nodes, note_wrong, &found);
	lock_take(&t->lock);
	memcpy(t->distrusted, found.v, found.n * sizeof(found.v[0]));
	t->n_distrusted = found.n;
	lock_drop(&t->lock);
	if (pool_submit(t->pool, stream_drop_unsure, t))
		log_warning("stream", "no thread to drop pages that were not verified");
}

void streams_end(struct streams *t)
{
	pool_stop(t->pool);
}

struct site *stream_site(const struct stream *s)
{
	return s->site;
}

const char *stream_repo(const struct stream *s)
{
	return s->repo;
}

const struct digest *stream_digest(const struct stream *s)
{
	return &s->digest;
}

bool stream_is_spoiled(const struct stream *s)
{
	return atomic_load(&s->state) == STREAM_SPOILED;
}

void stream_why_spoiled(struct stream *s, struct err *ret)
{
	*ret = s->spoiled;
}

/* ---- who waits ---- */

struct want stream_chunk_want(const struct stream *s, uint64_t n)
{
	struct want w;
	memset(&w, 0, sizeof(w)); /* hashed as a whole, padding too */
	w.kind = WANT_CHUNK;
	w.digest = s->digest;
	w.size = s->size;
	w.layer = n;
	return w;
}

void stream_tell(struct stream *s, uint64_t n, int code, const struct err *err)
{
	static const struct err none = {""};
	struct want w = stream_chunk_want(s, n);
	flight_tell(fetcher_flights(s->site->fetcher), &w, code, err ? err : &none);
}

static bool is_here(const struct stream *s, uint64_t first, uint64_t last)
{
	return s->chunks &&
	       (first >= s->count || chunk_map_missing(chunks_map(s->chunks), first) > last);
}

void stream_tell_done(struct stream *s)
{
	struct wanted *w, *next;
	bool all = atomic_load(&s->state) >= STREAM_DONE;
	lock_take(&s->lock);
	cond_broadcast(&s->cond); /* there may be something to hash */
	for (w = TAILQ_FIRST(&s->wanted); w; w = next) {
		next = TAILQ_NEXT(w, link);
		if (!all && !is_here(s, w->first, w->last))
			continue;
		uint64_t n = w->last;
		TAILQ_REMOVE(&s->wanted, w, link);
		lock_drop(&s->lock);
		free(w);
		stream_tell(s, n, 0, NULL);
		lock_take(&s->lock);
		next = TAILQ_FIRST(&s->wanted);
	}
	lock_drop(&s->lock);
}

/* Whether it waits for a chunk of these. */
static bool misses(const struct stream *s, const struct wanted *w, uint64_t first, uint64_t end)
{
	uint64_t from = w->first > first ? w->first : first;
	uint64_t to = w->last + 1 < end ? w->last + 1 : end;
	return from < to && (!s->chunks || chunk_map_missing(chunks_map(s->chunks), from) < to);
}

void stream_tell_failed(struct stream *s, uint64_t first, uint64_t end, int code,
			const struct err *err)
{
	struct wanted *w, *next;
	lock_take(&s->lock);
	for (w = TAILQ_FIRST(&s->wanted); w; w = next) {
		next = TAILQ_NEXT(w, link);
		if (!misses(s, w, first, end))
			continue;
		uint64_t n = w->last;
		TAILQ_REMOVE(&s->wanted, w, link);
		lock_drop(&s->lock);
		free(w);
		stream_tell(s, n, code, err);
		lock_take(&s->lock);
		next = TAILQ_FIRST(&s->wanted);
	}
	lock_drop(&s->lock);
}

void stream_note_failure(struct stream *s, int code, const struct err *err, uint64_t turn)
{
	struct want blob;
	memset(&blob, 0, sizeof(blob));
	blob.kind = WANT_BLOB;
	blob.digest = s->digest;
	blob.size = s->size;
	if (code)
		failures_put(fetcher_failures(s->site->fetcher), &blob, code, err);
	else
		failures_drop(fetcher_failures(s->site->fetcher), &blob);
	lock_take(&s->lock);
	s->failure = code;
	if (code)
		s->failure_err = *err;
	if (code && turn > s->failure_turn)
		s->failure_turn = turn;
	lock_drop(&s->lock);
}

/* What stream_await finds: >= 1: nothing to wait for, all is told; 0: it waits. */
static int begin_to_wait(struct stream *s, uint64_t first, uint64_t last, struct range_list *fresh)
    REQUIRES(s->lock)
{
	int state = atomic_load(&s->state);
	if (s->closing)
		return -ECANCELED;
	if (state == STREAM_SPOILED)
		return -EBADMSG;
	if (state == STREAM_DONE || is_here(s, first, last))
		return 1;
	struct wanted *w = malloc(sizeof(*w));
	if (!w)
		return -ENOMEM;
	*w = (struct wanted){.first = first, .last = last};
	TAILQ_INSERT_TAIL(&s->wanted, w, link);
	s->demand_ms = clock_ms();
	if (state == STREAM_LIVE && !ranges_schedule(s, first, last, false, fresh)) {
		TAILQ_REMOVE(&s->wanted, w, link);
		free(w);
		return -ENOMEM;
	}
	cond_broadcast(&s->cond);
	return 0;
}

void stream_await(struct stream *s, const struct want *want, uint64_t first)
{
	struct range_list fresh = SLIST_HEAD_INITIALIZER(fresh);
	struct err err = {""};
	uint64_t last = want->layer;
	lock_take(&s->lock);
	int r = begin_to_wait(s, first, last, &fresh);
	lock_drop(&s->lock);
	ranges_submit(&fresh);
	if (r == -EBADMSG)
		stream_why_spoiled(s, &err);
	if (r)
		stream_tell(s, last, r < 0 ? r : 0, &err);
}

/* ---- reads ---- */

static void read_ahead(struct stream *s, uint64_t off, uint64_t len)
{
	struct range_list fresh = SLIST_HEAD_INITIALIZER(fresh);
	uint64_t from, to;
	lock_take(&s->lock);
	bool more = readahead_note(&s->readahead, off, len, &from, &to);
	if (more && to > s->size)
		to = s->size;
	if (more && from < to && !s->closing && atomic_load(&s->state) == STREAM_LIVE) {
		s->demand_ms = clock_ms();
		(void)ranges_schedule(s, from / CHUNK_BYTES, (to - 1) / CHUNK_BYTES, true, &fresh);
	}
	lock_drop(&s->lock);
	ranges_submit(&fresh);
}

/* The first and the last chunk of these that is missing; false: none is. */
static bool missing(const struct stream *s, int state, uint64_t first, uint64_t last,
		    uint64_t *ret_first, uint64_t *ret_last)
{
	const struct chunk_map *m = state == STREAM_NEW ? NULL : chunks_map(s->chunks);
	*ret_first = m ? chunk_map_missing(m, first) : first;
	if (*ret_first > last)
		return false;
	while (m && chunk_map_has(m, last))
		last--;
	*ret_last = last;
	return true;
}

bool stream_is_open(const struct stream *s, struct want *want, uint64_t *ret_first)
{
	*want = stream_chunk_want(s, s->count);
	*ret_first = s->count;
	return atomic_load(&s->state) != STREAM_NEW;
}

int stream_read(struct stream *s, uint64_t off, size_t size, char **ret, size_t *ret_len,
		struct want *want, uint64_t *ret_first)
{
	int state = atomic_load(&s->state);
	uint64_t left = off < s->size ? s->size - off : 0, last = 0;
	size = size < OPS_READ_MAX ? size : OPS_READ_MAX;
	size = size < left ? size : (size_t)left;
	if (state == STREAM_SPOILED)
		return -EBADMSG;
	if (size > 0 && state < STREAM_DONE) {
		/* It is asked for after who waits for it is parked; what lies ahead, after that. */
		if (missing(s, state, off / CHUNK_BYTES, (off + size - 1) / CHUNK_BYTES, ret_first,
			    &last)) {
			*want = stream_chunk_want(s, last);
			return -EINPROGRESS;
		}
		read_ahead(s, off, size);
	}
	AUTO_FREE char *buf = malloc(size + 1);
	/* Both are set before the state says so. */
	int fd = state == STREAM_DONE && s->blob ? blob_fd(s->blob) : -1;
	if (fd < 0)
		fd = state != STREAM_NEW && s->chunks ? chunks_fd(s->chunks) : -1;
	int64_t n = buf ? file_pread_full(fd, buf, size, off) : -ENOMEM;
	/* It was cut because it turned out wrong. */
	if (atomic_load(&s->state) == STREAM_SPOILED)
		return -EBADMSG;
	if (n >= 0 && (uint64_t)n < size)
		n = -EIO;
	if (n < 0) {
		log_failure("fs", "read", "reading a cached blob: %s", strerror((int)-n));
		return -EIO;
	}
	*ret_len = (size_t)n;
	*ret = steal_ptr(&buf);
	return 0;
}

/* ---- who wants its partial ---- */

/* New reference, or NULL. */
static struct stream *find_ref(struct streams *t, const struct digest *d)
{
	lock_take(&t->lock);
	struct stream *s = find(t, d);
	if (s)
		stream_ref(s);
	lock_drop(&t->lock);
	return s;
}

/* What is not known while its partial is not open is 0. */
static uint64_t bytes_here(const struct stream *s, int state)
{
	if (state != STREAM_LIVE)
		return 0;
	uint64_t here = chunk_map_present(chunks_map(s->chunks)) * CHUNK_BYTES;
	return here < s->size ? here : s->size;
}

bool streams_find(struct streams *t, const struct digest *d, uint64_t *ret_here)
{
	struct stream *s = t ? find_ref(t, d) : NULL;
	if (!s)
		return false;
	int state = atomic_load(&s->state);
	lock_take(&s->lock);
	bool well = state < STREAM_DONE && s->failure == 0;
	lock_drop(&s->lock);
	*ret_here = bytes_here(s, state);
	stream_unref(s);
	return well;
}

/* What failed before somebody came says nothing to him: it is tried anew, at once. */
static void ask_anew(struct stream *s) REQUIRES(s->lock)
{
	s->background_ms = 0;
	s->again = true;
}

/* 1: wait on. turn: when the wait began. */
static int look_at(struct streams *t, const struct digest *d, uint64_t turn, uint64_t *ret_bytes,
		   struct err *err)
{
	int r = 0;
	struct stream *s = find_ref(t, d);
	if (!s)
		return 0;
	int state = atomic_load(&s->state);
	*ret_bytes = bytes_here(s, state);
	lock_take(&s->lock);
	if (state < STREAM_DONE)
		r = s->failure && s->failure_turn >= turn ? s->failure : 1;
	/* It has no partial, and memory may have room. */
	if (state == STREAM_NEW && r == -ENOSPC)
		r = 0;
	if (r < 0)
		*err = s->failure_err;
	else if (s->failure)
		ask_anew(s);
	/* Nobody waits for its turn any more. */
	s->demand_ms = 0;
	s->awaited_ms = clock_ms();
	cond_broadcast(&s->cond);
	lock_drop(&s->lock);
	stream_unref(s);
	return r;
}

int streams_await(struct streams *t, const struct digest *d, struct call *call,
		  _Atomic uint64_t *progress, struct err *err)
{
	uint64_t bytes = 0, before = 0;
	struct err why = {""};
	int64_t timeout_ms = call->deadline_ms - clock_ms();
	if (!t)
		return 0;
	uint64_t turn = atomic_fetch_add(&t->turns, 1) + 1;
	for (;;) {
		int r = look_at(t, d, turn, &bytes, &why);
		if (r < 0)
			return err_set(err, r, "%s", why.text);
		if (r == 0)
			return 0;
		r = call_check(call, err);
		if (r)
			return r;
		if (bytes > before) {
			before = bytes;
			atomic_store(progress, bytes);
			call->deadline_ms = clock_ms() + timeout_ms;
		}
		lock_take(&t->lock);
		(void)cond_wait_until(&t->later, &t->lock, clock_ms() + AWAIT_MS);
		lock_drop(&t->lock);
	}
}
