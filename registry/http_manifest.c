/* SPDX-License-Identifier: Apache-2.0 */
/* What a tag names, and manifests as documents. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "registry/content_range.h"
#include "registry/http_source.h"
#include "registry/manifest.h"

#define ORIGIN_WORD_MS 2000 /* less than a lookup waits */

/* All in one line: a proxy that keeps only the last of several would make the
 * registry answer 404 (OCI distribution spec, "Pulling manifests"). */
#define ACCEPT_MANIFEST                                                                            \
	"application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "    \
	"application/vnd.docker.distribution.manifest.list.v2+json, "                              \
	"application/vnd.docker.distribution.manifest.v2+json"

static struct question manifest_question(const char *method, const char *repo,
					 const char *reference, char target[HTTP_TARGET_MAX])
{
	snprintf(target, HTTP_TARGET_MAX, "/v2/%s/manifests/%s", repo, reference);
	return (struct question){.method = method,
				 .target = target,
				 .need = strchr(reference, ':') ? ENDPOINT_PULL : ENDPOINT_RESOLVE,
				 .repo = repo,
				 .accept = ACCEPT_MANIFEST,
				 .body_max = SOURCE_DOCUMENT_MAX};
}

/* ---- documents ---- */

/* A digest is that of the stored bytes. We ask for no encoding, and undo none. */
static const char *encoding_of(const struct answer *a)
{
	return a->encoded ? "; they came with a Content-Encoding that nobody asked for" : "";
}

/* A tag's document is what its bytes hash to; the registry must not say
 * otherwise. It chooses the algorithm, so that this answer and that to a HEAD
 * name one digest. */
static int check_by_tag(const struct answer *a, struct digest *ret, struct err *err)
{
	struct digest said = {0};
	bool told = a->digest && digest_parse(a->digest, strlen(a->digest), &said) == 0;
	enum digest_alg alg = told ? (enum digest_alg)said.alg : DIGEST_SHA256;
	int r = digest_of(alg, a->body, a->body_len, ret);

	if (r < 0)
		return err_set(err, r, "cannot hash");
	if (told && !digest_equal(&said, ret))
		return err_set(err, -EBADMSG,
			       "the bytes do not match the digest that goes with them%s",
			       encoding_of(a));
	if (!told && a->encoded)
		return err_set(err, -EPROTO, "no digest goes with the bytes%s", encoding_of(a));
	return 0;
}

static int check_by_digest(const struct answer *a, const struct digest *want, struct digest *ret,
			   struct err *err)
{
	int r = digest_of((enum digest_alg)want->alg, a->body, a->body_len, ret);

	if (r < 0)
		return err_set(err, r, "cannot hash");
	if (!digest_equal(want, ret))
		return err_set(err, -EBADMSG, "the %zu bytes received do not match the digest%s",
			       a->body_len, encoding_of(a));
	return 0;
}

static int take_document(const struct question *q, struct answer *a, const struct digest *want,
			 struct document *ret, struct err *err)
{
	struct document d = {0};
	int r;

	if (a->status != 200)
		return client_refusal(q, a, err);
	if (digest_is_set(want))
		r = check_by_digest(a, want, &d.desc.digest, err);
	/* Of a tag nothing tells that it is what the origin has: a page of some proxy
	 * on the way is not. */
	else if (a->from->mirror && !media_type_is_manifest(a->media_type))
		r = err_set(err, -EPROTO, "'%s', no manifest", a->media_type);
	else
		r = check_by_tag(a, &d.desc.digest, err);
	if (r < 0)
		return err_wrap(err, r, "%s: GET %s", a->from->title, q->target);
	memcpy(d.desc.media_type, a->media_type, sizeof(d.desc.media_type));
	d.desc.size = a->body_len;
	d.bytes = steal_ptr(&a->body);
	*ret = d;
	return 0;
}

static bool is_blob(struct http_source *h, const char *repo, const char *digest, struct call *call)
{
	char target[HTTP_TARGET_MAX];
	struct question q = {.method = "HEAD", .target = target, .repo = repo, .accept = "*/*"};
	struct answer a;
	bool found;

	snprintf(target, sizeof(target), "/v2/%s/blobs/%s", repo, digest);
	found = endpoints_ask(h->endpoints, &q, call, &a, NULL) == 0 && a.status == 200;
	answer_release(&a);
	return found;
}

/* Docker's registry answers 500 to the digest of a layer, which is no fault of the
 * host: then the blobs know whether it is one. */
static int ask_document(struct http_source *h, struct question *q, const char *reference,
			struct call *call, struct answer *a, struct err *err)
{
	int r;

	q->plain_500 = strchr(reference, ':') != NULL;
	r = endpoints_ask(h->endpoints, q, call, a, err);
	if (r < 0 || a->status != 500)
		return r;
	answer_release(a);
	if (is_blob(h, q->repo, reference, call))
		return err_set(err, -ENOENT, "%s: GET %s: 500; it is a blob, no manifest",
			       a->from->title, q->target);
	q->plain_500 = false;
	return endpoints_ask(h->endpoints, q, call, a, err);
}

int http_source_document(struct source *s, const char *repo, const char *reference,
			 struct call *call, struct document *ret, struct err *err)
{
	struct http_source *h = http_source_of(s);
	char target[HTTP_TARGET_MAX];
	struct question q = manifest_question("GET", repo, reference, target);
	struct digest want = {0};
	struct err why = {""};
	struct answer a;
	bool again;
	int r = 0;

	if (strchr(reference, ':'))
		r = digest_parse(reference, strlen(reference), &want);
	if (r < 0)
		return err_set(err, r, "%s: not a digest that can be verified", reference);
	do {
		r = ask_document(h, &q, reference, call, &a, &why);
		if (r == 0)
			r = take_document(&q, &a, &want, ret, &why);
		/* What a mirror says wrongly is no end: the next host is asked. */
		again = r < 0 && a.from->mirror;
		if (again)
			q.skip |= 1u << a.number;
		if (again && r == -EBADMSG)
			endpoints_distrust(h->endpoints, repo, 1u << a.number);
		answer_release(&a);
	} while (again);
	return r < 0 ? err_set(err, r, "%s", why.text) : 0;
}

/* ---- tags ---- */

static int resolve_by_get(struct source *s, const char *repo, const char *tag, struct call *call,
			  struct descriptor *ret, struct err *err)
{
	struct document d = {0};
	int r = http_source_document(s, repo, tag, call, &d, err);

	if (r == 0)
		*ret = d.desc;
	document_release(&d);
	return r;
}

/* Whether the answer to a HEAD is all that it should be. */
static bool take_descriptor(const struct answer *a, struct descriptor *ret)
{
	struct descriptor d = {0};

	if (a->status != 200 || !a->digest || a->content_length < 0 ||
	    !media_type_is_manifest(a->media_type) ||
	    digest_parse(a->digest, strlen(a->digest), &d.digest) < 0)
		return false;
	d.size = (uint64_t)a->content_length;
	memcpy(d.media_type, a->media_type, sizeof(d.media_type));
	*ret = d;
	return true;
}

/* A refusal that the GET would repeat; all others it may overrule, or at least
 * explain: a HEAD has no body. */
static bool is_final(const struct answer *a)
{
	return !a->foreign && (a->status == 404 || a->status == 401);
}

int http_source_resolve(struct source *s, const char *repo, const char *tag,
			const struct descriptor *known, struct call *call, struct descriptor *ret,
			struct err *err)
{
	struct http_source *h = http_source_of(s);
	char target[HTTP_TARGET_MAX], digest[DIGEST_STRING_MAX], etag[DIGEST_STRING_MAX + 2];
	struct question q = manifest_question("HEAD", repo, tag, target);
	struct answer a;
	int r;

	if (known && digest_is_set(&known->digest)) {
		digest_string(&known->digest, digest);
		snprintf(etag, sizeof(etag), "\"%s\"", digest);
		q.if_none_match = etag;
	}
	r = endpoints_ask(h->endpoints, &q, call, &a, err);
	if (r == 0 && a.status == 304 && q.if_none_match)
		*ret = *known;
	else if (r == 0 && is_final(&a))
		r = client_refusal(&q, &a, err);
	/* Too little was said, or it is a redirect that only a GET may follow. */
	else if (r == 0 ? !take_descriptor(&a, ret) : r == -EPROTO && a.foreign)
		r = resolve_by_get(s, repo, tag, call, ret, err);
	answer_release(&a);
	return r;
}

/* ---- digests of unknown kind ---- */

/* A HEAD that storage does not allow: the first byte tells the size as well. */
static int stat_by_get(struct http_source *h, struct question q, struct call *call,
		       struct descriptor *ret, struct err *err)
{
	struct content_range range;
	struct answer a;
	int r;

	q.method = "GET";
	q.ranged = true;
	r = endpoints_ask(h->endpoints, &q, call, &a, err);
	if (r == 0 && a.status == 206 && a.content_range &&
	    content_range_parse(a.content_range, strlen(a.content_range), &range) == 0 &&
	    range.has_total)
		ret->size = range.total;
	else if (r == 0 && a.status == 416)
		ret->size = 0;
	else if (r == 0 && a.status == 200 && a.content_length >= 0)
		ret->size = (uint64_t)a.content_length;
	else if (r == 0 && (a.status == 200 || a.status == 206))
		r = err_set(err, -EPROTO, "%s: GET %s: no size", a.from->title, q.target);
	else if (r == 0)
		r = client_refusal(&q, &a, err);
	if (r == 0)
		memcpy(ret->media_type, a.media_type, sizeof(ret->media_type));
	answer_release(&a);
	return r;
}

/* By the bytes: those that the origin has, and where it does not say, within half of the
 * time, those of a mirror. */
static int stat_by_bytes(struct http_source *h, struct question q, struct call *call,
			 struct descriptor *ret, struct err *err)
{
	int64_t deadline_ms = call->deadline_ms, now_ms = clock_ms();
	int r;

	q.skip = endpoints_mirrors_of(h->endpoints, q.repo);
	if (q.skip != 0 && deadline_ms > now_ms)
		call->deadline_ms = now_ms + (deadline_ms - now_ms) / 2;
	r = stat_by_get(h, q, call, ret, err);
	call->deadline_ms = deadline_ms;
	if (r == 0 || r == -ENOENT || r == -ECANCELED || q.skip == 0)
		return r;
	q.skip = 0;
	return stat_by_get(h, q, call, ret, err);
}

/* A mirror's word on a size that nobody has declared: the origin's counts, if it has
 * one soon. */
static void ask_origin_too(struct http_source *h, struct question q, struct call *call,
			   struct descriptor *ret)
{
	int64_t deadline_ms = call->deadline_ms, soon_ms = clock_ms() + ORIGIN_WORD_MS;
	struct answer a;

	q.skip = endpoints_mirrors_of(h->endpoints, q.repo);
	q.in_passing = true;
	if (soon_ms < deadline_ms)
		call->deadline_ms = soon_ms;
	if (endpoints_ask(h->endpoints, &q, call, &a, NULL) == 0 && a.status == 200 &&
	    a.content_length >= 0)
		ret->size = (uint64_t)a.content_length;
	answer_release(&a);
	call->deadline_ms = deadline_ms;
}

static int stat_by_head(struct http_source *h, const struct question *q, struct call *call,
			struct descriptor *ret, struct err *err)
{
	struct answer a;
	int r = endpoints_ask(h->endpoints, q, call, &a, err);

	if (r == 0 && a.status == 200 && a.content_length >= 0) {
		ret->size = (uint64_t)a.content_length;
		memcpy(ret->media_type, a.media_type, sizeof(ret->media_type));
		if (a.from->mirror)
			ask_origin_too(h, *q, call, ret);
	} else if (r == 0 && (a.status == 200 || a.status == 405 || a.foreign)) {
		r = stat_by_bytes(h, *q, call, ret, err);
	} else if (r == 0) {
		r = client_refusal(q, &a, err);
	}
	answer_release(&a);
	return r;
}

static int stat_blob(struct http_source *h, const char *repo, const char *digest, bool doubted,
		     struct call *call, struct descriptor *ret, struct err *err)
{
	char target[HTTP_TARGET_MAX];
	struct question q = {.method = "HEAD",
			     .target = target,
			     .need = ENDPOINT_PULL,
			     .repo = repo,
			     .accept = "*/*"};

	snprintf(target, sizeof(target), "/v2/%s/blobs/%s", repo, digest);
	return doubted ? stat_by_bytes(h, q, call, ret, err) : stat_by_head(h, &q, call, ret, err);
}

/* What a document's bytes are by their digest, they are from whomever. */
static int stat_manifest(struct source *s, const char *repo, const char *digest, bool doubted,
			 struct call *call, struct descriptor *ret, struct err *err)
{
	struct http_source *h = http_source_of(s);
	char target[HTTP_TARGET_MAX];
	struct question q = manifest_question("HEAD", repo, digest, target);
	struct answer a;
	int r;

	if (doubted)
		return resolve_by_get(s, repo, digest, call, ret, err);
	r = endpoints_ask(h->endpoints, &q, call, &a, err);
	if (r == 0 && is_final(&a)) {
		r = client_refusal(&q, &a, err);
	} else if (r == 0 && a.status == 200 && a.content_length >= 0 && !a.from->mirror) {
		ret->size = (uint64_t)a.content_length;
		memcpy(ret->media_type, a.media_type, sizeof(ret->media_type));
	} else if (r == 0) {
		r = resolve_by_get(s, repo, digest, call, ret, err);
	}
	answer_release(&a);
	return r;
}

int http_source_stat(struct source *s, const char *repo, const struct digest *d, bool doubted,
		     struct call *call, struct descriptor *ret, bool *ret_is_manifest,
		     struct err *err)
{
	struct http_source *h = http_source_of(s);
	struct descriptor desc = {.digest = *d};
	char digest[DIGEST_STRING_MAX];
	bool is_manifest = false;
	struct err why = {""};
	int first, r;

	digest_string(d, digest);
	first = r = stat_blob(h, repo, digest, doubted, call, &desc, &why);
	/* Without the origin nobody says that it is no blob, and a mirror may have it
	 * as a manifest all the same. */
	if (r == -ENOENT || (r < 0 && h->endpoints->several)) {
		is_manifest = true;
		r = stat_manifest(s, repo, digest, doubted, call, &desc,
				  first == -ENOENT ? &why : NULL);
		if (r < 0 && first != -ENOENT)
			r = first;
	}
	if (r < 0)
		return err_set(err, r, "%s", why.text);
	*ret = desc;
	if (ret_is_manifest)
		*ret_is_manifest = is_manifest;
	return 0;
}
