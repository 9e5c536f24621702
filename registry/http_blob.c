/* SPDX-License-Identifier: Apache-2.0 */
/* A blob, whole or in part, however often the connection breaks. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "registry/content_range.h"
#include "registry/http_source.h"
#include "registry/park.h"
#include "registry/retry.h"

#define IDLE_ATTEMPTS 4 /* tries in a row that bring nothing new */

struct transfer {
	struct http_source *h;
	struct question q;
	uint64_t size;
	uint64_t end;                   /* where it is to end: size, but of a part */
	uint64_t answer_end;            /* and this answer, by what it says itself */
	const struct source_part *part; /* NULL: the whole is fetched */
	struct source_etag *etag;       /* of a part */
	const struct sink *sink;
	struct call *call;
	_Atomic uint64_t *progress;

	uint64_t have; /* the next byte that the sink expects, once begun */
	uint64_t furthest;
	bool begun; /* the sink knows `have` */
	bool whole; /* ranges are of no use with this origin */
	bool cut;   /* worth another try */
	bool local; /* it is the sink that failed */

	struct http_pace pace; /* over all exchanges with one host */
	bool asked;            /* it is not the first of them */
	uint64_t since;        /* bytes since the call had its whole time */

	const struct client *from; /* who gives it */
	unsigned number;
	/* With mirrors: */
	const struct digest *digest;
	struct hasher *hasher; /* of all up to `have`; NULL where the caller had some before */
	uint32_t gave;         /* which mirrors that is from */
};

static int bad(const struct transfer *t, struct err *err, int code, const char *what)
{
	return err_set(err, code, "%s: GET %s: %s", t->from->title, t->q.target, what);
}

static bool from_mirror(const struct transfer *t)
{
	return t->from->mirror;
}

/* The bytes are the caller's to judge, but whose they are we alone know: so where
 * there are mirrors we hash too. */
static int begin_hash(struct transfer *t, uint64_t offset, struct err *err)
{
	hasher_free(t->hasher);
	t->hasher = NULL;
	t->gave = 0;
	if (t->part || offset > 0 || !t->h->endpoints->several)
		return 0;
	return hasher_new((enum digest_alg)t->digest->alg, &t->hasher) < 0
		   ? err_set(err, -ENOMEM, "out of memory")
		   : 0;
}

static int begin(struct transfer *t, uint64_t offset, struct err *err)
{
	int r;

	if (t->begun && t->have == offset)
		return 0;
	r = t->sink->begin(t->sink->ctx, offset, err);
	if (r == 0)
		r = begin_hash(t, offset, err);
	t->local = r < 0;
	t->begun = r == 0;
	t->have = offset;
	return r;
}

/* 1: this answer cannot be used; ask for the whole instead. Who wants a part has no use for
 * that. */
static int another_part(const struct transfer *t, const struct answer *a, struct err *err)
{
	if (!t->part)
		return 1;
	return err_set(err, -EPROTO, "%s: GET %s: bytes %llu-%llu were asked for, and came as %s",
		       t->from->title, t->q.target, (unsigned long long)t->q.first,
		       (unsigned long long)t->q.last,
		       a->status == 416   ? "416, there are none"
		       : a->encoded       ? "something encoded"
		       : a->content_range ? a->content_range
					  : "a part without Content-Range");
}

static bool is_strong(const char *etag)
{
	size_t len = strlen(etag);

	return len > 2 && len < SOURCE_ETAG_MAX && etag[0] == '"' && etag[len - 1] == '"';
}

/* Of a part: it is of the same object as those before it, and comes over a way that can be
 * trusted. */
static int check_object(struct transfer *t, const struct answer *a, struct err *err)
{
	bool same = true;

	if (!t->part)
		return 0;
	if (!a->url.https && a->x && !http_is_of_this_machine(a->x))
		return bad(t, err, -EPROTO,
			   "it comes over plain HTTP, so it cannot be used before it is verified "
			   "(mount with --verify=always)");
	if (!a->etag || !is_strong(a->etag))
		return 0;
	if (t->etag->text[0])
		same = strcmp(t->etag->text, a->etag) == 0;
	if (!same) {
		t->etag->text[0] = '\0';
		return bad(t, err, -EPROTO, "another object than a moment ago, says its ETag");
	}
	snprintf(t->etag->text, sizeof(t->etag->text), "%s", a->etag);
	return 0;
}

static int accept_part(struct transfer *t, const struct answer *a, struct err *err)
{
	struct content_range range;

	if (a->encoded || !a->content_range ||
	    content_range_parse(a->content_range, strlen(a->content_range), &range) < 0 ||
	    !range.satisfied)
		return another_part(t, a, err);
	if (range.has_total && range.total != t->size)
		return bad(t, err, -EBADMSG, "the origin has another size than was declared");
	if (range.first != t->have || range.last > t->end - 1)
		return another_part(t, a, err);
	if (a->content_length >= 0 && (uint64_t)a->content_length != range.last - range.first + 1)
		return another_part(t, a, err);
	t->answer_end = range.last + 1;
	return begin(t, range.first, err);
}

static int accept_whole(struct transfer *t, const struct answer *a, struct err *err)
{
	if (a->content_length >= 0 && (uint64_t)a->content_length != t->size)
		return err_set(err, -EBADMSG,
			       "%s: GET %s: the origin has %lld bytes, %llu were declared",
			       t->from->title, t->q.target, (long long)a->content_length,
			       (unsigned long long)t->size);
	if (t->part && a->encoded) /* of a whole the digest would tell */
		return another_part(t, a, err);
	if (t->part) {
		t->whole = true;
		t->end = t->size;
	}
	t->answer_end = t->end;
	return begin(t, 0, err);
}

static int accept_answer(struct transfer *t, const struct answer *a, struct err *err)
{
	struct content_range range;

	if (a->status == 200)
		return accept_whole(t, a, err);
	if (a->status == 206 && t->q.ranged)
		return accept_part(t, a, err);
	if (a->status == 206)
		return bad(t, err, -EPROTO, "a part, where the whole was asked for");
	if (a->status != 416 || !t->q.ranged)
		return client_refusal(&t->q, a, err);
	if (a->content_range &&
	    content_range_parse(a->content_range, strlen(a->content_range), &range) == 0 &&
	    range.has_total && range.total != t->size)
		return bad(t, err, -EBADMSG, "the origin has another size than was declared");
	return another_part(t, a, err);
}

/* What advances may take its time, and what falls silent has as long as a question.
 * Half of what the lowest speed brings in that time does for an advance: a byte now and
 * then does not. */
static void renew_deadline(struct transfer *t, size_t len)
{
	int64_t ms = t->h->timeout_ms;
	int64_t most_ms = SOURCE_SLOW_S * 1000;
	uint64_t enough = SOURCE_SLOW_BYTES_S * (uint64_t)(ms < most_ms ? ms : most_ms) / 2000;

	t->since += len;
	if (ms <= 0 || t->since < enough)
		return;
	t->since = 0;
	if (t->call->deadline_ms < clock_ms() + ms)
		t->call->deadline_ms = clock_ms() + ms;
}

static int deliver(struct transfer *t, const void *data, size_t len, struct err *err)
{
	int r;

	if (len > t->answer_end - t->have)
		return bad(t, err, -EBADMSG, "more bytes than were declared");
	renew_deadline(t, len);
	r = t->sink->write(t->sink->ctx, data, len, err);
	if (r == 0 && t->hasher && hasher_update(t->hasher, data, len) < 0)
		r = err_set(err, -EIO, "cannot hash");
	t->local = r < 0;
	if (r < 0)
		return r;
	t->have += len;
	if (t->progress)
		atomic_fetch_add(t->progress, len);
	return 0;
}

static int stream(struct transfer *t, struct http_exchange *x, struct err *err)
{
	const void *data;
	int64_t n;

	http_keep_pace(x, &t->pace, t->asked);
	t->asked = true;
	while ((n = http_read(x, t->call, &data, err)) > 0) {
		int r = deliver(t, data, (size_t)n, err);

		if (r < 0)
			return r;
	}
	if (n < 0) {
		t->cut = http_fault(x) == HTTP_FAULT_CUT;
		return err_wrap(err, (int)n, "%s: GET %s", t->from->title, t->q.target);
	}
	t->cut = t->have < t->end;
	return t->cut ? bad(t, err, -EHOSTUNREACH, "the connection ended too early") : 0;
}

/* One answer and what it brings. 1: ask again. */
static int fetch_once(struct transfer *t, struct err *err)
{
	struct answer a;
	int r;

	t->cut = false;
	t->q.ranged = (t->part || t->have > 0) && !t->whole;
	t->q.first = t->have;
	t->q.last = t->end - 1;
	t->q.if_range = t->part && t->etag->text[0] ? t->etag->text : NULL;
	r = endpoints_ask(t->h->endpoints, &t->q, t->call, &a, err);
	t->from = a.from;
	t->number = a.number;
	if (r == 0 && a.x)
		r = check_object(t, &a, err);
	if (r == 0)
		r = accept_answer(t, &a, err);
	if (r == 1)
		t->whole = true;
	if (r == 0 && from_mirror(t))
		t->gave |= 1u << t->number;
	if (r == 0 && a.x)
		r = stream(t, a.x, err);
	answer_release(&a);
	return r;
}

/* Another host's slowness is not this one's. */
static void begin_host(struct transfer *t)
{
	t->pace = (struct http_pace){0};
	t->asked = false;
	/* What it sent from the start on is another one's part again. */
	if (t->part && t->whole) {
		t->begun = false;
		t->have = t->furthest = t->part->first;
		t->end = t->part->last + 1;
	}
	t->whole = false;
}

/* Whether the next host goes on: this one is a mirror, and what failed is its
 * matter. */
static bool leave_mirror(struct transfer *t)
{
	if (!from_mirror(t) || t->local || call_check(t->call, NULL) < 0)
		return false;
	t->q.skip |= 1u << t->number;
	begin_host(t);
	return true;
}

/* All is there. 1: some of it is from mirrors and it is not what it should be, so
 * those who are left give it from the start. */
static int check(struct transfer *t, struct err *err)
{
	struct digest got;

	if (!t->hasher || t->gave == 0)
		return 0;
	if (hasher_final(t->hasher, &got) < 0)
		return err_set(err, -EIO, "cannot hash");
	if (digest_equal(&got, t->digest))
		return 0;
	endpoints_distrust(t->h->endpoints, t->q.repo, t->gave);
	t->q.skip |= t->gave;
	begin_host(t);
	t->begun = false;
	t->have = t->furthest = 0;
	return 1;
}

/* 0: it is worth another try, now. */
static int wait_retry(struct transfer *t, unsigned idle, struct err *err)
{
	int64_t began_ms = clock_ms();
	int64_t wait_ms = retry_backoff_ms(idle + 1, t->from->tuning.retry_base_ms);
	int r = park_sleep(t->call, began_ms + wait_ms, err);

	t->pace.ms += clock_ms() - began_ms;
	return r;
}

/* Until all is there. *err is set on failures that are overcome, too. */
static int fetch(struct transfer *t, struct err *err)
{
	unsigned idle = 0;

	for (;;) {
		int r = fetch_once(t, err);

		if (r == 0) {
			r = check(t, err);
			if (r <= 0)
				return r;
			continue;
		}
		if (r == 1)
			continue; /* at most once a host: then the whole is asked for */
		if (leave_mirror(t))
			continue;
		if (!t->cut)
			return r;
		idle = t->have > t->furthest ? 0 : idle + 1;
		if (t->have > t->furthest)
			t->furthest = t->have;
		if (idle >= IDLE_ATTEMPTS)
			return r;
		r = wait_retry(t, idle, err);
		if (r < 0)
			return r;
	}
}

int http_source_blob(struct source *s, const char *repo, const struct digest *d, uint64_t size,
		     uint64_t offset, const struct sink *sink, struct call *call,
		     _Atomic uint64_t *progress, struct err *err)
{
	char target[HTTP_TARGET_MAX], digest[DIGEST_STRING_MAX];
	struct transfer t = {.h = http_source_of(s),
			     .q = {.method = "GET",
				   .target = target,
				   .need = ENDPOINT_PULL,
				   .repo = repo,
				   .accept = "*/*",
				   .quick = size <= SOURCE_QUICK_BYTES},
			     .size = size,
			     .end = size,
			     .sink = sink,
			     .call = call,
			     .progress = progress,
			     .have = offset,
			     .furthest = offset,
			     .digest = d};
	struct err why = {""};
	int r;

	digest_string(d, digest);
	snprintf(target, sizeof(target), "/v2/%s/blobs/%s", repo, digest);
	r = fetch(&t, &why);
	hasher_free(t.hasher);
	return r < 0 ? err_set(err, r, "%s", why.text) : 0;
}

int http_source_part(struct source *s, const struct source_part *part, const struct sink *sink,
		     struct call *call, struct source_etag *etag, struct err *err)
{
	char target[HTTP_TARGET_MAX], digest[DIGEST_STRING_MAX];
	struct transfer t = {.h = http_source_of(s),
			     .q = {.method = "GET",
				   .target = target,
				   .need = ENDPOINT_PULL,
				   .repo = part->repo,
				   .accept = "*/*",
				   .quick = part->quick},
			     .size = part->size,
			     .end = part->last + 1,
			     .part = part,
			     .etag = etag,
			     .sink = sink,
			     .call = call,
			     .have = part->first,
			     .furthest = part->first,
			     .digest = part->digest};
	struct err why = {""};

	digest_string(part->digest, digest);
	snprintf(target, sizeof(target), "/v2/%s/blobs/%s", part->repo, digest);
	int r = fetch(&t, &why);

	return r < 0 ? err_set(err, r, "%s", why.text) : 0;
}
