/* SPDX-License-Identifier: Apache-2.0 */
/* Who refers to a manifest, and that an error is never "nobody". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "registry/referrers.h"
#include "tests/unit/registry/http_server.h"

#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define INDEX         "Content-Type: " MEDIA_TYPE_INDEX "\r\n"
#define HEX_A         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B         "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HEX_C         "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define ENTRY(hex, more)                                                                           \
	"{\"mediaType\":\"" MANIFEST_TYPE "\",\"digest\":\"sha256:" hex "\",\"size\":7" more "}"
#define TYPED(type) ",\"artifactType\":\"" type "\",\"annotations\":{\"k\":\"v\"}"
#define PAGE(entries)                                                                              \
	"{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_INDEX "\",\"manifests\":[" entries "]}"

struct said {
	int status;
	const char *fields, *body;
};

/* A registry, as it answers. */
struct shop {
	struct said api, tag;
	const struct said *second; /* the page at ?p=2 */
	const char *sig;           /* digest under cosign's tag, or NULL */
	int cosign_status;         /* of the tags that are not there; 0: 404 */
};

static void serve(void *ctx, struct connection *c, const struct seen *q)
{
	const struct shop *shop = ctx;
	const struct said *s = &shop->api;
	char fields[400];

	if (strstr(q->target, ".sig") && shop->sig) {
		snprintf(fields, sizeof(fields),
			 "Content-Type: " MANIFEST_TYPE "\r\nDocker-Content-Digest: sha256:%s\r\n",
			 shop->sig);
		reply_text(c, 200, fields, "sig");
		return;
	}
	if (strstr(q->target, ".sig") || strstr(q->target, ".att") || strstr(q->target, ".sbom")) {
		reply_text(c, shop->cosign_status ? shop->cosign_status : 404, "", "{}");
		return;
	}
	if (strstr(q->target, "?p=2"))
		s = shop->second;
	else if (strstr(q->target, "/manifests/"))
		s = &shop->tag;
	reply_text(c, s->status, s->fields, s->body);
}

static const struct said none = {404, "", "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\"}]}"};
static const struct said one = {200, INDEX, PAGE(ENTRY(HEX_B, TYPED("application/sig")))};

static struct digest subject(const char *text)
{
	struct digest d;

	assert_int_equal(digest_parse(text, strlen(text), &d), 0);
	return d;
}

struct asked {
	struct rig rig;
	struct referrers found;
	int code;
};

static void ask_about(const char *digest, const struct shop *shop, struct asked *ret)
{
	struct digest d = subject(digest);

	*ret = (struct asked){0};
	rig_open(&ret->rig, serve, (void *)(uintptr_t)shop, "http://", "", NULL, NULL);
	ret->code = source_referrers(ret->rig.source, "a/b", &d, &ret->rig.call, &ret->found,
				     &ret->rig.err);
}

static void ask(const struct shop *shop, struct asked *ret)
{
	ask_about("sha256:" HEX_A, shop, ret);
}

static void done(struct asked *a)
{
	referrers_release(&a->found);
	rig_close(&a->rig);
}

static void assert_digest(const struct referrer *r, const char *hex)
{
	char got[DIGEST_HEX_MAX];

	digest_hex(&r->desc.digest, got);
	assert_string_equal(got, hex);
}

/* ---- the API ---- */

static void the_api_is_asked_without_a_filter(void **state)
{
	const struct shop shop = {.api = one};
	struct asked a;
	struct seen q;

	(void)state;
	ask(&shop, &a);
	assert_int_equal(a.code, 0);
	assert_int_equal(a.found.n, 1);
	assert_digest(&a.found.v[0], HEX_B);
	assert_int_equal(a.found.v[0].desc.size, 7);
	assert_string_equal(a.found.v[0].desc.media_type, MANIFEST_TYPE);
	assert_string_equal(a.found.v[0].artifact_type, "application/sig");
	assert_true(a.found.v[0].type_is_own);
	assert_null(a.found.v[0].cosign);
	assert_string_equal(
	    annotation_get(a.found.v[0].annotations, a.found.v[0].annotation_count, "k"), "v");
	q = server_seen(a.rig.server, 0);
	assert_string_equal(q.method, "GET");
	assert_string_equal(q.target, "/v2/a/b/referrers/sha256:" HEX_A);
	assert_string_equal(seen_field(&q, "Accept"), MEDIA_TYPE_INDEX);
	/* Cosign's three tags, by HEAD; the tag of the schema is not asked for. */
	assert_int_equal(server_count(a.rig.server), 4);
	assert_int_equal(server_count_of(a.rig.server, "HEAD", "/manifests/sha256-" HEX_A "."), 3);
	done(&a);
}

static void pages_are_joined_and_said_once(void **state)
{
	const struct said second = {
	    200, "content-type: APPLICATION/vnd.oci.image.index.v1+json;charset=utf-8\r\n",
	    PAGE(ENTRY(HEX_B, TYPED("application/a")) "," ENTRY(HEX_A, ""))};
	const struct shop shop = {
	    .api = {200, INDEX "Link: <?p=2>; rel=\"next\"\r\n",
		    PAGE(ENTRY(HEX_C, "") "," ENTRY(HEX_B, "") "," ENTRY(
			HEX_B, TYPED("b/b")) ",{\"digest\":\"blake3:" HEX_A "\",\"size\":1}")},
	    .second = &second};
	struct asked a;

	(void)state;
	ask(&shop, &a);
	assert_int_equal(a.code, 0);
	assert_int_equal(a.found.n, 3);
	assert_digest(&a.found.v[0], HEX_A);
	assert_digest(&a.found.v[1], HEX_B);
	assert_digest(&a.found.v[2], HEX_C);
	assert_null(a.found.v[0].artifact_type);
	assert_false(a.found.v[0].type_is_own);
	assert_string_equal(a.found.v[1].artifact_type, "application/a");
	done(&a);
}

static void a_later_page_that_fails_is_an_error(void **state)
{
	static const struct {
		struct said second;
		int code;
	} v[] = {{{404, "", "{}"}, -EPROTO},
		 {{403, "", "{}"}, -EACCES},
		 {{503, "", "{}"}, -EHOSTUNREACH},
		 {{200, "Content-Type: text/html\r\n", "<html>"}, -EPROTO},
		 {{200, INDEX, "{"}, -EPROTO},
		 {{200, INDEX "Link: <?p=2>; rel=next\r\n", PAGE("")}, -EPROTO}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		const struct shop shop = {
		    .api = {200, INDEX "Link: <?p=2>; rel=next\r\n", PAGE(ENTRY(HEX_B, ""))},
		    .second = &v[i].second};
		struct asked a;

		ask(&shop, &a);
		assert_int_equal(a.code, v[i].code);
		assert_int_equal(a.found.n, 0);
		assert_non_null(strstr(a.rig.err.text, "referrers"));
		assert_int_equal(server_count_of(a.rig.server, NULL, "/manifests/"), 0);
		done(&a);
	}
}

static void none_is_an_empty_list(void **state)
{
	const struct shop shop = {.api = {200, INDEX, PAGE("")}};
	struct asked a;

	(void)state;
	ask(&shop, &a);
	assert_int_equal(a.code, 0);
	assert_int_equal(a.found.n, 0);
	assert_int_equal(server_count_of(a.rig.server, "GET", "/manifests/"), 0);
	done(&a);
}

/* ---- where there is no API ---- */

static void other_answers_lead_to_the_tag(void **state)
{
	static const struct {
		struct said api;
		bool lasting;
	} v[] = {{{404, "Content-Type: text/plain\r\n", "404 page not found\n"}, true},
		 {{404, "", "{\"errors\":[{\"code\":\"UNSUPPORTED\"}]}"}, true},
		 {{404, "", "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\"}]}"}, false},
		 {{400, "", "{\"errors\":[{\"code\":\"MANIFEST_INVALID\"}]}"}, false},
		 {{404, "", "{\"errors\":[{\"code\":\"WHATEVER\"}]}"}, false},
		 {{401, "", ""}, false},
		 {{405, "", ""}, true},
		 {{406, "", ""}, false},
		 {{501, "", ""}, true},
		 {{200, "Content-Type: text/html\r\n", "<html>hello</html>"}, false},
		 {{200, "Content-Type: " MANIFEST_TYPE "\r\n", "{}"}, false},
		 {{200, "", "{}"}, false}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		const struct shop shop = {.api = v[i].api, .tag = one};
		struct digest d = subject("sha256:" HEX_A);
		size_t asked_once = 1;
		struct asked a;

		ask(&shop, &a);
		if (a.code != 0)
			fail_msg("%d: %s", v[i].api.status, a.rig.err.text);
		assert_int_equal(a.found.n, 1);
		assert_digest(&a.found.v[0], HEX_B);
		assert_string_equal(a.found.v[0].artifact_type, "application/sig");
		assert_false(a.found.v[0].type_is_own);
		assert_int_equal(
		    server_count_of(a.rig.server, "GET", "/a/b/manifests/sha256-" HEX_A), 1);
		referrers_release(&a.found);
		assert_int_equal(
		    source_referrers(a.rig.source, "a/b", &d, &a.rig.call, &a.found, &a.rig.err),
		    0);
		assert_int_equal(a.found.n, 1);
		assert_int_equal(server_count_of(a.rig.server, NULL, "/referrers/"),
				 asked_once + !v[i].lasting);
		done(&a);
	}
}

static void a_missing_api_is_looked_for_again_in_time(void **state)
{
	const struct shop shop = {.api = {404, "", ""}, .tag = none};
	struct digest d = subject("sha256:" HEX_A);
	struct http_source *h;
	struct asked a;

	(void)state;
	ask(&shop, &a);
	assert_int_equal(a.code, 0);
	h = http_source_of(a.rig.source);
	assert_true(absences_has(&h->no_referrers, "a/b"));
	assert_in_range(h->no_referrers.v[0].until_ms - clock_ms(),
			SOURCE_REFERRERS_ABSENT_MS - 60000, SOURCE_REFERRERS_ABSENT_MS);
	absences_note(&h->no_referrers, "a/b", clock_ms() - 1);
	assert_int_equal(
	    source_referrers(a.rig.source, "a/b", &d, &a.rig.call, &a.found, &a.rig.err), 0);
	assert_int_equal(server_count_of(a.rig.server, NULL, "/referrers/"), 2);
	done(&a);
}

/* What one repository does not have, another may; and what comes back is there. */
static void what_is_missing_is_missing_in_one_repository(void **state)
{
	struct shop shop = {.api = {404, "", ""}, .tag = none};
	struct digest d = subject("sha256:" HEX_A);
	struct absences *no_referrers;
	struct asked a;

	(void)state;
	ask(&shop, &a);
	assert_int_equal(a.found.n, 0);
	shop.api = one;
	assert_int_equal(source_referrers(a.rig.source, "c", &d, &a.rig.call, &a.found, &a.rig.err),
			 0);
	assert_int_equal(a.found.n, 1);
	referrers_release(&a.found);
	no_referrers = &http_source_of(a.rig.source)->no_referrers;
	absences_note(no_referrers, "a/b", clock_ms() - 1);
	assert_int_equal(
	    source_referrers(a.rig.source, "a/b", &d, &a.rig.call, &a.found, &a.rig.err), 0);
	assert_int_equal(a.found.n, 1);
	for (size_t i = 0; i < ARRAY_LEN(no_referrers->v); i++)
		assert_null(no_referrers->v[i].repo);
	done(&a);
}

static void so_many_absences_are_remembered(void **state)
{
	struct absences a;
	int64_t now_ms = clock_ms();
	char repo[20];

	(void)state;
	absences_init(&a);
	for (int i = 0; i <= ABSENCES_MAX; i++) {
		snprintf(repo, sizeof(repo), "r%d", i);
		absences_note(&a, repo, now_ms + 60000 + (i == 7 ? -1 : i));
	}
	assert_false(absences_has(&a, "r7"));
	for (int i = 0; i <= ABSENCES_MAX; i++) {
		snprintf(repo, sizeof(repo), "r%d", i);
		assert_int_equal(absences_has(&a, repo), i != 7);
	}
	absences_release(&a);
}

static void what_the_tag_may_be(void **state)
{
	static const struct {
		struct said tag;
		int code;
		const char *words;
	} v[] = {
	    {{404, "", "{}"}, 0, ""},
	    {{200, "Content-Type: " MANIFEST_TYPE "\r\n",
	      "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX_B
	      "\",\"size\":2},\"layers\":[]}"},
	     0,
	     ""},
	    {{200, "Content-Type: application/vnd.docker.distribution.manifest.list.v2+json\r\n",
	      "{\"schemaVersion\":2,\"manifests\":[" ENTRY(HEX_B, "") "]}"},
	     0,
	     ""},
	    {{200, "Content-Type: application/vnd.docker.distribution.manifest.v1+json\r\n",
	      "{\"schemaVersion\":1}"},
	     0,
	     ""},
	    {{200, INDEX, "garbage"}, -EPROTO, "a/b:sha256-" HEX_A ": "},
	    {{401, "", "{}"}, -EACCES, "401"},
	    {{403, "", "{}"}, -EACCES, "403"},
	    {{429, "Retry-After: 3600\r\n", "{}"}, -EBUSY, "429"},
	    {{500, "", "{}"}, -EHOSTUNREACH, "500"},
	    {{418, "", "{}"}, -EPROTO, "418"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		const struct shop shop = {.api = {404, "", ""}, .tag = v[i].tag};
		struct asked a;

		ask(&shop, &a);
		assert_int_equal(a.code, v[i].code);
		assert_int_equal(a.found.n, 0);
		if (!strstr(a.rig.err.text, v[i].words))
			fail_msg("'%s' is not in '%s'", v[i].words, a.rig.err.text);
		done(&a);
	}
}

static void a_failed_tag_leaves_the_api_unjudged(void **state)
{
	const struct shop shop = {.api = {404, "", ""}, .tag = {401, "", ""}};
	struct asked a;

	(void)state;
	ask(&shop, &a);
	assert_int_equal(a.code, -EACCES);
	assert_false(absences_has(&http_source_of(a.rig.source)->no_referrers, "a/b"));
	done(&a);
}

static void the_tag_of_a_long_digest_is_cut(void **state)
{
	const struct shop shop = {.api = {404, "", ""}, .tag = one};
	struct asked a;
	struct seen q;

	(void)state;
	ask_about("sha512:" HEX_A HEX_B, &shop, &a);
	assert_int_equal(a.code, 0);
	assert_int_equal(a.found.n, 1);
	assert_int_equal(server_count(a.rig.server), 2);
	q = server_seen(a.rig.server, 0);
	assert_string_equal(q.target, "/v2/a/b/referrers/sha512:" HEX_A HEX_B);
	q = server_seen(a.rig.server, 1);
	assert_string_equal(q.target, "/v2/a/b/manifests/sha512-" HEX_A);
	done(&a);
}

/* Harbor 2.7 with a login: a 401 of the API alone, without a challenge. */
static void behind_a_login(void *ctx, struct connection *c, const struct seen *q)
{
	(void)ctx;
	if (!seen_field(q, "Authorization"))
		reply_text(c, 401, "WWW-Authenticate: Basic realm=\"harbor\"\r\n", "{}");
	else if (strstr(q->target, "/referrers/"))
		reply_text(c, 401, "", "{}");
	else if (strstr(q->target, "sha256-" HEX_A "."))
		reply_text(c, 404, "", "{}");
	else
		reply_text(c, one.status, one.fields, one.body);
}

static void a_401_of_the_api_does_not_cost_the_login(void **state)
{
	static const char json[] = "{\"auths\":{\"127.0.0.1:%u\":{\"auth\":\"dTpw\"}}}";
	char path[] = "/tmp/test_referrers.XXXXXX";
	struct digest d = subject("sha256:" HEX_A);
	int fd = mkstemp(path);
	struct asked a = {0};

	(void)state;
	assert_true(fd >= 0);
	rig_open(&a.rig, behind_a_login, NULL, "http://", "", path, NULL);
	dprintf(fd, json, server_port(a.rig.server));
	close(fd);
	assert_int_equal(
	    source_referrers(a.rig.source, "a/b", &d, &a.rig.call, &a.found, &a.rig.err), 0);
	assert_int_equal(a.found.n, 1);
	assert_digest(&a.found.v[0], HEX_B);
	assert_int_equal(server_count_of(a.rig.server, NULL, "/referrers/"), 2);
	done(&a);
	unlink(path);
}

/* ---- errors ---- */

static void an_error_is_never_none(void **state)
{
	static const struct {
		struct said api;
		int code;
		size_t requests;
	} v[] = {{{500, "", "{}"}, -EHOSTUNREACH, 5},
		 {{503, "", "{}"}, -EHOSTUNREACH, 5},
		 {{429, "Retry-After: 3600\r\n", "{}"}, -EBUSY, 1},
		 {{403, "", "{\"errors\":[{\"code\":\"DENIED\"}]}"}, -EACCES, 1},
		 {{401, "WWW-Authenticate: Basic realm=\"x\"\r\n", "{}"}, -EACCES, 1},
		 {{404, "", "{\"errors\":[{\"code\":\"NAME_UNKNOWN\"}]}"}, -ENOENT, 1},
		 {{200, INDEX, "{\"manifests\":["}, -EPROTO, 1},
		 {{200, INDEX, "{\"layers\":[]}"}, -EPROTO, 1},
		 {{418, "", ""}, -EPROTO, 1}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		const struct shop shop = {.api = v[i].api, .tag = none};
		struct asked a;

		ask(&shop, &a);
		if (a.code != v[i].code)
			fail_msg("%d: %d %s", v[i].api.status, a.code, a.rig.err.text);
		assert_non_null(strstr(a.rig.err.text, "127.0.0.1"));
		assert_int_equal(server_count(a.rig.server), v[i].requests);
		assert_int_equal(a.found.n, 0);
		done(&a);
	}
}

static void a_503_is_tried_again(void **state)
{
	const struct client_tuning tuning = {.down_ms = 1};
	struct shop shop = {.api = {503, "", ""}, .tag = none};
	struct digest d = subject("sha256:" HEX_A);
	struct asked a = {0};

	(void)state;
	rig_open(&a.rig, serve, &shop, "http://", "", NULL, &tuning);
	assert_int_equal(
	    source_referrers(a.rig.source, "a/b", &d, &a.rig.call, &a.found, &a.rig.err),
	    -EHOSTUNREACH);
	shop.api = one;
	while (source_down(a.rig.source, NULL) < 0)
		;
	assert_int_equal(
	    source_referrers(a.rig.source, "a/b", &d, &a.rig.call, &a.found, &a.rig.err), 0);
	assert_int_equal(a.found.n, 1);
	done(&a);
}

static void big_pages(void *ctx, struct connection *c, const struct seen *q)
{
	const char *at = strstr(q->target, "?p=");
	unsigned n = at ? (unsigned)strtoul(at + 3, NULL, 10) : 0;
	size_t room = *(const size_t *)ctx;
	char *body = malloc(room + 1), fields[200];

	assert_non_null(body);
	memset(body, ' ', room);
	memcpy(body, PAGE(""), strlen(PAGE("")));
	snprintf(fields, sizeof(fields), INDEX "Link: <?p=%u>; rel=next\r\n", n + 1);
	reply(c, 200, fields, body, room);
	free(body);
}

static void what_is_read_is_bounded(void **state)
{
	static const struct {
		size_t page, requests;
	} v[] = {{SOURCE_DOCUMENT_MAX + 1, 1}, {SOURCE_DOCUMENT_MAX, 5}, {200, 1000}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct digest d = subject("sha256:" HEX_A);
		size_t page = v[i].page;
		struct asked a = {0};

		rig_open(&a.rig, big_pages, &page, "http://", "", NULL, NULL);
		assert_int_equal(
		    source_referrers(a.rig.source, "a/b", &d, &a.rig.call, &a.found, &a.rig.err),
		    -EFBIG);
		assert_int_equal(server_count(a.rig.server), v[i].requests);
		done(&a);
	}
}

/* ---- cosign ---- */

static void cosigns_tags_are_referrers_too(void **state)
{
	const struct shop beside = {.api = one, .sig = HEX_C};
	const struct shop same = {.api = one, .sig = HEX_B};
	struct asked a;

	(void)state;
	ask(&beside, &a);
	assert_int_equal(a.code, 0);
	assert_int_equal(a.found.n, 2);
	assert_digest(&a.found.v[1], HEX_C);
	assert_string_equal(a.found.v[1].cosign, "sig");
	assert_null(a.found.v[1].artifact_type);
	assert_int_equal(a.found.v[1].desc.size, 3);
	done(&a);
	ask(&same, &a);
	assert_int_equal(a.found.n, 1);
	assert_string_equal(a.found.v[0].cosign, "sig");
	assert_string_equal(a.found.v[0].artifact_type, "application/sig");
	done(&a);
}

static void a_tag_of_cosigns_that_fails_is_an_error(void **state)
{
	static const int v[][2] = {{403, -EACCES}, {503, -EHOSTUNREACH}, {401, -EACCES}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		const struct shop shop = {.api = one, .cosign_status = v[i][0]};
		struct asked a;

		ask(&shop, &a);
		assert_int_equal(a.code, v[i][1]);
		assert_int_equal(a.found.n, 0);
		done(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_api_is_asked_without_a_filter),
	    cmocka_unit_test(pages_are_joined_and_said_once),
	    cmocka_unit_test(a_later_page_that_fails_is_an_error),
	    cmocka_unit_test(none_is_an_empty_list),
	    cmocka_unit_test(other_answers_lead_to_the_tag),
	    cmocka_unit_test(a_missing_api_is_looked_for_again_in_time),
	    cmocka_unit_test(what_is_missing_is_missing_in_one_repository),
	    cmocka_unit_test(so_many_absences_are_remembered),
	    cmocka_unit_test(what_the_tag_may_be),
	    cmocka_unit_test(a_failed_tag_leaves_the_api_unjudged),
	    cmocka_unit_test(the_tag_of_a_long_digest_is_cut),
	    cmocka_unit_test(a_401_of_the_api_does_not_cost_the_login),
	    cmocka_unit_test(an_error_is_never_none),
	    cmocka_unit_test(a_503_is_tried_again),
	    cmocka_unit_test(what_is_read_is_bounded),
	    cmocka_unit_test(cosigns_tags_are_referrers_too),
	    cmocka_unit_test(a_tag_of_cosigns_that_fails_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
