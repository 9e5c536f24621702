/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "fs/fetch.h"
#include "fs/pull_impl.h"
#include "fs/why.h"

void pull_tell_blob(struct pull *p, struct pull_item *item)
{
	char digest[DIGEST_STRING_MAX];
	if (item->told)
		return;
	item->told = true;
	digest_string(&item->digest, digest);
	(void)json_array_append_new(
	    p->events, json_pack("{s:s, s:s, s:I, s:I}", "event", "blob", "digest", digest, "size",
				 (json_int_t)item->size, "received", (json_int_t)item->received));
}

void pull_tell_reference(struct pull *p, const struct pull_reference *r)
{
	char digest[DIGEST_STRING_MAX];
	digest_string(&r->digest, digest);
	(void)json_array_append_new(p->events, json_pack("{s:s, s:s, s:s}", "event", "reference",
							 "reference", r->text, "digest", digest));
}

void pull_tell_failure(struct pull *p, const struct pull_reference *r, int code,
		       const struct err *err)
{
	const char *name = strerrorname_np(-code);
	(void)json_array_append_new(p->events, json_pack("{s:s, s:s, s:s, s:s, s:s}", "event",
							 "failed", "reference", r->text, "errno",
							 name ? name : "EIO", "text", err->text,
							 "hint", why_hint(code, err->text)));
}

static json_t *events_since(const struct pull *p, uint64_t since, uint64_t *next)
{
	json_t *v = json_array();
	uint64_t n = json_array_size(p->events);
	*next = since < n ? since : n;
	for (; *next < n && json_array_size(v) < PULL_EVENTS_MAX; ++*next)
		(void)json_array_append(v, json_array_get(p->events, *next));
	return v;
}

/* Of those that are under way the flights know how far they are; their lock is no leaf's. */
struct glance {
	struct fetcher *by;
	struct want want;
	uint64_t left, size;
};

struct sums {
	uint64_t bytes, present, received, blobs_present, blobs_received;
	struct glance active[PULL_BLOBS];
	size_t n_active;
};

static void add_up(struct pull *p, struct sums *s) REQUIRES(p->lock)
{
	for (struct pull_item *i = p->items; i; i = i->hh.next) {
		bool here = i->state == ITEM_HERE;
		s->bytes += i->size;
		s->received += i->received;
		s->blobs_present += here && i->received == 0;
		s->blobs_received += here && i->received > 0;
		if (here && i->received < i->size)
			s->present += i->size - i->received;
		if (i->state == ITEM_BUSY && i->by && s->n_active < PULL_BLOBS)
			s->active[s->n_active++] =
			    (struct glance){i->by, i->want, i->left, i->size};
	}
}

static json_t *list_active(struct sums *s)
{
	json_t *v = json_array();
	for (size_t k = 0; k < s->n_active; k++) {
		struct glance *g = &s->active[k];
		char digest[DIGEST_STRING_MAX];
		uint64_t brought = flight_progress(fetcher_flights(g->by), &g->want);
		uint64_t have = g->left + brought;
		digest_string(&g->want.digest, digest);
		s->received += brought;
		(void)json_array_append_new(
		    v, json_pack("{s:s, s:I, s:I}", "digest", digest, "size", (json_int_t)g->size,
				 "have", (json_int_t)(have < g->size ? have : g->size)));
	}
	return v;
}

json_t *pull_report(struct pull *p, uint64_t since)
{
	struct sums s = {0};
	uint64_t next;
	lock_take(&p->lock);
	p->asked_ms = clock_ms();
	add_up(p, &s);
	uint64_t references = p->references, done = p->done, failed = p->failed;
	json_t *events = events_since(p, since, &next);
	bool ended = p->over && next == json_array_size(p->events);
	lock_drop(&p->lock);
	json_t *active = list_active(&s);
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:I}", "state",
			 ended ? "done" : "running", "references", (json_int_t)references, "done",
			 (json_int_t)done, "failed", (json_int_t)failed, "bytes",
			 (json_int_t)s.bytes, "present", (json_int_t)s.present, "received",
			 (json_int_t)s.received, "blobs_present", (json_int_t)s.blobs_present,
			 "blobs_received", (json_int_t)s.blobs_received, "active", active, "events",
			 events, "next", (json_int_t)next);
}
