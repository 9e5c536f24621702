/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of a blob: closed ranges, of one object. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/registry/http_server.h"

#define SIZE  ((size_t)300000)
#define FIRST ((size_t)100000)
#define LAST  ((size_t)199999)

enum way {
	RIGHT,
	IGNORANT,   /* all of it */
	ELSEWHERE,  /* another first byte */
	LONGER,     /* another last byte */
	UNTOLD,     /* no Content-Range */
	NONSENSE,   /* one that is none */
	NONE,       /* 416 */
	OTHER_SIZE, /* of another blob, it seems */
	SHORT,      /* a part of it at a time */
	CUT,        /* the connection ends in its middle, twice */
	RENAMED,    /* another ETag each time */
	WEAK,       /* the same, which says nothing */
};

struct script {
	enum way way;
	atomic_uint requests;
};

static char blob[SIZE];

struct got {
	char bytes[SIZE];
	uint64_t at, first_begin;
	unsigned begins;
};

static int on_begin(void *ctx, uint64_t offset, struct err *err)
{
	struct got *g = ctx;

	(void)err;
	g->at = offset;
	if (g->begins++ == 0)
		g->first_begin = offset;
	return 0;
}

static int on_write(void *ctx, const void *data, size_t len, struct err *err)
{
	struct got *g = ctx;

	(void)err;
	assert_true(g->at + len <= SIZE);
	memcpy(g->bytes + g->at, data, len);
	g->at += len;
	return 0;
}

static void part(struct connection *c, size_t first, size_t last, size_t total, size_t sent,
		 const char *more)
{
	char head[256];

	snprintf(
	    head, sizeof(head),
	    "HTTP/1.1 206 X\r\nContent-Range: bytes %zu-%zu/%zu\r\nContent-Length: %zu\r\n%s\r\n",
	    first, last, total, last - first + 1, more);
	send_text(c, head);
	send_raw(c, blob + first, sent);
}

static void serve(void *ctx, struct connection *c, const struct seen *q)
{
	struct script *s = ctx;
	const char *range = seen_field(q, "Range");
	unsigned n = atomic_fetch_add(&s->requests, 1);
	size_t first = 0, last = 0;
	char etag[64], *end;

	/* Always a closed range. */
	assert_non_null(range);
	assert_int_equal(strncmp(range, "bytes=", 6), 0);
	first = strtoul(range + 6, &end, 10);
	assert_int_equal(*end, '-');
	last = strtoul(end + 1, NULL, 10);
	size_t len = last - first + 1;
	switch (s->way) {
	case RIGHT:
		part(c, first, last, SIZE, len, "ETag: \"same\"\r\n");
		break;
	case IGNORANT:
		reply(c, 200, "", blob, SIZE);
		break;
	case ELSEWHERE:
		part(c, first + 1, last, SIZE, len - 1, "");
		break;
	case LONGER:
		part(c, first, last + 1, SIZE, len + 1, "");
		break;
	case UNTOLD:
		reply(c, 206, "", blob + first, len);
		break;
	case NONSENSE:
		reply(c, 206, "Content-Range: bytes all\r\n", blob + first, len);
		break;
	case NONE:
		reply_text(c, 416, "", "");
		break;
	case OTHER_SIZE:
		part(c, first, last, SIZE + 1, len, "");
		break;
	case SHORT:
		part(c, first, len > 30000 ? first + 29999 : last, SIZE, len > 30000 ? 30000 : len,
		     "");
		break;
	case CUT:
		part(c, first, last, SIZE, n < 2 ? len / 2 : len, "");
		if (n < 2)
			close_now(c);
		break;
	case RENAMED:
	case WEAK:
		snprintf(etag, sizeof(etag), "ETag: %s\"%u\"\r\n", s->way == WEAK ? "W/" : "", n);
		part(c, first, last, SIZE, len, etag);
		break;
	}
}

static int ask(struct rig *r, struct got *g, struct source_etag *etag)
{
	struct digest d = {.alg = DIGEST_SHA256, .len = 32, .bytes = {1}};
	struct source_part p = {
	    .repo = "a/b", .digest = &d, .size = SIZE, .first = FIRST, .last = LAST, .quick = true};
	struct sink sink = {on_begin, on_write, g};

	memset(g, 0, sizeof(*g));
	rig_call(r, 20000);
	return source_part(r->source, &p, &sink, &r->call, etag, &r->err);
}

static void however_it_is_delivered(void **state)
{
	static const struct {
		enum way way;
		int code;
		unsigned requests;
	} cases[] = {
	    {RIGHT, 0, 1},        {IGNORANT, 0, 1},          {ELSEWHERE, -EPROTO, 1},
	    {LONGER, -EPROTO, 1}, {UNTOLD, -EPROTO, 1},      {NONSENSE, -EPROTO, 1},
	    {NONE, -EPROTO, 1},   {OTHER_SIZE, -EBADMSG, 1}, {SHORT, 0, 4},
	    {CUT, 0, 3},
	};
	static struct got g;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct script s = {.way = cases[i].way};
		struct source_etag etag = {""};
		struct rig r;

		rig_open(&r, serve, &s, "", "", NULL, NULL);
		assert_true(source_in_parts(r.source, "a/b"));
		int rc = ask(&r, &g, &etag);
		if (rc != cases[i].code || atomic_load(&s.requests) != cases[i].requests)
			fail_msg("case %zu: %d after %u requests: %s", i, rc,
				 atomic_load(&s.requests), r.err.text);
		if (rc == 0) {
			assert_memory_equal(g.bytes + FIRST, blob + FIRST, LAST - FIRST + 1);
			assert_int_equal(g.first_begin, s.way == IGNORANT ? 0 : FIRST);
			assert_int_equal(g.begins, 1);
			assert_int_equal(g.at, s.way == IGNORANT ? SIZE : LAST + 1);
		}
		rig_close(&r);
	}
}

static void parts_are_of_one_object(void **state)
{
	static struct got g;
	struct script s = {.way = RIGHT};
	struct source_etag etag = {""};
	struct rig r;

	(void)state;
	rig_open(&r, serve, &s, "", "", NULL, NULL);
	assert_int_equal(ask(&r, &g, &etag), 0);
	assert_string_equal(etag.text, "\"same\"");
	assert_int_equal(ask(&r, &g, &etag), 0);
	struct seen q = server_seen(r.server, server_count(r.server) - 1);
	assert_string_equal(seen_field(&q, "If-Range"), "\"same\"");
	s.way = RENAMED;
	assert_int_equal(ask(&r, &g, &etag), -EPROTO);
	assert_non_null(strstr(r.err.text, "another object"));
	/* And then it begins anew. */
	assert_string_equal(etag.text, "");
	assert_int_equal(ask(&r, &g, &etag), 0);
	etag.text[0] = '\0';
	s.way = WEAK;
	assert_int_equal(ask(&r, &g, &etag), 0);
	assert_string_equal(etag.text, "");
	rig_close(&r);
}

static void plain_http_elsewhere_is_no_way(void **state)
{
	static const struct {
		const char *spec;
		bool in_parts;
	} cases[] = {
	    {"ghcr.io", true},        {"https://ghcr.io", true},  {"http://ghcr.io", false},
	    {"127.0.0.1:5000", true}, {"http://localhost", true}, {"http://10.0.0.1:5000", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct source_options o = {
		    .spec = cases[i].spec, .hosts_dir = "/", .timeout_ms = 1000};
		struct source *s = NULL;
		struct err err;

		assert_int_equal(source_open(&o, &s, &err), 0);
		if (source_in_parts(s, "a/b") != cases[i].in_parts)
			fail_msg("%s", cases[i].spec);
		source_free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(however_it_is_delivered),
	    cmocka_unit_test(parts_are_of_one_object),
	    cmocka_unit_test(plain_http_elsewhere_is_no_way),
	};
	for (size_t i = 0; i < SIZE; i++)
		blob[i] = (char)(i * 7 + (i >> 9));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
