/* SPDX-License-Identifier: Apache-2.0 */
/* A stream's own thread: it opens the partial, hashes what is here, fetches what nobody asks for,
 * and decides. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "fs/backing.h"
#include "fs/fetch.h"
#include "fs/fetch_impl.h"
#include "fs/log.h"
#include "fs/nodes.h"
#include "fs/session.h"
#include "fs/stream_impl.h"

static void become(struct stream *s, enum stream_state state)
{
	atomic_store(&s->state, (int)state);
	stream_tell_done(s);
}

static bool is_closing(struct stream *s)
{
	lock_take(&s->lock);
	bool closing = s->closing;
	lock_drop(&s->lock);
	return closing;
}

/* ---- the kernel's pages ---- */

/* Open nodes in the order of their ids, some at a time: that takes no memory, so none is left
 * out. */
#define NODES_AT_ONCE 128
struct open_nodes {
	const struct digest *digest; /* NULL: any */
	uint64_t after;              /* those before are done */
	size_t n;
	uint64_t v[NODES_AT_ONCE];
};

/* Keeps the least ones. */
static void note_node(void *ctx, const struct node *node, const struct node_open *open,
		      const struct node_served *served)
{
	struct open_nodes *o = ctx;
	(void)open;
	if (!node || node->id <= o->after ||
	    (o->digest && !digest_equal(&served->digest, o->digest)))
		return;
	size_t i = o->n;
	while (i > 0 && o->v[i - 1] >= node->id)
		i--;
	if (i == NODES_AT_ONCE || (i < o->n && o->v[i] == node->id))
		return;
	size_t behind = (o->n < NODES_AT_ONCE ? o->n : NODES_AT_ONCE - 1) - i;
	memmove(&o->v[i + 1], &o->v[i], behind * sizeof(o->v[0]));
	o->v[i] = node->id;
	o->n += o->n < NODES_AT_ONCE;
}

/* The next ones; false: there are none. */
static bool next_nodes(struct fs *fs, node_open_fn note, struct open_nodes *o)
{
	o->after = o->n > 0 ? o->v[o->n - 1] : 0;
	o->n = 0;
	nodes_each_open(fs->nodes, note, o);
	return o->n > 0;
}

static void drop_nodes(struct fs *fs, const struct open_nodes *o)
{
	int r = session_drop_pages(fs->session, o->v, o->n);
	if (r && r != -ENOTCONN && r != -ENODEV)
		log_warning("stream", "the kernel may keep pages that were not verified: %s",
			    strerror(-r));
}

/* Waits for READs that are under way. Who opens it meanwhile, and is not seen here, sees that it is
 * spoiled (stream_is_spoiled). */
static void drop_pages(struct stream *s, bool spoil)
{
	struct fs *fs = s->table->fs;
	struct open_nodes marks = {.digest = &s->digest}, drops = marks;
	/* All of them before the first wait. */
	while (spoil && next_nodes(fs, note_node, &marks)) {
		for (size_t i = 0; i < marks.n; i++)
			node_open_spoil(fs->nodes, marks.v[i]);
	}
	while (next_nodes(fs, note_node, &drops))
		drop_nodes(fs, &drops);
}

/* What a process before us may have read before it was verified: what is in the cache now need not
 * be what the kernel was given. And what it found wrong, and perhaps did not live to drop. */
static void note_unsure(void *ctx, const struct node *node, const struct node_open *open,
			const struct node_served *served)
{
	if (open->mode == NODE_OPEN_SPOILED ||
	    (open->mode == NODE_OPEN_ORDINARY && node && node->size >= STREAM_MIN))
		note_node(ctx, node, open, served);
}

void stream_drop_unsure(void *streams)
{
	struct fs *fs = ((struct streams *)streams)->fs;
	struct open_nodes o = {.digest = NULL};
	while (next_nodes(fs, note_unsure, &o))
		drop_nodes(fs, &o);
}

/* ---- the partial ---- */

/* Somebody else has fetched it. */
static int take_from_cache(struct stream *s, struct err *err)
{
	struct blob *blob = NULL;
	s->call.deadline_ms = INT64_MAX;
	int r = fetch_from_cache(s->site->fetcher, &s->digest, &s->call, &blob, err);
	if (r)
		return r;
	s->blob = blob;
	become(s, STREAM_DONE);
	return 0;
}

static int open_once(struct stream *s, struct err *err)
{
	struct fs *fs = s->table->fs;
	struct range_list fresh = SLIST_HEAD_INITIALIZER(fresh);
	struct chunks *chunks = NULL;
	s->call.deadline_ms = clock_ms() + fs->o.timeout_ms;
	int r = store_chunks(fs->store, &s->digest, s->size, &s->call, &chunks, err);
	if (r == -EEXIST)
		return take_from_cache(s, err);
	if (r)
		return r;
	lock_take(&s->lock);
	s->chunks = chunks;
	atomic_store(&s->state, STREAM_LIVE);
	ranges_schedule_wanted(s, &fresh);
	lock_drop(&s->lock);
	ranges_submit(&fresh);
	stream_tell_done(s);
	return 0;
}

/* Until it is open; -errno: closing. What fails is tried again with the next READ. */
static int open_partial(struct stream *s)
{
	struct err err;
	for (int tries = 0;;) {
		err.text[0] = '\0';
		uint64_t turn = atomic_load(&s->table->turns);
		int r = open_once(s, &err);
		if (r == 0 || is_closing(s))
			return r;
		if (r == -ENOENT && ++tries < STREAM_OPEN_TRIES)
			continue; /* it was there, and was dropped */
		tries = 0;
		stream_note_failure(s, r, &err, turn);
		stream_tell_failed(s, 0, s->count + 1, r, &err);
		lock_take(&s->lock);
		while (!s->closing && !s->again && TAILQ_EMPTY(&s->wanted))
			cond_wait(&s->cond, &s->lock);
		s->again = false;
		lock_drop(&s->lock);
	}
}

static void end_ranges(struct stream *s)
{
	lock_take(&s->lock);
	ranges_cancel(s, NULL);
	while (s->n_ranges > 0)
		cond_wait(&s->cond, &s->lock);
	lock_drop(&s->lock);
}

/* ---- the end ---- */

/* code: what `why` is told of it, which may be this machine's fault. */
static void spoil(struct stream *s, int code, const struct err *err)
{
	char digest[DIGEST_STRING_MAX];
	digest_string(&s->digest, digest);
	(void)err_set(&s->spoiled, -EBADMSG, "%s: %s@%s: %s", source_title(s->site->source),
		      s->repo, digest, err->text);
	stream_distrust(s);
	stream_note_failure(s, code, &s->spoiled, atomic_load(&s->table->turns));
	become(s, STREAM_SPOILED);
	log_warning("stream",
		    "%s; some of it was read before that was known (--verify=stream), and is "
		    "refused from now on",
		    s->spoiled.text);
	drop_pages(s, true);
}

static void decide(struct stream *s)
{
	struct err err = {""}, lost = {""};
	struct blob *blob = NULL;
	end_ranges(s);
	int r = chunks_commit(s->chunks, &blob, &err);
	/* What a failed write-back leaves may read as anything once its pages are gone. */
	int gone = r && r != -EBADMSG ? chunks_sync(s->chunks, &lost) : 0;
	if (gone || r == -EBADMSG) {
		spoil(s, gone ? gone : r, gone ? &lost : &err);
		return;
	}
	/* It matched all the same, and its file is open. */
	if (r)
		log_failure("stream", "keep", "a blob that was read as it arrived is not kept: %s",
			    err.text);
	s->blob = blob;
	stream_note_failure(s, 0, NULL, 0);
	become(s, STREAM_DONE);
}

/* ---- on the way ---- */

/* A range that nobody waits for, if it is time; else until when to wait. */
static struct range *background(struct stream *s, int64_t *ret_ms) REQUIRES(s->lock)
{
	int64_t now = clock_ms();
	int64_t due = s->demand_ms + STREAM_IDLE_MS;
	*ret_ms = due > s->background_ms ? due : s->background_ms;
	if (now < *ret_ms)
		return NULL;
	*ret_ms = now + STREAM_IDLE_MS;
	if (s->n_ranges > 0)
		return NULL;
	struct range *r = NULL;
	bool awaited = now - s->awaited_ms < STREAM_IDLE_MS;
	if (atomic_fetch_add(&s->table->backgrounds, 1) < STREAM_BACKGROUNDS_MAX || awaited)
		r = range_background(s);
	if (!r)
		atomic_fetch_sub(&s->table->backgrounds, 1);
	return r;
}

/* One step. 1: there may be more to do; 0: all is hashed; -errno: it ends here. */
static int step(struct stream *s, struct err *err)
{
	struct range *r = NULL;
	int64_t until = 0;
	if (is_closing(s))
		return -ECANCELED;
	int rc = chunks_hash(s->chunks, err);
	if (rc)
		return rc;
	if (chunks_hashed(s->chunks))
		return 0;
	uint64_t here = chunk_map_present(chunks_map(s->chunks));
	lock_take(&s->lock);
	if (!s->closing)
		r = background(s, &until);
	if (!r && !s->closing && chunk_map_present(chunks_map(s->chunks)) == here)
		(void)cond_wait_until(&s->cond, &s->lock, until);
	lock_drop(&s->lock);
	if (r) {
		range_run(r);
		atomic_fetch_sub(&s->table->backgrounds, 1);
	}
	return 1;
}

static void live(struct stream *s)
{
	struct err err = {""};
	int rc;
	if (s->stale_pages)
		drop_pages(s, false);
	while ((rc = step(s, &err)) > 0)
		;
	if (rc == 0) {
		decide(s);
		return;
	}
	if (rc != -ECANCELED)
		log_failure("stream", "hash", "a blob that is read as it arrives: %s", err.text);
	/* It can be read, and never verified: what cannot be hashed must not be trusted. */
	if (rc != -ECANCELED)
		spoil(s, rc, &err);
	end_ranges(s);
	if (rc == -ECANCELED)
		chunks_close(s->chunks);
	else
		chunks_drop(s->chunks);
}

void stream_main(void *arg)
{
	struct stream *s = arg;
	/* Of this thread alone: who reads goes first. */
	(void)setpriority(PRIO_PROCESS, 0, STREAM_NICE);
	if (open_partial(s) == 0 && atomic_load(&s->state) == STREAM_LIVE)
		live(s);
	stream_unref(s);
}
