/* SPDX-License-Identifier: Apache-2.0 */
/* What comes too slowly to ever arrive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/registry/http_server.h"

#define SIZE       (300u << 10)
#define CRUMBS_MAX 500 /* then the rest comes at once, so that a test ends */

static char blob[SIZE];

static int ignore_begin(void *ctx, uint64_t offset, struct err *err)
{
	(void)ctx;
	(void)offset;
	(void)err;
	return 0;
}

static int count(void *ctx, const void *data, size_t len, struct err *err)
{
	size_t *n = ctx;

	(void)data;
	(void)err;
	*n += len;
	return 0;
}

/* *ret_n: how many bytes came. */
static int get(struct rig *r, size_t *ret_n)
{
	struct sink sink = {.begin = ignore_begin, .write = count, .ctx = ret_n};
	struct digest d;

	assert_int_equal(digest_of(DIGEST_SHA256, blob, SIZE, &d), 0);
	*ret_n = 0;
	return source_blob(r->source, "x", &d, SIZE, 0, &sink, &r->call, NULL, &r->err);
}

static void drip(void *ctx, struct connection *c, const struct seen *q)
{
	char head[100];

	(void)ctx;
	(void)q;
	snprintf(head, sizeof(head), "HTTP/1.1 200 X\r\nContent-Length: %u\r\n\r\n", SIZE);
	send_text(c, head);
	send_raw(c, blob, 100);
	hang(c);
}

static void below_the_lowest_speed(void **state)
{
	const struct client_tuning tuning = {.http = {.slow_ms = 50}};
	struct rig r;
	size_t n;

	(void)state;
	rig_open(&r, drip, NULL, "http://", "", NULL, &tuning);
	rig_call(&r, 5000);
	assert_int_equal(get(&r, &n), -ETIMEDOUT);
	assert_non_null(strstr(r.err.text, "less than 16 KiB/s"));
	assert_int_equal(source_down(r.source, NULL), 0);
	rig_close(&r);
}

struct crumbs {
	atomic_int requests;
	bool whole_parts; /* each part is what it says, and not cut */
};

/* A byte for each connection, or for each answer. */
static void give_crumbs(void *ctx, struct connection *c, const struct seen *q)
{
	struct crumbs *s = ctx;
	const char *range = seen_field(q, "Range");
	bool all = atomic_fetch_add(&s->requests, 1) > CRUMBS_MAX;
	size_t first = 0, last = SIZE - 1, says, gives;
	char head[200];

	if (range && sscanf(range, "bytes=%zu-%zu", &first, &last) != 2)
		first = SIZE - 1;
	gives = all ? last - first + 1 : 1;
	says = s->whole_parts && range ? gives : last - first + 1;
	snprintf(head, sizeof(head),
		 "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n"
		 "Content-Range: bytes %zu-%zu/%u\r\n\r\n",
		 range ? 206 : 200, says, first, first + says - 1, SIZE);
	send_text(c, head);
	send_raw(c, blob + first, gives);
	if (says > gives)
		close_now(c);
}

static void crumbs_are_below_the_lowest_speed(void **state)
{
	const struct client_tuning tuning = {.http = {.slow_ms = 300}, .retry_base_ms = 20};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct crumbs crumbs = {.whole_parts = i};
		struct rig r;
		size_t n;

		rig_open(&r, give_crumbs, &crumbs, "http://", "", NULL, &tuning);
		assert_int_equal(get(&r, &n), -ETIMEDOUT);
		assert_non_null(strstr(r.err.text, "less than 16 KiB/s"));
		assert_true(n > 1);
		rig_close(&r);
	}
}

static void crumbs_give_no_more_time(void **state)
{
	const struct client_tuning tuning = {.retry_base_ms = 20};
	struct crumbs crumbs = {.whole_parts = true};
	struct rig r;
	size_t n;

	(void)state;
	rig_open(&r, give_crumbs, &crumbs, "http://", "", NULL, &tuning);
	rig_call(&r, 300);
	assert_int_equal(get(&r, &n), -ETIMEDOUT);
	assert_true(n > 1);
	rig_close(&r);
}

/* ---- bodies that say nothing, and do not end ---- */

static void stall(void *ctx, struct connection *c, const struct seen *q)
{
	bool redirects = ctx != NULL;
	char head[200];

	if (strstr(q->target, "/there") || seen_field(q, "Authorization")) {
		reply(c, 200, "", blob, SIZE);
		return;
	}
	snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: 100\r\n\r\nwait",
		 redirects ? "307 X\r\nLocation: /there"
			   : "401 X\r\nWWW-Authenticate: Basic realm=\"x\"");
	send_text(c, head);
	hang(c);
}

static void get_past_a_stall(void *redirects)
{
	char path[] = "/tmp/test-http-pace-XXXXXX";
	int64_t began_ms = clock_ms();
	int fd = mkstemp(path);
	struct rig r;
	size_t n;

	assert_true(fd >= 0);
	rig_open(&r, stall, redirects, "http://", "", path, NULL);
	dprintf(fd, "{\"auths\":{\"127.0.0.1:%u\":{\"auth\":\"dTpw\"}}}", server_port(r.server));
	close(fd);
	assert_int_equal(get(&r, &n), 0);
	assert_int_equal(n, SIZE);
	assert_true(clock_ms() - began_ms < 5000);
	rig_close(&r);
	unlink(path);
}

static void a_refusal_is_not_read_to_its_end(void **state)
{
	(void)state;
	get_past_a_stall(NULL);
}

static void a_redirect_is_not_read_to_its_end(void **state)
{
	(void)state;
	get_past_a_stall(blob);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(below_the_lowest_speed),
	    cmocka_unit_test(crumbs_are_below_the_lowest_speed),
	    cmocka_unit_test(crumbs_give_no_more_time),
	    cmocka_unit_test(a_refusal_is_not_read_to_its_end),
	    cmocka_unit_test(a_redirect_is_not_read_to_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
