/* SPDX-License-Identifier: Apache-2.0 */
/* Who refers to a manifest: the API, where the registry has it, else the tag
 * that stands in for it; and cosign's own tags in any case.
 *
 * An error is never "none": only a registry that was asked and answered says that. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "registry/errors.h"
#include "registry/http_source.h"
#include "registry/pages.h"
#include "registry/referrers.h"

#define REFERRER_PAGES_MAX 1000

struct search {
	struct http_source *h;
	const char *repo;
	const struct digest *subject;
	struct call *call;
	struct referrers *found;
	char path[HTTP_TARGET_MAX]; /* of the API */
	bool lasting;               /* the API is missing, not only for this digest */
};

/* ---- the API ---- */

/* Whether a refusal is one of all that could be asked, now and later: what does not
 * know the path says nothing of what was asked for. */
static bool is_lasting(const struct answer *a)
{
	struct registry_error said;

	if (a->status != 404 && a->status != 405 && a->status != 501)
		return false;
	errors_parse(a->body ? a->body : "", a->body_len, &said);
	return !said.code[0] || strcmp(said.code, "UNSUPPORTED") == 0;
}

/* Whether the answer to the first page says that there is no API. The spec allows
 * no 404 of an API that is there, but some give it for what they do not know. */
static bool says_absent(const struct answer *a)
{
	struct registry_error said;

	switch (a->status) {
	case 200: /* a page for people, of whoever is asked */
		return !media_type_is(a->media_type, MEDIA_TYPE_INDEX);
	case 401: /* Harbor 2.7; whoever means it says what to log in with */
		return !a->challenged && !a->foreign;
	case 404:
		errors_parse(a->body ? a->body : "", a->body_len, &said);
		return strcmp(said.code, "NAME_UNKNOWN") != 0 &&
		       (!a->foreign || errors_is_absence(said.code));
	case 400: /* Quay, of a digest that it does not like */
	case 405:
	case 406: /* Artifactory */
	case 501:
		return !a->foreign;
	default:
		return false;
	}
}

/* 1: there is another page. */
static int take_page(struct search *s, struct pages *p, const struct answer *a, struct err *err)
{
	const struct digest unknown = {0};
	struct manifest *m = NULL;
	int r = manifest_parse(a->body, a->body_len, &unknown, a->media_type, &m, err);

	if (r == 0)
		r = referrers_add_index(s->found, m, true, err);
	manifest_unref(m);
	if (r < 0)
		return err_wrap(err, r, "%s: GET %s", endpoints_origin(s->h->endpoints)->title,
				s->path);
	r = pages_follow(p, a);
	return r < 0 ? err_set(err, r, "out of memory") : r;
}

/* 1: there is another page. 2: there is no API. */
static int ask_page(struct search *s, struct pages *p, struct err *err)
{
	struct question q = {.method = "GET",
			     .target = p->target,
			     .repo = s->repo,
			     .accept = MEDIA_TYPE_INDEX,
			     .body_max = SOURCE_DOCUMENT_MAX};
	struct answer a;
	int r = endpoints_ask(s->h->endpoints, &q, s->call, &a, err);

	if (r == 0 && p->count == 1 && says_absent(&a)) {
		s->lasting = is_lasting(&a);
		r = 2;
	} else if (r == 0 && a.status != 200) {
		r = client_refusal(&q, &a, err);
	} else if (r == 0 && !media_type_is(a.media_type, MEDIA_TYPE_INDEX)) {
		r = err_set(err, -EPROTO, "%s: GET %s: a page of %s",
			    endpoints_origin(s->h->endpoints)->title, s->path, a.media_type);
	} else if (r == 0) {
		absences_forget(&s->h->no_referrers, s->repo);
		r = take_page(s, p, &a, err);
	}
	answer_release(&a);
	/* That a page is missing does not mean that there are none. */
	return r == -ENOENT && p->count > 1 ? -EPROTO : r;
}

/* 2: there is no API. */
static int ask_api(struct search *s, struct err *err)
{
	char digest[DIGEST_STRING_MAX];
	struct pages p = {0};
	bool circle = false;
	int r;

	digest_string(s->subject, digest);
	snprintf(s->path, sizeof(s->path), "/v2/%s/referrers/%s", s->repo, digest);
	r = pages_turn(&p, strdup(s->path));
	if (r == 0)
		r = 1;
	while (r == 1) {
		r = pages_begin(&p, &circle);
		if (r < 0)
			break;
		if (circle || p.count > REFERRER_PAGES_MAX) {
			r = err_set(err, circle ? -EPROTO : -EFBIG, "%s: GET %s: %s",
				    endpoints_origin(s->h->endpoints)->title, s->path,
				    circle ? "its pages go in a circle" : "too many pages");
			break;
		}
		r = ask_page(s, &p, err);
	}
	if (r == -ENOMEM)
		err_set(err, r, "out of memory");
	pages_release(&p);
	return r;
}

/* ---- tags ---- */

/* An index under the tag of the schema; what else may be there is none of ours. */
static int ask_tag(struct search *s, struct err *err)
{
	char tag[TAG_MAX + 1];
	struct document doc = {0};
	struct manifest *m = NULL;
	int r;

	referrers_tag(s->subject, tag);
	r = http_source_document(&s->h->source, s->repo, tag, s->call, &doc, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = manifest_parse(doc.bytes, doc.desc.size, &doc.desc.digest, doc.desc.media_type, &m,
			   err);
	if (r == 0 && media_type_is(m->desc.media_type, MEDIA_TYPE_INDEX))
		r = referrers_add_index(s->found, m, false, err);
	else if (r == -EOPNOTSUPP)
		r = 0; /* schema 1 */
	if (r < 0)
		err_wrap(err, r, "%s: %s:%s", endpoints_origin(s->h->endpoints)->title, s->repo,
			 tag);
	manifest_unref(m);
	document_release(&doc);
	return r;
}

static int ask_cosign(struct search *s, struct err *err)
{
	char tag[TAG_MAX + 1];
	const char *kind;

	for (size_t i = 0; referrers_cosign_tag(s->subject, i, tag, &kind); i++) {
		struct descriptor desc;
		int r = http_source_resolve(&s->h->source, s->repo, tag, NULL, s->call, &desc, err);

		if (r == 0)
			r = referrers_add_cosign(s->found, &desc, kind, err);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

int http_source_referrers(struct source *source, const char *repo, const struct digest *d,
			  struct call *call, struct referrers *ret, struct err *err)
{
	struct referrers found = {0};
	struct err why = {""};
	struct search s = {
	    .h = http_source_of(source), .repo = repo, .subject = d, .call = call, .found = &found};
	int r = absences_has(&s.h->no_referrers, repo) ? 2 : ask_api(&s, &why);

	if (r == 2) {
		r = ask_tag(&s, &why);
		/* Not before it is known that we may ask at all. */
		if (r == 0 && s.lasting)
			absences_note(&s.h->no_referrers, repo,
				      clock_ms() + SOURCE_REFERRERS_ABSENT_MS);
	}
	if (r == 0)
		r = ask_cosign(&s, &why);
	if (r < 0) {
		referrers_release(&found);
		return err_set(err, r, "%s", why.text);
	}
	referrers_sort(&found);
	*ret = found;
	return 0;
}
