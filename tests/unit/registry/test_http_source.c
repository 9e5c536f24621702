/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/unit/registry/http_server.h"

#define MANIFEST      "{\"schemaVersion\":2}"
#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"

static char manifest_digest[DIGEST_STRING_MAX];
static char other_digest[DIGEST_STRING_MAX];

static int make_digests(void **state)
{
	struct digest d;

	(void)state;
	assert_int_equal(digest_of(DIGEST_SHA256, MANIFEST, strlen(MANIFEST), &d), 0);
	digest_string(&d, manifest_digest);
	assert_int_equal(digest_of(DIGEST_SHA256, "other", 5, &d), 0);
	digest_string(&d, other_digest);
	return 0;
}

static void send_manifest(struct connection *c, int status, bool with_digest)
{
	char fields[400];

	snprintf(fields, sizeof(fields), "Content-Type: %s; charset=utf-8\r\n%s%s%s", MANIFEST_TYPE,
		 with_digest ? "Docker-Content-Digest: " : "", with_digest ? manifest_digest : "",
		 with_digest ? "\r\n" : "");
	reply_text(c, status, fields, MANIFEST);
}

/* ---- answers ---- */

static void plain(void *ctx, struct connection *c, const struct seen *q)
{
	(void)ctx;
	if (strstr(q->target, "/manifests/none"))
		reply_text(c, 404, "",
			   "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"no\"}]}");
	else if (seen_field(q, "If-None-Match"))
		send_manifest(c, 304, true);
	else
		send_manifest(c, 200, true);
}

static void a_document_by_tag_and_by_digest(void **state)
{
	struct document d = {0};
	struct seen q;
	struct rig r;

	(void)state;
	rig_open(&r, plain, NULL, "http://", "", NULL, NULL);
	assert_int_equal(source_document(r.source, "a/b", "v1", &r.call, &d, &r.err), 0);
	assert_string_equal(d.bytes, MANIFEST);
	assert_string_equal(d.desc.media_type, MANIFEST_TYPE);
	assert_int_equal(d.desc.size, strlen(MANIFEST));
	document_release(&d);
	assert_int_equal(source_document(r.source, "a/b", manifest_digest, &r.call, &d, &r.err), 0);
	document_release(&d);
	assert_int_equal(source_document(r.source, "a/b", other_digest, &r.call, &d, &r.err),
			 -EBADMSG);
	assert_int_equal(server_count(r.server), 3);
	assert_int_equal(server_connections(r.server), 1);
	q = server_seen(r.server, 0);
	assert_string_equal(q.method, "GET");
	assert_string_equal(q.target, "/v2/a/b/manifests/v1");
	assert_int_equal(seen_fields(&q, "Accept"), 1);
	assert_non_null(strstr(seen_field(&q, "Accept"), "vnd.oci.image.index.v1+json"));
	assert_non_null(strstr(seen_field(&q, "Accept"), "docker.distribution.manifest.v2"));
	assert_string_equal(seen_field(&q, "Accept-Encoding"), "identity");
	assert_non_null(strstr(seen_field(&q, "User-Agent"), "wasmocifs/"));
	assert_null(seen_field(&q, "Authorization"));
	rig_close(&r);
}

static void absence_is_the_origins_word(void **state)
{
	struct descriptor d;
	struct document doc;
	struct rig r;

	(void)state;
	rig_open(&r, plain, NULL, "http://", "", NULL, NULL);
	assert_int_equal(source_resolve(r.source, "x", "none", NULL, &r.call, &d, &r.err), -ENOENT);
	assert_int_equal(server_count(r.server), 1);
	assert_int_equal(source_document(r.source, "x", "none", &r.call, &doc, &r.err), -ENOENT);
	assert_non_null(strstr(r.err.text, "GET /v2/x/manifests/none: 404 MANIFEST_UNKNOWN: no"));
	assert_int_equal(source_down(r.source, NULL), 0);
	rig_close(&r);
}

static void a_tag_costs_one_head(void **state)
{
	struct descriptor first = {0}, second = {0};
	struct source_health h;
	struct rig r;

	(void)state;
	rig_open(&r, plain, NULL, "http://", "", NULL, NULL);
	assert_int_equal(source_resolve(r.source, "x", "v1", NULL, &r.call, &first, &r.err), 0);
	assert_int_equal(source_resolve(r.source, "x", "v1", &first, &r.call, &second, &r.err), 0);
	assert_true(digest_equal(&first.digest, &second.digest));
	assert_int_equal(second.size, strlen(MANIFEST));
	assert_string_equal(second.media_type, MANIFEST_TYPE);
	assert_int_equal(server_count_of(r.server, "HEAD", ""), 2);
	assert_int_equal(server_count(r.server), 2);
	source_health(r.source, &h);
	assert_int_equal(h.requests, 2);
	assert_int_equal(h.last_errno, 0);
	rig_close(&r);
}

struct head_script {
	int status;
	bool with_digest;
	const char *raw; /* all of it, instead */
};

static void odd_head(void *ctx, struct connection *c, const struct seen *q)
{
	const struct head_script *how = ctx;
	bool head = strcmp(q->method, "HEAD") == 0;

	if (head && how->raw)
		send_text(c, how->raw);
	else
		send_manifest(c, head ? how->status : 200, head ? how->with_digest : false);
}

static void where_head_does_not_tell_get_does(void **state)
{
	static const char hex[] =
	    "abababababababababababababababababababababababababababababababab";
	char no_length[400], odd_digest[400], no_type[400];
	const struct head_script ways[] = {
	    {200, false, NULL}, {405, false, NULL},    {403, true, NULL},      {400, false, NULL},
	    {501, false, NULL}, {0, false, no_length}, {0, false, odd_digest}, {0, false, no_type}};

	(void)state;
	snprintf(no_length, sizeof(no_length),
		 "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nDocker-Content-Digest: %s\r\n\r\n",
		 MANIFEST_TYPE, manifest_digest);
	snprintf(odd_digest, sizeof(odd_digest),
		 "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: 9\r\n"
		 "Docker-Content-Digest: blake3:%s\r\n\r\n",
		 MANIFEST_TYPE, hex);
	snprintf(no_type, sizeof(no_type),
		 "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nDocker-Content-Digest: %s\r\n\r\n",
		 manifest_digest);
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		struct head_script how = ways[i];
		struct descriptor d = {0};
		char digest[DIGEST_STRING_MAX];
		struct rig r;

		rig_open(&r, odd_head, &how, "http://", "", NULL, NULL);
		assert_int_equal(source_resolve(r.source, "x", "v1", NULL, &r.call, &d, &r.err), 0);
		digest_string(&d.digest, digest);
		assert_string_equal(digest, manifest_digest);
		assert_int_equal(server_count(r.server), 2);
		rig_close(&r);
	}
}

/* The digest that goes with a document, and how its bytes are sent. */
struct digest_script {
	const char *digest;
	bool encoded;
};

static void with_digest(void *ctx, struct connection *c, const struct seen *q)
{
	const struct digest_script *how = ctx;
	char fields[400];

	(void)q;
	snprintf(fields, sizeof(fields), "Content-Type: %s\r\n%s%s%s%s", MANIFEST_TYPE,
		 how->digest ? "Docker-Content-Digest: " : "", how->digest ? how->digest : "",
		 how->digest ? "\r\n" : "", how->encoded ? "Content-Encoding: gzip\r\n" : "");
	reply_text(c, 200, fields, MANIFEST);
}

static void the_digest_that_goes_with_a_document(void **state)
{
	char right[DIGEST_STRING_MAX], wrong[DIGEST_STRING_MAX], got[DIGEST_STRING_MAX];
	struct digest d;

	(void)state;
	assert_int_equal(digest_of(DIGEST_SHA512, MANIFEST, strlen(MANIFEST), &d), 0);
	digest_string(&d, right);
	assert_int_equal(digest_of(DIGEST_SHA512, "other", 5, &d), 0);
	digest_string(&d, wrong);
	const struct {
		struct digest_script how;
		int code;
		const char *want;
	} v[] = {{{NULL, false}, 0, manifest_digest},
		 {{manifest_digest, false}, 0, manifest_digest},
		 {{right, false}, 0, right},
		 {{"blake3:0123", false}, 0, manifest_digest},
		 {{"nonsense", false}, 0, manifest_digest},
		 {{other_digest, false}, -EBADMSG, "do not match the digest that goes with them"},
		 {{wrong, false}, -EBADMSG, "do not match the digest that goes with them"},
		 {{manifest_digest, true}, 0, manifest_digest},
		 {{other_digest, true}, -EBADMSG, "Content-Encoding"},
		 {{NULL, true}, -EPROTO, "Content-Encoding"}};
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct digest_script how = v[i].how;
		struct document doc = {0};
		struct rig r;

		rig_open(&r, with_digest, &how, "http://", "", NULL, NULL);
		assert_int_equal(source_document(r.source, "x", "v1", &r.call, &doc, &r.err),
				 v[i].code);
		if (v[i].code == 0) {
			struct descriptor head = {0};

			digest_string(&doc.desc.digest, got);
			assert_string_equal(got, v[i].want);
			document_release(&doc);
			assert_int_equal(
			    source_resolve(r.source, "x", "v1", NULL, &r.call, &head, &r.err), 0);
			digest_string(&head.digest, got);
			assert_string_equal(got, v[i].want);
			/* Asked for by a digest, it is the bytes alone that count. */
			assert_int_equal(
			    source_document(r.source, "x", manifest_digest, &r.call, &doc, &r.err),
			    0);
			document_release(&doc);
		} else if (!strstr(r.err.text, v[i].want)) {
			fail_msg("'%s' is not in '%s'", v[i].want, r.err.text);
		}
		rig_close(&r);
	}
}

static void wrong_and_large(void *ctx, struct connection *c, const struct seen *q)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
	char *big;

	(void)ctx;
	if (strstr(q->target, "wrong")) {
		char fields[200];

		snprintf(fields, sizeof(fields), "Docker-Content-Digest: %s\r\n", other_digest);
		reply_text(c, 200, fields, MANIFEST);
		return;
	}
	big = calloc(1, SOURCE_DOCUMENT_MAX + 1);
	assert_non_null(big);
	if (strstr(q->target, "large")) {
		reply(c, 200, "", big, SOURCE_DOCUMENT_MAX + 1);
	} else {
		send_text(c, head);
		for (int i = 0; i < 100; i++) {
			send_text(c, "10000\r\n");
			send_raw(c, big, 0x10000);
			send_text(c, "\r\n");
		}
		close_now(c);
	}
	free(big);
}

static void a_document_has_limits(void **state)
{
	struct document d;
	struct rig r;

	(void)state;
	rig_open(&r, wrong_and_large, NULL, "http://", "", NULL, NULL);
	assert_int_equal(source_document(r.source, "x", "wrong", &r.call, &d, &r.err), -EBADMSG);
	assert_int_equal(source_document(r.source, "x", "large", &r.call, &d, &r.err), -EFBIG);
	assert_int_equal(source_document(r.source, "x", "endless", &r.call, &d, &r.err), -EFBIG);
	assert_int_equal(server_count(r.server), 3);
	rig_close(&r);
}

static void layer_as_manifest(void *ctx, struct connection *c, const struct seen *q)
{
	(void)ctx;
	if (strstr(q->target, "/blobs/"))
		reply_text(c, 200, "", "x");
	else
		reply_text(c, 500, "", "{\"errors\":[{\"code\":\"UNKNOWN\"}]}");
}

static void a_500_about_a_layers_digest_is_no_outage(void **state)
{
	struct document d;
	struct rig r;

	(void)state;
	rig_open(&r, layer_as_manifest, NULL, "http://", "", NULL, NULL);
	assert_int_equal(source_document(r.source, "x", other_digest, &r.call, &d, &r.err),
			 -ENOENT);
	assert_int_equal(server_count(r.server), 2);
	assert_int_equal(source_down(r.source, NULL), 0);
	rig_close(&r);
}

static void kinds(void *ctx, struct connection *c, const struct seen *q)
{
	(void)ctx;
	if (strstr(q->target, "/blobs/") && strstr(q->target, other_digest))
		reply_text(c, 200, "Content-Type: application/wasm\r\n", "other");
	else if (strstr(q->target, "/manifests/") && strstr(q->target, manifest_digest))
		send_manifest(c, 200, true);
	else
		reply_text(c, 404, "", "");
}

static void a_digest_of_unknown_kind(void **state)
{
	struct digest blob, manifest, none;
	struct descriptor d = {0};
	bool is_manifest;
	struct rig r;

	(void)state;
	assert_int_equal(digest_parse(other_digest, strlen(other_digest), &blob), 0);
	assert_int_equal(digest_parse(manifest_digest, strlen(manifest_digest), &manifest), 0);
	assert_int_equal(digest_of(DIGEST_SHA256, "none", 4, &none), 0);
	rig_open(&r, kinds, NULL, "http://", "", NULL, NULL);
	assert_int_equal(
	    source_stat(r.source, "x", &blob, false, &r.call, &d, &is_manifest, &r.err), 0);
	assert_false(is_manifest);
	assert_int_equal(d.size, 5);
	assert_string_equal(d.media_type, "application/wasm");
	assert_int_equal(
	    source_stat(r.source, "x", &manifest, false, &r.call, &d, &is_manifest, &r.err), 0);
	assert_true(is_manifest);
	assert_int_equal(d.size, strlen(MANIFEST));
	assert_string_equal(r.err.text, "");
	assert_int_equal(source_stat(r.source, "x", &none, false, &r.call, &d, NULL, &r.err),
			 -ENOENT);
	rig_close(&r);
}

/* ---- failures ---- */

struct failing {
	atomic_int left; /* so many times */
	int status;
	const char *fields;
};

static void fail_some(void *ctx, struct connection *c, const struct seen *q)
{
	struct failing *f = ctx;

	(void)q;
	if (atomic_fetch_sub(&f->left, 1) > 0)
		reply_text(c, f->status, f->fields, "busy");
	else
		send_manifest(c, 200, true);
}

static void a_5xx_is_tried_again(void **state)
{
	struct failing f = {.left = 2, .status = 503, .fields = ""};
	struct document d = {0};
	struct rig r;

	(void)state;
	rig_open(&r, fail_some, &f, "http://", "", NULL, NULL);
	assert_int_equal(source_document(r.source, "x", "v1", &r.call, &d, &r.err), 0);
	assert_int_equal(server_count(r.server), 3);
	assert_string_equal(r.err.text, "");
	document_release(&d);
	rig_close(&r);
}

static void a_host_that_fails_to_the_end_is_down_for_a_while(void **state)
{
	const struct client_tuning tuning = {.down_ms = 50};
	struct failing f = {.left = 6, .status = 503, .fields = ""};
	struct source_health h;
	struct document d = {0};
	int64_t until_ms;
	struct rig r;

	(void)state;
	rig_open(&r, fail_some, &f, "http://", "", NULL, &tuning);
	assert_int_equal(source_document(r.source, "x", "v1", &r.call, &d, &r.err), -EHOSTUNREACH);
	assert_non_null(strstr(r.err.text, "503: busy"));
	assert_int_equal(server_count(r.server), 5);
	assert_int_equal(source_down(r.source, &r.err), -EHOSTUNREACH);
	assert_int_equal(source_document(r.source, "x", "v1", &r.call, &d, &r.err), -EHOSTUNREACH);
	assert_int_equal(server_count(r.server), 5);
	source_health(r.source, &h);
	assert_int_equal(h.last_errno, EHOSTUNREACH);
	until_ms = clock_ms() + 10000;
	while (source_down(r.source, NULL) < 0 && clock_ms() < until_ms)
		sched_yield();
	/* One try, without repetition; it fails, and the host stays down. */
	assert_int_equal(source_document(r.source, "x", "v1", &r.call, &d, &r.err), -EHOSTUNREACH);
	assert_int_equal(server_count(r.server), 6);
	assert_int_equal(source_down(r.source, NULL), -EHOSTUNREACH);
	while (source_down(r.source, NULL) < 0 && clock_ms() < until_ms)
		sched_yield();
	assert_int_equal(source_document(r.source, "x", "v1", &r.call, &d, &r.err), 0);
	assert_int_equal(source_down(r.source, NULL), 0);
	document_release(&d);
	rig_close(&r);
}

static void a_429_beyond_our_patience(void **state)
{
	struct failing f = {.left = 9, .status = 429, .fields = "Retry-After: 3600\r\n"};
	struct document d = {0};
	struct rig r;

	(void)state;
	rig_open(&r, fail_some, &f, "http://", "", NULL, NULL);
	assert_int_equal(source_document(r.source, "x", "v1", &r.call, &d, &r.err), -EBUSY);
	assert_int_equal(server_count(r.server), 1);
	assert_int_equal(source_down(r.source, NULL), -EBUSY);
	/* Nobody asks before, and nobody waits for it. */
	assert_int_equal(source_document(r.source, "x", "v1", &r.call, &d, &r.err), -EBUSY);
	assert_non_null(strstr(r.err.text, "it has asked us to wait until "));
	assert_int_equal(server_count(r.server), 1);
	struct source_health health;
	source_health(r.source, &health);
	assert_in_range(health.held_ms, 3500000, 3600000);
	rig_close(&r);
}

static void a_short_429_is_waited_for(void **state)
{
	struct failing f = {.left = 2, .status = 429, .fields = "Retry-After: 0.01\r\n"};
	struct document d = {0};
	struct rig r;

	(void)state;
	rig_open(&r, fail_some, &f, "http://", "", NULL, NULL);
	assert_int_equal(source_document(r.source, "x", "v1", &r.call, &d, &r.err), 0);
	assert_int_equal(server_count(r.server), 3);
	document_release(&d);
	rig_close(&r);
}

static void nobody_listens(void **state)
{
	struct document d;
	struct server *gone;
	struct rig r;

	(void)state;
	rig_open(&r, plain, NULL, "", "", NULL, NULL);
	gone = r.server;
	r.server = server_start(plain, NULL);
	server_stop(gone);
	assert_int_equal(source_document(r.source, "x", "v1", &r.call, &d, &r.err), -EHOSTUNREACH);
	assert_int_equal(source_down(r.source, NULL), -EHOSTUNREACH);
	rig_close(&r);
}

static void silent(void *ctx, struct connection *c, const struct seen *q)
{
	(void)ctx;
	(void)q;
	hang(c);
}

static void silence_up_to_the_deadline(void **state)
{
	struct document d;
	struct rig r;

	(void)state;
	rig_open(&r, silent, NULL, "http://", "", NULL, NULL);
	rig_call(&r, 100);
	assert_int_equal(source_document(r.source, "x", "v1", &r.call, &d, &r.err), -ETIMEDOUT);
	rig_call(&r, 20000);
	assert_int_equal(source_down(r.source, &r.err), -ETIMEDOUT);
	assert_int_equal(server_count(r.server), 1);
	rig_close(&r);
}

static void silence_of_a_single_answer(void **state)
{
	const struct client_tuning tuning = {.http = {.answer_ms = 200}};
	struct document d;
	struct rig r;

	(void)state;
	rig_open(&r, silent, NULL, "http://", "", NULL, &tuning);
	assert_int_equal(source_document(r.source, "x", "v1", &r.call, &d, &r.err), -ETIMEDOUT);
	assert_int_equal(server_count(r.server), 5);
	rig_close(&r);
}

static void *cancel_when_asked(void *arg)
{
	struct rig *r = arg;

	while (server_count(r->server) == 0)
		sched_yield();
	call_cancel(&r->call);
	return NULL;
}

static void a_cancelled_call_returns_at_once(void **state)
{
	struct document d;
	pthread_t thread;
	int64_t began_ms;
	struct rig r;

	(void)state;
	rig_open(&r, silent, NULL, "http://", "", NULL, NULL);
	began_ms = clock_ms();
	assert_int_equal(pthread_create(&thread, NULL, cancel_when_asked, &r), 0);
	assert_int_equal(source_document(r.source, "x", "v1", &r.call, &d, &r.err), -ECANCELED);
	assert_true(clock_ms() - began_ms < 5000);
	pthread_join(thread, NULL);
	assert_int_equal(source_down(r.source, NULL), 0);
	rig_close(&r);
}

static void broken(void *ctx, struct connection *c, const struct seen *q)
{
	(void)ctx;
	if (strstr(q->target, "flood")) {
		send_text(c, "HTTP/1.1 200 OK\r\n");
		for (int i = 0; i < 3000; i++)
			send_text(c, "X-Flood: 0123456789012345678901234567890123456789\r\n");
		send_text(c, "\r\n");
	} else if (strstr(q->target, "twice")) {
		send_text(c,
			  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 2\r\n\r\nabc");
	} else if (strstr(q->target, "nothttp")) {
		send_text(c, "hello there\r\n");
	}
	close_now(c);
}

static void what_is_no_http(void **state)
{
	struct document d;
	struct rig r;

	(void)state;
	rig_open(&r, broken, NULL, "http://", "", NULL, NULL);
	assert_int_equal(source_document(r.source, "x", "flood", &r.call, &d, &r.err), -EPROTO);
	assert_int_equal(source_document(r.source, "x", "twice", &r.call, &d, &r.err), -EPROTO);
	assert_int_equal(source_document(r.source, "x", "nothttp", &r.call, &d, &r.err), -EPROTO);
	assert_int_equal(server_count(r.server), 3);
	assert_int_equal(source_document(r.source, "x", "empty", &r.call, &d, &r.err),
			 -EHOSTUNREACH);
	rig_close(&r);
}

/* ---- schemes and names ---- */

static void loopback_without_tls(void **state)
{
	struct descriptor d;
	struct source_health h;
	char title[64], origin[96];
	struct rig r;

	(void)state;
	rig_open(&r, plain, NULL, "", "ns", NULL, NULL);
	snprintf(title, sizeof(title), "127.0.0.1:%u", server_port(r.server));
	snprintf(origin, sizeof(origin), "loopback:%s", title);
	assert_string_equal(source_title(r.source), title);
	assert_string_equal(source_origin(r.source), origin);
	assert_false(source_is_local(r.source));
	assert_int_equal(source_resolve(r.source, "ns/x", "v1", NULL, &r.call, &d, &r.err), 0);
	assert_int_equal(source_resolve(r.source, "ns/x", "v1", NULL, &r.call, &d, &r.err), 0);
	source_health(r.source, &h);
	assert_int_equal(h.requests, 2);
	assert_int_equal(server_connections(r.server), 2); /* one was for TLS */
	assert_string_equal(source_origin(r.source), origin);
	rig_close(&r);
}

static void names_below_the_namespace(void **state)
{
	struct source_options o = {.spec = "docker.io", .timeout_ms = 1000};
	char repo[REPOSITORY_MAX], longest[300] = {0};
	struct source *s;
	struct rig r;

	(void)state;
	rig_open(&r, plain, NULL, "http://", "ns/deep", NULL, NULL);
	assert_int_equal(source_repository(r.source, "a/b", repo), 0);
	assert_string_equal(repo, "ns/deep/a/b");
	memset(longest, 'a', 250);
	assert_int_equal(source_repository(r.source, longest, repo), -ENAMETOOLONG);
	rig_close(&r);
	assert_int_equal(source_open(&o, &s, NULL), 0);
	assert_int_equal(source_repository(s, "alpine", repo), 0);
	assert_string_equal(repo, "library/alpine");
	assert_int_equal(source_repository(s, "foo/bar", repo), 0);
	assert_string_equal(repo, "foo/bar");
	assert_string_equal(source_origin(s), "https:docker.io:443");
	source_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_document_by_tag_and_by_digest),
	    cmocka_unit_test(absence_is_the_origins_word),
	    cmocka_unit_test(a_tag_costs_one_head),
	    cmocka_unit_test(where_head_does_not_tell_get_does),
	    cmocka_unit_test(the_digest_that_goes_with_a_document),
	    cmocka_unit_test(a_document_has_limits),
	    cmocka_unit_test(a_500_about_a_layers_digest_is_no_outage),
	    cmocka_unit_test(a_digest_of_unknown_kind),
	    cmocka_unit_test(a_5xx_is_tried_again),
	    cmocka_unit_test(a_host_that_fails_to_the_end_is_down_for_a_while),
	    cmocka_unit_test(a_429_beyond_our_patience),
	    cmocka_unit_test(a_short_429_is_waited_for),
	    cmocka_unit_test(nobody_listens),
	    cmocka_unit_test(silence_up_to_the_deadline),
	    cmocka_unit_test(silence_of_a_single_answer),
	    cmocka_unit_test(a_cancelled_call_returns_at_once),
	    cmocka_unit_test(what_is_no_http),
	    cmocka_unit_test(loopback_without_tls),
	    cmocka_unit_test(names_below_the_namespace),
	};

	return cmocka_run_group_tests(tests, make_digests, NULL);
}
