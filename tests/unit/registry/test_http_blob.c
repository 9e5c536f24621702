/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/registry/http_server.h"

#define SIZE (300u << 10) /* of the blob: more than one buffer */

static char *blob;
static struct digest digest;

static int make_blob(void **state)
{
	(void)state;
	blob = malloc(SIZE + 1);
	assert_non_null(blob);
	for (size_t i = 0; i <= SIZE; i++)
		blob[i] = (char)(i * 31 + i / 257);
	return digest_of(DIGEST_SHA256, blob, SIZE, &digest);
}

static int free_blob(void **state)
{
	(void)state;
	free(blob);
	return 0;
}

/* ---- the receiving side ---- */

struct bucket {
	char *bytes; /* room for SIZE */
	uint64_t at;
	unsigned begins;
	int fail_with;
};

static int begin(void *ctx, uint64_t offset, struct err *err)
{
	struct bucket *b = ctx;

	(void)err;
	b->begins++;
	b->at = offset;
	return 0;
}

static int take(void *ctx, const void *data, size_t len, struct err *err)
{
	struct bucket *b = ctx;

	if (b->fail_with)
		return err_set(err, b->fail_with, "the sink is full");
	assert_true(len <= SIZE - b->at);
	memcpy(b->bytes + b->at, data, len);
	b->at += len;
	return 0;
}

static int get(struct rig *r, struct bucket *b, uint64_t offset)
{
	struct sink sink = {.begin = begin, .write = take, .ctx = b};
	_Atomic uint64_t progress = 0;
	int code;

	if (!b->bytes)
		b->bytes = calloc(1, SIZE);
	assert_non_null(b->bytes);
	code =
	    source_blob(r->source, "x", &digest, SIZE, offset, &sink, &r->call, &progress, &r->err);
	if (code == 0) {
		assert_true(b->at == SIZE);
		assert_memory_equal(b->bytes + offset, blob + offset, SIZE - offset);
		assert_true(atomic_load(&progress) >= SIZE - offset);
		assert_string_equal(r->err.text, "");
	}
	return code;
}

/* ---- scripts ---- */

enum way {
	WHOLE,
	CUT_ONCE,      /* half, then a part as asked */
	CUT_IGNORANT,  /* half, then the whole whatever is asked */
	CUT_WRONG,     /* half, then a part that was not asked for, then the whole */
	CUT_416,       /* half, then 416 to any part */
	CUT_416_OTHER, /* the same, with another size */
	CUT_OTHER,     /* half, then a part of another size */
	CUT_EVERY,     /* 64 KiB at a time */
	CUT_FOREVER,   /* nothing but a header */
	NO_LENGTH,     /* ends with the connection */
	NO_LENGTH_CUT, /* the same, too early, once */
	LONGER,
	LONGER_CHUNKED,
	SHORTER,
	PART_UNASKED,
};

struct script {
	enum way way;
	atomic_int requests;
};

static void send_part(struct connection *c, size_t first, size_t last, size_t total, size_t sent)
{
	char head[200];

	snprintf(
	    head, sizeof(head),
	    "HTTP/1.1 206 X\r\nContent-Length: %zu\r\nContent-Range: bytes %zu-%zu/%zu\r\n\r\n",
	    last - first + 1, first, last, total);
	send_text(c, head);
	send_raw(c, blob + first, sent);
}

static void send_whole(struct connection *c, size_t claimed, size_t sent)
{
	char head[200];

	snprintf(head, sizeof(head), "HTTP/1.1 200 X\r\nContent-Length: %zu\r\n\r\n", claimed);
	send_text(c, head);
	send_raw(c, blob, sent);
}

static void send_rest(struct script *s, struct connection *c, size_t first, size_t last)
{
	switch (s->way) {
	case CUT_IGNORANT:
		reply(c, 200, "", blob, SIZE);
		break;
	case CUT_WRONG:
		send_part(c, 0, last - first, SIZE, last - first + 1);
		break;
	case CUT_416:
		reply_text(c, 416, "", "");
		break;
	case CUT_416_OTHER:
		reply_text(c, 416, "Content-Range: bytes */77\r\n", "");
		break;
	case CUT_OTHER:
		send_part(c, first, last, SIZE + 1, last - first + 1);
		break;
	case CUT_EVERY:
		send_part(c, first, last, SIZE, last - first < 65536 ? last - first + 1 : 65536);
		if (last - first >= 65536)
			close_now(c);
		break;
	case CUT_FOREVER:
		send_part(c, first, last, SIZE, 0);
		close_now(c);
		break;
	case WHOLE:
	case CUT_ONCE:
	case NO_LENGTH:
	case NO_LENGTH_CUT:
	case LONGER:
	case LONGER_CHUNKED:
	case SHORTER:
	case PART_UNASKED:
		send_part(c, first, last, SIZE, last - first + 1);
		break;
	}
}

static void send_first(struct script *s, struct connection *c)
{
	bool again = atomic_load(&s->requests) > 1;

	switch (s->way) {
	case WHOLE:
		reply(c, 200, "", blob, SIZE);
		break;
	case CUT_ONCE:
	case CUT_IGNORANT:
	case CUT_WRONG:
	case CUT_416:
	case CUT_416_OTHER:
	case CUT_OTHER:
		send_whole(c, SIZE, again ? SIZE : SIZE / 2);
		if (!again)
			close_now(c);
		break;
	case CUT_EVERY:
		send_whole(c, SIZE, 65536);
		close_now(c);
		break;
	case CUT_FOREVER:
		send_whole(c, SIZE, 0);
		close_now(c);
		break;
	case NO_LENGTH:
	case NO_LENGTH_CUT:
		send_text(c, "HTTP/1.1 200 X\r\nConnection: close\r\n\r\n");
		send_raw(c, blob, s->way == NO_LENGTH ? SIZE : SIZE / 2);
		close_now(c);
		break;
	case LONGER:
		reply(c, 200, "", blob, SIZE + 1);
		break;
	case LONGER_CHUNKED:
		send_text(c, "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n4b001\r\n");
		send_raw(c, blob, SIZE + 1);
		send_text(c, "\r\n0\r\n\r\n");
		break;
	case SHORTER:
		reply(c, 200, "", blob, SIZE - 1);
		break;
	case PART_UNASKED:
		send_part(c, 0, SIZE - 1, SIZE, SIZE);
		break;
	}
}

static void serve_blob(void *ctx, struct connection *c, const struct seen *q)
{
	struct script *s = ctx;
	const char *range = seen_field(q, "Range");
	size_t first, last;

	atomic_fetch_add(&s->requests, 1);
	if (range && sscanf(range, "bytes=%zu-%zu", &first, &last) == 2)
		send_rest(s, c, first, last);
	else
		send_first(s, c);
}

struct expectation {
	enum way way;
	int code;
	size_t requests;
	unsigned begins;
};

static void however_it_is_delivered(void **state)
{
	static const struct expectation cases[] = {
	    {WHOLE, 0, 1, 1},
	    {CUT_ONCE, 0, 2, 1},
	    {CUT_IGNORANT, 0, 2, 2},
	    {CUT_WRONG, 0, 3, 2},
	    {CUT_416, 0, 3, 2},
	    {CUT_416_OTHER, -EBADMSG, 2, 1},
	    {CUT_OTHER, -EBADMSG, 2, 1},
	    {CUT_EVERY, 0, 5, 1},
	    {CUT_FOREVER, -EHOSTUNREACH, 4, 1},
	    {NO_LENGTH, 0, 1, 1},
	    {NO_LENGTH_CUT, 0, 2, 1},
	    {LONGER, -EBADMSG, 1, 0},
	    {LONGER_CHUNKED, -EBADMSG, 1, 1},
	    {SHORTER, -EBADMSG, 1, 0},
	    {PART_UNASKED, -EPROTO, 1, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct script s = {.way = cases[i].way};
		struct bucket b = {0};
		struct rig r;
		int code;

		rig_open(&r, serve_blob, &s, "http://", "", NULL, NULL);
		code = get(&r, &b, 0);
		if (code != cases[i].code || server_count(r.server) != cases[i].requests ||
		    b.begins != cases[i].begins)
			fail_msg("way %d: %d, %zu requests, %u begins: %s", (int)cases[i].way, code,
				 server_count(r.server), b.begins, r.err.text);
		free(b.bytes);
		rig_close(&r);
	}
}

static void from_an_offset_by_a_closed_range(void **state)
{
	struct script s = {.way = WHOLE};
	struct bucket b = {0};
	struct seen q;
	char want[64];
	struct rig r;

	(void)state;
	rig_open(&r, serve_blob, &s, "http://", "", NULL, NULL);
	assert_int_equal(get(&r, &b, 1000), 0);
	q = server_seen(r.server, 0);
	snprintf(want, sizeof(want), "bytes=1000-%u", SIZE - 1);
	assert_string_equal(seen_field(&q, "Range"), want);
	free(b.bytes);
	rig_close(&r);
}

static void the_sinks_error_ends_it(void **state)
{
	struct script s = {.way = WHOLE};
	struct bucket b = {.fail_with = -ENOSPC};
	struct rig r;

	(void)state;
	rig_open(&r, serve_blob, &s, "http://", "", NULL, NULL);
	assert_int_equal(get(&r, &b, 0), -ENOSPC);
	assert_string_equal(r.err.text, "the sink is full");
	assert_int_equal(server_count(r.server), 1);
	free(b.bytes);
	rig_close(&r);
}

/* ---- a reader that is slower than the network ---- */

#define LARGE (16u << 20)

static void serve_large(void *ctx, struct connection *c, const struct seen *q)
{
	(void)q;
	reply(c, 200, "", ctx, LARGE);
}

struct slow_reader {
	struct rig *rig;
	struct hasher *hasher;
	bool waited;
};

/* Lets the ring fill up before it takes anything. */
static int read_late(void *ctx, const void *data, size_t len, struct err *err)
{
	struct slow_reader *s = ctx;
	int64_t until_ms = clock_ms() + 10000;

	(void)err;
	while (!s->waited && clock_ms() < until_ms) {
		struct source_health h;

		source_health(s->rig->source, &h);
		if (h.bytes > HTTP_PIECE_BYTES * (HTTP_PIECES - 2))
			s->waited = true;
		sched_yield();
	}
	return hasher_update(s->hasher, data, len);
}

static int begin_nothing(void *ctx, uint64_t offset, struct err *err)
{
	(void)ctx;
	(void)offset;
	(void)err;
	return 0;
}

static void a_slow_reader_stops_the_transfer_only(void **state)
{
	char *large = malloc(LARGE);
	struct digest want, got;
	struct slow_reader s = {0};
	struct sink sink = {.begin = begin_nothing, .write = read_late, .ctx = &s};
	struct source_health h;
	struct rig r;

	(void)state;
	assert_non_null(large);
	for (size_t i = 0; i < LARGE; i++)
		large[i] = (char)(i * 7 + i / 1000);
	assert_int_equal(digest_of(DIGEST_SHA256, large, LARGE, &want), 0);
	rig_open(&r, serve_large, large, "http://", "", NULL, NULL);
	s.rig = &r;
	assert_int_equal(hasher_new(DIGEST_SHA256, &s.hasher), 0);
	assert_int_equal(source_blob(r.source, "x", &want, LARGE, 0, &sink, &r.call, NULL, &r.err),
			 0);
	assert_true(s.waited);
	assert_int_equal(hasher_final(s.hasher, &got), 0);
	assert_true(digest_equal(&want, &got));
	source_health(r.source, &h);
	assert_int_equal(h.bytes, LARGE);
	hasher_free(s.hasher);
	rig_close(&r);
	free(large);
}

/* ---- many at once ---- */

static void blobs_hang_and_the_rest_answers(void *ctx, struct connection *c, const struct seen *q)
{
	(void)ctx;
	if (strstr(q->target, "/blobs/")) {
		send_whole(c, SOURCE_QUICK_BYTES + 1, 1);
		hang(c);
	} else {
		reply_text(c, 200, "", "{\"tags\":[\"v1\"]}");
	}
}

struct hanger {
	struct rig *rig;
	struct call call;
	int code;
};

static void *get_hanging(void *arg)
{
	struct hanger *h = arg;
	struct bucket b = {.bytes = malloc(SIZE)};
	struct sink sink = {.begin = begin, .write = take, .ctx = &b};

	h->code = source_blob(h->rig->source, "x", &digest, SOURCE_QUICK_BYTES + 1, 0, &sink,
			      &h->call, NULL, NULL);
	free(b.bytes);
	return NULL;
}

static void a_question_does_not_wait_behind_blobs(void **state)
{
	enum { COUNT = 12 };
	struct hanger hangers[COUNT];
	pthread_t threads[COUNT];
	struct names tags = {0};
	struct rig r;

	(void)state;
	rig_open(&r, blobs_hang_and_the_rest_answers, NULL, "http://", "", NULL, NULL);
	for (size_t i = 0; i < COUNT; i++) {
		hangers[i].rig = &r;
		call_init(&hangers[i].call, INT64_MAX);
		assert_int_equal(pthread_create(&threads[i], NULL, get_hanging, &hangers[i]), 0);
	}
	while (server_count(r.server) < HTTP_TRANSFERS_MAX)
		sched_yield();
	assert_int_equal(source_tags(r.source, "x", false, &r.call, &tags, NULL, &r.err), 0);
	assert_int_equal(tags.n, 1);
	names_release(&tags);
	assert_int_equal(server_count_of(r.server, NULL, "/blobs/"), HTTP_TRANSFERS_MAX);
	for (size_t i = 0; i < COUNT; i++)
		call_cancel(&hangers[i].call);
	for (size_t i = 0; i < COUNT; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(hangers[i].code, -ECANCELED);
		call_release(&hangers[i].call);
	}
	rig_close(&r);
}

/* ---- redirects ---- */

struct redirect {
	struct server *storage;
	char location[200];
	atomic_int refuse; /* so many times, by the storage */
	int status;
	atomic_int asked;
};

static void send_away(void *ctx, struct connection *c, const struct seen *q)
{
	struct redirect *d = ctx;
	char fields[300];

	if (!seen_field(q, "Authorization") && strstr(d->location, "secret")) {
		reply_text(c, 401, "WWW-Authenticate: Basic realm=\"x\"\r\n", "");
		return;
	}
	snprintf(fields, sizeof(fields), "%s%s%sSet-Cookie: a=b\r\n",
		 d->location[0] ? "Location: " : "", d->location, d->location[0] ? "\r\n" : "");
	reply_text(c, 307, fields, "go away");
}

static void store(void *ctx, struct connection *c, const struct seen *q)
{
	struct redirect *d = ctx;
	struct script s = {.way = WHOLE};

	if (atomic_fetch_sub(&d->refuse, 1) > 0)
		reply_text(c, d->status, "", "<Error><Code>ExpiredToken</Code></Error>");
	else if (atomic_fetch_add(&d->asked, 1) == 0 && strstr(d->location, "cut")) {
		send_whole(c, SIZE, SIZE / 2);
		close_now(c);
	} else
		serve_blob(&s, c, q);
}

static void redirect_open(struct rig *r, struct redirect *d, const char *query,
			  const char *auth_file, const struct client_tuning *tuning)
{
	d->storage = server_start(store, d);
	snprintf(d->location, sizeof(d->location), "http://127.0.0.1:%u/blob?%s",
		 server_port(d->storage), query);
	rig_open(r, send_away, d, "http://", "", auth_file, tuning);
}

static void redirect_close(struct rig *r, struct redirect *d)
{
	rig_close(r);
	server_stop(d->storage);
}

static void write_auth(const struct rig *r, const char *path)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fprintf(f, "{\"auths\":{\"127.0.0.1:%u\":{\"auth\":\"dTpw\"}}}", server_port(r->server));
	fclose(f);
}

static void no_credential_goes_to_another_origin(void **state)
{
	char path[] = "/tmp/test-http-blob-XXXXXX";
	struct redirect d = {0};
	struct bucket b = {0};
	struct seen q;
	struct rig r;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	redirect_open(&r, &d, "secret=1&cut=1", path, NULL);
	write_auth(&r, path);
	assert_int_equal(get(&r, &b, 0), 0);
	assert_int_equal(server_count(d.storage), 2);
	for (size_t i = 0; i < 2; i++) {
		q = server_seen(d.storage, i);
		assert_string_equal(q.target, "/blob?secret=1&cut=1");
		assert_null(seen_field(&q, "Authorization"));
		assert_null(seen_field(&q, "Cookie"));
		assert_int_equal(seen_field(&q, "Range") != NULL, i == 1);
	}
	/* 401, then with Basic; and with Basic at once for the rest. */
	assert_int_equal(server_count(r.server), 3);
	q = server_seen(r.server, 2);
	assert_string_equal(seen_field(&q, "Authorization"), "Basic dTpw");
	free(b.bytes);
	redirect_close(&r, &d);
	unlink(path);
}

static void a_stale_url_is_resolved_again_once(void **state)
{
	static const struct {
		int status, times, code;
	} cases[] = {{403, 1, 0}, {400, 1, 0}, {403, 9, -EACCES}, {404, 9, -EPROTO}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct redirect d = {.refuse = cases[i].times, .status = cases[i].status};
		struct bucket b = {0};
		struct rig r;

		redirect_open(&r, &d, "X-Signature=hush-hush", NULL, NULL);
		assert_int_equal(get(&r, &b, 0), cases[i].code);
		assert_int_equal(server_count(r.server), 2);
		assert_int_equal(server_count(d.storage), 2);
		assert_null(strstr(r.err.text, "hush-hush"));
		assert_int_equal(source_down(r.source, NULL), 0);
		free(b.bytes);
		redirect_close(&r, &d);
	}
}

static void redirects_that_lead_nowhere(void **state)
{
	static const char *const locations[] = {"", "ftp://127.0.0.1/x", "file:///etc/passwd",
						"/v2/again", "http://u:p@127.0.0.1/"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(locations); i++) {
		struct redirect d = {0};
		struct bucket b = {0};
		struct rig r;

		strcpy(d.location, locations[i]);
		rig_open(&r, send_away, &d, "http://", "", NULL, NULL);
		assert_int_equal(get(&r, &b, 0), -EPROTO);
		assert_int_equal(server_count(r.server),
				 strcmp(locations[i], "/v2/again") ? 1 : TRANSPORT_HOPS_MAX + 1);
		free(b.bytes);
		rig_close(&r);
	}
}

/* The registry is on the public network, as far as this test goes. */
static atomic_uint public_port;

static enum address_class by_port(const struct sockaddr *sa)
{
	struct sockaddr_in in;

	memcpy(&in, sa, sizeof(in));
	return ntohs(in.sin_port) == atomic_load(&public_port) ? ADDRESS_PUBLIC : ADDRESS_LOOPBACK;
}

static void from_the_public_network_nobody_sends_us_home(void **state)
{
	const struct client_tuning tuning = {.http = {.classify = by_port}};
	struct redirect d = {0};
	struct bucket b = {0};
	struct rig r;

	(void)state;
	redirect_open(&r, &d, "", NULL, &tuning);
	atomic_store(&public_port, server_port(r.server));
	assert_int_equal(get(&r, &b, 0), -EACCES);
	assert_int_equal(server_connections(d.storage), 0);
	/* Between neighbours it is fine. */
	atomic_store(&public_port, 1);
	rig_close(&r);
	rig_open(&r, send_away, &d, "http://", "", NULL, &tuning);
	assert_int_equal(get(&r, &b, 0), 0);
	free(b.bytes);
	redirect_close(&r, &d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(however_it_is_delivered),
	    cmocka_unit_test(from_an_offset_by_a_closed_range),
	    cmocka_unit_test(the_sinks_error_ends_it),
	    cmocka_unit_test(a_slow_reader_stops_the_transfer_only),
	    cmocka_unit_test(a_question_does_not_wait_behind_blobs),
	    cmocka_unit_test(no_credential_goes_to_another_origin),
	    cmocka_unit_test(a_stale_url_is_resolved_again_once),
	    cmocka_unit_test(redirects_that_lead_nowhere),
	    cmocka_unit_test(from_the_public_network_nobody_sends_us_home),
	};

	return cmocka_run_group_tests(tests, make_blob, free_blob);
}
