/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests and blobs, each once whoever needs it. Whoever finds one IDLE makes it BUSY and fetches
 * it; all others wait. Nobody waits for another's before its own have ended, so there is no circle.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cache/inventory.h"
#include "cache/store.h"
#include "fs/catalog.h"
#include "fs/fetch.h"
#include "fs/fs_impl.h"
#include "fs/pull_impl.h"

#define TRIES            4   /* of what goes as soon as it has come */
#define LOOK_MS          250 /* between two looks at whether anybody asks */
#define PUBLISH_MS       60000
#define PUBLISH_DOUBT_MS 2000 /* where something could not be published lately */
#define PUBLISH_LOOK_MS  10

struct waiting {
	struct waiter waiter;
	struct pull *pull;
	bool slot; /* it takes one of PULL_BLOBS */
	/* Guarded by the pull's lock. */
	bool ended;
	int code;
	struct err err;
};

bool pull_wait(struct pull *p)
{
	int64_t now = clock_ms();
	if (p->idle_ms > 0 && now - p->asked_ms > p->idle_ms)
		p->cancelled = true;
	if (!p->cancelled)
		(void)cond_wait_until(&p->change, &p->lock, now + LOOK_MS);
	return !p->cancelled;
}

/* With the pull's lock held as the last thing done to w: it may be gone then. */
static void on_resume(struct waiter *waiter, int code, const struct err *err, struct blob *blob)
{
	struct waiting *w = (struct waiting *)waiter;
	struct pull *p = w->pull;
	(void)blob;
	lock_take(&p->lock);
	w->code = code;
	w->err = *err;
	w->ended = true;
	p->under_way -= w->slot;
	cond_broadcast(&p->change);
	lock_drop(&p->lock);
}

static int given_up(struct err *err)
{
	return err_set(err, -ECANCELED, "given up");
}

/* Parks; where that fails it has ended at once. */
static void park(struct pull *p, struct site *site, struct waiting *w, const struct want *want,
		 const char *repo)
{
	struct err err = {""};
	w->pull = p;
	w->ended = false;
	w->waiter.brought = 0;
	w->waiter.resume = on_resume;
	w->waiter.deadline_ms = clock_ms() + p->fs->o.timeout_ms;
	waiter_watch(fetcher_flights(site->fetcher), &w->waiter);
	int r = fetch_park(site->fetcher, want, repo, &w->waiter, &err);
	if (r)
		on_resume(&w->waiter, r, &err, NULL);
}

/* Until it has been resumed, which a pull that is given up sees to. */
static int await(struct pull *p, struct site *site, struct waiting *w, struct err *err)
{
	struct flights *flights = fetcher_flights(site->fetcher);
	bool left = false;
	lock_take(&p->lock);
	while (!w->ended && !left) {
		if (pull_wait(p))
			continue;
		lock_drop(&p->lock);
		left = waiter_leave(flights, &w->waiter);
		lock_take(&p->lock);
		if (!left && !w->ended) /* about to be */
			cond_wait(&p->change, &p->lock);
	}
	if (left && w->slot)
		p->under_way--;
	int code = left ? given_up(&w->err) : w->code;
	lock_drop(&p->lock);
	waiter_unwatch(flights, &w->waiter);
	if (code < 0)
		*err = w->err;
	return code;
}

int pull_want(struct pull *p, struct site *site, const struct want *want, const char *repo,
	      uint64_t *ret_brought, struct err *err)
{
	struct waiting w = {.slot = false};
	int r;
	do {
		park(p, site, &w, want, repo);
		r = await(p, site, &w, err);
	} while (r == FLIGHT_MOVED);
	*ret_brought = w.waiter.brought;
	return r < 0 ? r : 0;
}

/* ---- items ---- */

static struct pull_item *find(struct pull *p, const struct digest *d) REQUIRES(p->lock)
{
	struct pull_item *item;
	HASH_FIND(hh, p->items, d, sizeof(*d), item);
	return item;
}

static struct pull_item *find_or_make(struct pull *p, const struct digest *d, uint64_t size)
    REQUIRES(p->lock)
{
	struct pull_item *item = find(p, d);
	if (item != NULL)
		return item;
	item = calloc(1, sizeof(*item));
	if (item == NULL)
		return NULL;
	item->digest = *d;
	item->size = size;
	HASH_ADD(hh, p->items, digest, sizeof(item->digest), item);
	if (item->hh.tbl == NULL) {
		free(item);
		return NULL;
	}
	return item;
}

void pull_forget(struct pull *p, const struct digest *d)
{
	lock_take(&p->lock);
	struct pull_item *item = find(p, d);
	if (item != NULL && item->state == ITEM_HERE) {
		item->state = ITEM_IDLE;
		item->told = false;
	}
	lock_drop(&p->lock);
}

static void end(struct pull *p, struct pull_item *item, bool here)
{
	lock_take(&p->lock);
	item->by = NULL;
	item->state = here ? ITEM_HERE : ITEM_IDLE;
	if (here)
		pull_tell_blob(p, item);
	cond_broadcast(&p->change);
	lock_drop(&p->lock);
}

static void note(struct pull *p, struct pull_item *item, uint64_t size, uint64_t received)
{
	lock_take(&p->lock);
	if (item->size == 0)
		item->size = size;
	item->received += received;
	item->by = NULL;
	lock_drop(&p->lock);
}

/* That nothing could go for it is known by the account; what else the disk had against it, by what
 * it said. */
static int not_kept(const struct pull *p, const struct store_usage *u, uint64_t size,
		    struct err *err)
{
	bool filled = u->bytes >= u->limit || u->limit - u->bytes < size;
	const char *why = u->publish_failures != p->publish_failures ? u->last_failure
			  : filled                                   ? ""
								     : u->memory_cause;
	return err_set(err, -ENOSPC, "it cannot be put into the cache %s: %s", u->dir,
		       why[0] != '\0' ? why : "what is pinned or in use there leaves no room");
}

/* A rename behind our back; or none, and then it is in memory for want of disk. What is gone
 * again is found out by the caller. */
static int await_published(struct pull *p, const struct digest *d, struct err *err)
{
	int64_t begun = clock_ms(), patience = PUBLISH_MS;
	struct store_usage u = {.bytes = 0};
	uint64_t size = 0;
	bool go = true;
	while (!inventory_is_kept(p->store, d) && store_has(p->store, d, &size)) {
		store_usage(p->store, &u);
		if (u.memory_bytes > 0 || u.publish_failures != p->publish_failures)
			patience = PUBLISH_DOUBT_MS;
		if (!go)
			return given_up(err);
		if (clock_ms() - begun >= patience)
			return not_kept(p, &u, size, err);
		lock_take(&p->lock);
		(void)cond_wait_until(&p->change, &p->lock, clock_ms() + PUBLISH_LOOK_MS);
		go = !p->cancelled;
		lock_drop(&p->lock);
	}
	return 0;
}

/* ---- manifests ---- */

static int fetch_manifest(struct pull *p, struct pull_reference *r, struct pull_item *item,
			  struct err *err)
{
	struct want w;
	uint64_t brought, size = 0;
	bool before = store_has(p->store, &item->digest, NULL);
	memset(&w, 0, sizeof(w)); /* hashed as a whole, padding too */
	w.kind = WANT_MANIFEST;
	w.digest = item->digest;
	memcpy(w.repo, r->repo, sizeof(w.repo));
	for (unsigned i = 0; i < TRIES; i++) {
		int rc = pull_want(p, r->site, &w, r->repo, &brought, err);
		if (rc)
			return rc;
		struct image *image = catalog_image(r->site->catalog, &item->digest);
		if (image == NULL || !store_has(p->store, &item->digest, &size)) {
			image_unref(image);
			continue;
		}
		image_unref(image);
		note(p, item, size, before ? 0 : size);
		return await_published(p, &item->digest, err);
	}
	return err_set(err, -ENOSPC, "it goes as soon as it has come");
}

/* Also where it is HERE: this repository's catalog must know it too. */
int pull_manifest(struct pull *p, struct pull_reference *r, const struct digest *d, struct err *err)
{
	lock_take(&p->lock);
	struct pull_item *item = find_or_make(p, d, 0);
	bool cancelled = false;
	while (item != NULL && item->state == ITEM_BUSY && !cancelled)
		cancelled = !pull_wait(p);
	if (item != NULL && !cancelled)
		item->state = ITEM_BUSY;
	lock_drop(&p->lock);
	if (item == NULL)
		return err_set(err, -ENOMEM, "out of memory");
	if (cancelled)
		return given_up(err);
	int rc = fetch_manifest(p, r, item, err);
	end(p, item, rc == 0);
	return rc;
}

/* ---- blobs ---- */

/* What one reference wants. */
struct batch {
	struct pull *p;
	struct pull_reference *r;
	struct one {
		struct waiting waiting;
		struct pull_item *item;
		struct want want;
		bool own, parked;
	} * v;
	size_t n;
	int code; /* of the first that failed */
	struct err err;
};

static void fail(struct batch *b, int code, const struct err *err)
{
	if (b->code == 0) {
		b->code = code;
		b->err = *err;
	}
}

/* Waits for a slot. */
static bool take_slot(struct pull *p)
{
	lock_take(&p->lock);
	bool go = !p->cancelled;
	while (go && p->under_way >= PULL_BLOBS)
		go = pull_wait(p);
	p->under_way += go;
	lock_drop(&p->lock);
	return go;
}

/* Begins with one that is its own. */
static void begin(struct batch *b, struct one *o)
{
	struct pull *p = b->p;
	struct pull_item *item = o->item;
	struct err err;
	if (inventory_is_kept(p->store, &item->digest)) {
		end(p, item, true);
		o->own = false;
		return;
	}
	uint64_t left = inventory_left(p->store, &item->digest, item->size);
	if (!take_slot(p)) {
		end(p, item, false);
		o->own = false;
		fail(b, given_up(&err), &err);
		return;
	}
	lock_take(&p->lock);
	item->left = left;
	item->by = b->r->site->fetcher;
	item->want = o->want;
	lock_drop(&p->lock);
	o->waiting.slot = true;
	o->parked = true;
	park(p, b->r->site, &o->waiting, &o->want, b->r->repo);
}

/* Makes its own what nobody fetches. False: out of memory. */
static bool claim(struct batch *b, const struct descriptor *v)
{
	struct pull *p = b->p;
	bool memory = true;
	lock_take(&p->lock);
	for (size_t i = 0; i < b->n && memory; i++) {
		struct one *o = &b->v[i];
		o->own = o->parked = false;
		o->item = find_or_make(p, &v[i].digest, v[i].size);
		memory = o->item != NULL;
		if (memory && o->item->state == ITEM_IDLE) {
			o->item->state = ITEM_BUSY;
			o->own = true;
		}
	}
	lock_drop(&p->lock);
	return memory;
}

static void release_claims(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		if (b->v[i].own && !b->v[i].parked)
			end(b->p, b->v[i].item, false);
	}
}

static void finish(struct batch *b, struct one *o)
{
	struct pull *p = b->p;
	struct err err = {""};
	int code = await(p, b->r->site, &o->waiting, &err);
	/* Work on a disk shows as one byte. */
	uint64_t brought = o->waiting.waiter.brought;
	uint64_t most = o->want.size;
	note(p, o->item, o->want.size, brought == most + 1 ? most : brought > 1 ? brought : 0);
	if (code == 0)
		code = await_published(p, &o->item->digest, &err);
	bool here = code == 0 && inventory_is_kept(p->store, &o->item->digest);
	if (code < 0)
		fail(b, code, &err);
	end(p, o->item, here);
}

/* False: given up. */
static bool await_others(struct batch *b)
{
	struct pull *p = b->p;
	bool go = true;
	lock_take(&p->lock);
	for (size_t i = 0; i < b->n && go; i++) {
		while (go && !b->v[i].own && b->v[i].item->state == ITEM_BUSY)
			go = pull_wait(p);
	}
	lock_drop(&p->lock);
	return go;
}

static bool all_here(struct batch *b)
{
	bool here = true;
	lock_take(&b->p->lock);
	for (size_t i = 0; i < b->n; i++)
		here = here && b->v[i].item->state == ITEM_HERE;
	lock_drop(&b->p->lock);
	return here;
}

static void run_batch(struct batch *b, const struct descriptor *v)
{
	struct err err;
	for (unsigned i = 0; i < TRIES && b->code == 0; i++) {
		if (!claim(b, v)) {
			release_claims(b);
			fail(b, err_set(&err, -ENOMEM, "out of memory"), &err);
			return;
		}
		for (size_t k = 0; k < b->n; k++) {
			if (b->v[k].own)
				begin(b, &b->v[k]);
		}
		for (size_t k = 0; k < b->n; k++) {
			if (b->v[k].parked)
				finish(b, &b->v[k]);
		}
		if (b->code == 0 && !await_others(b))
			fail(b, given_up(&err), &err);
		if (b->code == 0 && all_here(b))
			return;
	}
	if (b->code == 0)
		fail(b,
		     err_set(&err, -ENOSPC,
			     "some of it goes as soon as it has come: the cache "
			     "has no room for it"),
		     &err);
}

int pull_blobs(struct pull *p, struct pull_reference *r, const struct descriptor *v, size_t n,
	       struct err *err)
{
	struct batch b = {.p = p, .r = r, .n = n};
	if (n == 0)
		return 0;
	b.v = calloc(n, sizeof(*b.v));
	if (b.v == NULL)
		return err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		b.v[i].want.kind = WANT_BLOB; /* zeroed, padding too */
		b.v[i].want.digest = v[i].digest;
		b.v[i].want.size = v[i].size;
	}
	run_batch(&b, v);
	free(b.v);
	if (b.code)
		*err = b.err;
	return b.code;
}
