/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges: which chunks are fetched by whom, and how they arrive. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/names.h"
#include "fs/catalog.h"
#include "fs/fetch.h"
#include "fs/log.h"
#include "fs/pool.h"
#include "fs/stream_impl.h"

#define NAMERS_MAX 32

static const struct chunk_map *map_of(const struct stream *s)
{
	return chunks_map(s->chunks);
}

/* ---- who fetches what ---- */

static struct range *claimed_by(const struct stream *s, uint64_t n, const struct range *except)
    REQUIRES(s->lock)
{
	struct range *r;
	TAILQ_FOREACH (r, &s->ranges, link) {
		if (r != except && !r->whole && n >= r->first && n < r->end)
			return r;
	}
	return NULL;
}

/* The first chunk from n on that is missing and that nobody fetches; the count: none. */
static uint64_t next_free(const struct stream *s, uint64_t n) REQUIRES(s->lock)
{
	const struct range *r;
	for (;;) {
		n = chunk_map_missing(map_of(s), n);
		r = n < s->count ? claimed_by(s, n, NULL) : NULL;
		if (!r)
			return n;
		n = r->end;
	}
}

/* Where the next range begins behind n. */
static uint64_t next_claimed(const struct stream *s, uint64_t n) REQUIRES(s->lock)
{
	const struct range *r;
	uint64_t next = s->count;
	TAILQ_FOREACH (r, &s->ranges, link) {
		if (!r->whole && r->first > n && r->first < next && r->first < r->end)
			next = r->first;
	}
	return next;
}

static struct range *range_new(struct stream *s, uint64_t first, uint64_t end, bool ahead)
    REQUIRES(s->lock)
{
	struct range *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->stream = stream_ref(s);
	r->first = r->at = first;
	r->end = end;
	r->ahead = ahead;
	r->turn = atomic_load(&s->table->turns);
	call_init(&r->call, clock_ms() + s->table->fs->o.timeout_ms);
	TAILQ_INSERT_TAIL(&s->ranges, r, link);
	s->n_ranges++;
	return r;
}

/* What a range has too far ahead of itself is left to who needs it now. */
static void steal(struct stream *s, uint64_t first, uint64_t last) REQUIRES(s->lock)
{
	for (uint64_t n = chunk_map_missing(map_of(s), first); n <= last;
	     n = chunk_map_missing(map_of(s), n + 1)) {
		struct range *r = claimed_by(s, n, NULL);
		if (r && n > r->at + STREAM_STEAL_CHUNKS)
			r->end = n;
	}
}

bool ranges_schedule(struct stream *s, uint64_t first, uint64_t last, bool ahead,
		     struct range_list *fresh)
{
	if (s->whole) {
		first = s->whole_range || ahead ? s->count : 0;
		last = s->count - 1;
	} else if (!ahead) {
		steal(s, first, last);
	}
	for (uint64_t n = next_free(s, first); n <= last && n < s->count; n = next_free(s, n)) {
		/* One request also over chunks that are here. */
		uint64_t stop = next_claimed(s, n), end = n + 1;
		for (uint64_t k = n + 1; k <= last && k < stop; k++)
			end = chunk_map_has(map_of(s), k) ? end : k + 1;
		if (ahead && s->n_ranges >= STREAM_RANGES_MAX)
			return true;
		if (s->whole) {
			n = 0;
			end = s->count;
		}
		struct range *r = range_new(s, n, end, ahead);
		if (!r)
			return false;
		if (s->whole) {
			r->whole = true;
			s->whole_range = r;
		}
		SLIST_INSERT_HEAD(fresh, r, fresh);
		if (s->whole)
			break;
		n = end;
	}
	return true;
}

void ranges_schedule_wanted(struct stream *s, struct range_list *fresh)
{
	const struct wanted *w;
	if (s->closing || atomic_load(&s->state) != STREAM_LIVE)
		return;
	TAILQ_FOREACH (w, &s->wanted, link) {
		if (w->first < s->count)
			(void)ranges_schedule(s, w->first, w->last, false, fresh);
	}
}

void ranges_submit(struct range_list *fresh)
{
	struct range *r;
	while ((r = SLIST_FIRST(fresh))) {
		SLIST_REMOVE_HEAD(fresh, fresh);
		struct pool *pool = fetcher_ranges(r->stream->site->fetcher);
		if (pool_submit(pool, range_run, r) == 0)
			continue;
		/* It fails, and nothing of it is done here, where nobody may wait. */
		r->refused = true;
		range_run(r);
	}
}

struct range *range_background(struct stream *s)
{
	uint64_t n = next_free(s, 0), most = STREAM_BACKGROUND / CHUNK_BYTES;
	if (n >= s->count || s->whole_range)
		return NULL;
	uint64_t end = next_claimed(s, n);
	if (s->whole)
		end = s->count;
	else if (end - n > most)
		end = n + most;
	/* A request more is cheaper than bytes that are here, unless it is for little. */
	uint64_t here = s->whole ? end : chunk_map_here(map_of(s), n + STREAM_LITTLE_CHUNKS);
	if (here < end)
		end = here;
	struct range *r = range_new(s, s->whole ? 0 : n, end, true);
	if (r && s->whole) {
		r->whole = true;
		s->whole_range = r;
	}
	return r;
}

void ranges_cancel(struct stream *s, const struct range *except)
{
	struct range *r;
	TAILQ_FOREACH (r, &s->ranges, link) {
		if (r != except)
			call_cancel(&r->call);
	}
}

/* ---- how they arrive ---- */

/* The host sends all of it: then one transfer is enough, and the others would only begin
 * anew each time. */
static int begin_whole(struct range *r, struct err *err)
{
	struct stream *s = r->stream;
	bool first = false, mine;
	lock_take(&s->lock);
	mine = !s->whole_range || s->whole_range == r;
	if (mine) {
		first = !s->whole;
		s->whole = true;
		s->whole_range = r;
		r->whole = true;
		r->first = r->at = 0;
		r->end = s->count;
		ranges_cancel(s, r);
	}
	lock_drop(&s->lock);
	if (first)
		log_info("stream", "%s: %s: no ranges of blobs there: it is fetched from the start",
			 source_title(s->site->source), s->repo);
	return mine ? 0 : err_set(err, -ECANCELED, "another transfer brings all of it");
}

/* Whoever asks for another part while this one comes asks for one of the same object. */
static void note_object(struct range *r)
{
	struct stream_place *from = &r->stream->from;
	lock_take(&r->stream->lock);
	if (from->site == r->place->site && strcmp(from->repo, r->place->repo) == 0)
		from->etag = r->place->etag;
	lock_drop(&r->stream->lock);
}

static int range_begin(void *ctx, uint64_t offset, struct err *err)
{
	struct range *r = ctx;
	int rc = 0;
	if (offset % CHUNK_BYTES != 0)
		return err_set(err, -EIO, "a transfer continues where nobody asked for it");
	if (offset == 0 && r->first != 0)
		rc = begin_whole(r, err);
	note_object(r);
	r->pos = offset;
	return rc;
}

/* At the start of a chunk. 0: go on. */
static int next_chunk(struct range *r, uint64_t n, struct err *err)
{
	struct stream *s = r->stream;
	lock_take(&s->lock);
	bool mine = n >= r->first && n < r->end;
	r->at = n;
	r->skip = chunk_map_has(map_of(s), n) || claimed_by(s, n, r) != NULL;
	lock_drop(&s->lock);
	r->enough = !mine;
	return mine ? 0 : err_set(err, -ECANCELED, "the rest is fetched by another");
}

static int range_write(void *ctx, const void *data, size_t len, struct err *err)
{
	struct range *r = ctx;
	struct stream *s = r->stream;
	const char *bytes = data;
	while (len > 0) {
		uint64_t n = r->pos / CHUNK_BYTES, end = chunk_map_end(map_of(s), n);
		size_t part = end - r->pos < len ? (size_t)(end - r->pos) : len;
		int rc = r->pos % CHUNK_BYTES == 0 ? next_chunk(r, n, err) : 0;
		if (rc == 0 && !r->skip)
			rc = chunks_write(s->chunks, bytes, part, r->pos, err);
		if (rc == 0 && !r->skip && r->pos + part == end)
			rc = chunks_done(s->chunks, n, err);
		if (rc < 0)
			return rc;
		r->pos += part;
		bytes += part;
		len -= part;
		if (r->pos == end)
			stream_tell_done(s);
	}
	return 0;
}

static int fetch_from(struct range *r, struct stream_place *at, struct err *err)
{
	struct stream *s = r->stream;
	struct source *source = at->site->source;
	lock_take(&s->lock);
	uint64_t first = r->first * CHUNK_BYTES, last = chunk_map_end(map_of(s), r->end - 1) - 1;
	lock_drop(&s->lock);
	struct source_part part = {.repo = at->repo,
				   .digest = &s->digest,
				   .size = s->size,
				   .first = first,
				   .last = last,
				   .quick = last - first < SOURCE_QUICK_BYTES};
	struct sink sink = {range_begin, range_write, r};
	r->place = at;
	int rc = source_part(source, &part, &sink, &r->call, &at->etag, err);
	return rc && rc != -ECANCELED ? err_wrap(err, rc, "%s: %s", source_title(source), at->repo)
				      : rc;
}

/* If the repository does not give it, another that named it may. */
static int fetch_elsewhere(struct range *r, struct stream_place *at)
{
	struct names repos = {0};
	struct stream_place other = *at;
	int rc =
	    catalog_namers(at->site->catalog, &r->stream->digest, at->repo, NAMERS_MAX, &repos);
	if (rc == 0)
		rc = -ENOENT;
	for (size_t i = 0; i < repos.n && (rc == -EACCES || rc == -ENOENT); i++) {
		snprintf(other.repo, REPOSITORY_MAX, "%s", repos.v[i]);
		other.etag.text[0] = '\0'; /* each calls its object as it likes */
		rc = fetch_from(r, &other, NULL);
		if (rc == 0 || r->enough)
			*at = other;
	}
	names_release(&repos);
	return rc;
}

static int fetch_at(struct range *r, struct stream_place *at, struct err *err)
{
	char warning[SOURCE_WARNING_MAX];
	int rc = fetch_from(r, at, err);
	if ((rc == -EACCES || rc == -ENOENT) && (fetch_elsewhere(r, at) == 0 || r->enough))
		rc = 0;
	if (rc == -EBADMSG) /* perhaps for a size that somebody only said */
		catalog_size_dispute(at->site->catalog, at->repo, &r->stream->digest);
	while (source_warning(at->site->source, warning))
		log_warning("registry", "%s", warning);
	return r->enough ? 0 : rc;
}

/* Another registry that named it, of those that were not tried. */
static bool next_place(const struct stream *s, uint64_t tried, struct stream_place *ret)
{
	struct site *site;
	struct sites *sites = &s->table->fs->sites;
	for (unsigned i = 0; (site = sites_at(sites, i)); i++) {
		struct names repos = {0};
		if (tried >> site->number & 1 || fetch_refused(site->fetcher, NULL) ||
		    catalog_namers(site->catalog, &s->digest, "", 1, &repos))
			continue;
		bool good = repos.n > 0 && strlen(repos.v[0]) < REPOSITORY_MAX &&
			    source_in_parts(site->source, repos.v[0]);
		*ret = (struct stream_place){.site = site};
		if (good)
			snprintf(ret->repo, sizeof(ret->repo), "%s", repos.v[0]);
		names_release(&repos);
		if (good)
			return true;
	}
	return false;
}

/* What is the registry's matter, and no fault of ours. */
static bool is_theirs(int rc)
{
	return rc == -EHOSTUNREACH || rc == -ETIMEDOUT || rc == -EACCES || rc == -ENOENT ||
	       rc == -EBUSY || rc == -EPROTO || rc == -EBADMSG;
}

/* What is missing of it is asked of another host, which may know ranges if the last one did not.
 * False: nothing is. */
static bool begin_again(struct range *r)
{
	struct stream *s = r->stream;
	lock_take(&s->lock);
	if (r->whole)
		s->whole = r->whole = false;
	if (s->whole_range == r)
		s->whole_range = NULL;
	uint64_t first = chunk_map_missing(map_of(s), r->first);
	r->first = r->at = first < r->end ? first : r->end;
	bool some = r->first < r->end;
	lock_drop(&s->lock);
	return some;
}

/* Whoever has it, one after the other. Who is silent has half of the time that is left, if there is
 * another one. The error is the first one's. */
static int fetch_anywhere(struct range *r, struct stream_place *at, struct err *err)
{
	struct stream *s = r->stream;
	struct stream_place here = *at, next;
	uint64_t tried = 0;
	int first_rc = 0;
	for (bool more = true;;) {
		int64_t deadline_ms = r->call.deadline_ms, now_ms = clock_ms();
		tried |= UINT64_C(1) << here.site->number;
		more = next_place(s, tried, &next);
		int64_t share_ms = now_ms + (deadline_ms - now_ms) / (more ? 2 : 1);
		r->call.deadline_ms = share_ms;
		struct err *why = first_rc ? NULL : err;
		int rc = more ? fetch_refused(here.site->fetcher, why) : 0;
		if (rc == 0)
			rc = fetch_at(r, &here, why);
		if (rc == 0)
			*at = here;
		else if (!first_rc) /* it may be another object by now */
			at->etag = here.etag;
		first_rc = first_rc ? first_rc : rc;
		/* Who sent something was given time anew. */
		bool moved = r->call.deadline_ms > share_ms;
		r->call.deadline_ms = moved ? clock_ms() + s->table->fs->o.timeout_ms : deadline_ms;
		if (rc == 0 || !more || !is_theirs(rc) || call_check(&r->call, NULL))
			return rc == 0 || rc == -ECANCELED ? rc : first_rc;
		if (!begin_again(r))
			return 0;
		here = next;
	}
}

static int fetch(struct range *r, struct err *err)
{
	struct stream *s = r->stream;
	int rc = r->refused ? err_set(err, -EIO, "no thread for it") : call_check(&r->call, err);
	lock_take(&s->lock);
	bool none = r->first >= r->end;
	struct stream_place at = s->from;
	lock_drop(&s->lock);
	if (rc || none)
		return rc;
	rc = fetch_anywhere(r, &at, err);
	lock_take(&s->lock);
	s->from = at;
	lock_drop(&s->lock);
	return rc;
}

/* How long the background waits after so many failures in a row. */
static int64_t backoff_ms(unsigned failures)
{
	int64_t ms = STREAM_RETRY_MS;
	for (unsigned i = 1; i < failures && ms < STREAM_RETRY_MOST_MS; i++)
		ms *= 2;
	return ms < STREAM_RETRY_MOST_MS ? ms : STREAM_RETRY_MOST_MS;
}

/* It is not among those under way any more. What of it fails, fails those who wait for it. */
static void finish(struct range *r, int rc, const struct err *err)
{
	struct stream *s = r->stream;
	struct range_list fresh = SLIST_HEAD_INITIALIZER(fresh);
	lock_take(&s->lock);
	TAILQ_REMOVE(&s->ranges, r, link);
	s->n_ranges--;
	if (s->whole_range == r)
		s->whole_range = NULL;
	/* One that was told to end has not failed. */
	bool failed = rc < 0 && rc != -ECANCELED && !s->closing;
	/* Those that fail meanwhile say nothing new. */
	if (failed && clock_ms() >= s->background_ms)
		s->background_ms = clock_ms() + backoff_ms(++s->failures);
	if (rc == 0)
		s->failures = 0;
	if (rc == 0)
		s->background_ms = 0;
	uint64_t first = r->first, end = r->end;
	lock_drop(&s->lock);
	if (failed)
		stream_note_failure(s, rc, err, r->turn);
	else if (rc == 0)
		stream_note_failure(s, 0, NULL, 0);
	/* The last chunk may be here although its transfer has failed (chunks_done): who waits for
	 * it misses nothing. */
	if (rc < 0)
		stream_tell_done(s);
	if (failed)
		stream_tell_failed(s, first, end, rc, err);
	lock_take(&s->lock);
	ranges_schedule_wanted(s, &fresh);
	cond_broadcast(&s->cond);
	lock_drop(&s->lock);
	ranges_submit(&fresh);
}

void range_run(void *arg)
{
	struct range *r = arg;
	struct stream *s = r->stream;
	struct err err = {""};
	int rc = fetch(r, &err);
	finish(r, rc, &err);
	call_release(&r->call);
	free(r);
	stream_unref(s);
}
