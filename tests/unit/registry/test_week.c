/* SPDX-License-Identifier: Apache-2.0 */
/* A week with tokens that last five minutes. Time is the test's: it defines the
 * clock that the library would bring, and moves it on. The registry and its token
 * server keep the same time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "tests/unit/registry/http_server.h"

#define TOKEN_S 300
#define STEP_MS 97000 /* between two questions: no divisor of a token's time */
#define WEEK_MS (7ll * 24 * 3600 * 1000)
#define READERS 32
#define TOKENS_MOST                                                                                \
	(2 * WEEK_MS / (TOKEN_S * 1000)) /* none is used for less than half its time               \
					  */

static _Atomic int64_t passed_ms;

static int64_t now_ms(clockid_t id)
{
	struct timespec t;

	(void)clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + atomic_load(&passed_ms);
}

int64_t clock_ms(void)
{
	return now_ms(CLOCK_MONOTONIC);
}

int64_t clock_us(void)
{
	return 1000 * now_ms(CLOCK_MONOTONIC);
}

int64_t clock_wall_ms(void)
{
	return now_ms(CLOCK_REALTIME);
}

struct world {
	unsigned port;
	_Atomic unsigned tokens, refusals;
};

/* A token is the time when it ends. */
static void give_token(struct world *w, struct connection *c)
{
	char body[200];

	atomic_fetch_add(&w->tokens, 1);
	snprintf(body, sizeof(body), "{\"token\":\"until-%lld\",\"expires_in\":%d}",
		 (long long)clock_ms() + TOKEN_S * 1000, TOKEN_S);
	reply_text(c, 200, "Content-Type: application/json\r\n", body);
}

static void registry(void *ctx, struct connection *c, const struct seen *q)
{
	struct world *w = ctx;
	const char *sent = seen_field(q, "Authorization");
	const char *until = sent ? strstr(sent, "until-") : NULL;
	char fields[300];

	if (strncmp(q->target, "/token", 6) == 0) {
		give_token(w, c);
	} else if (until && strtoll(until + 6, NULL, 10) > clock_ms()) {
		reply_text(c, 200, "Content-Type: application/json\r\n", "{\"tags\":[\"v1\"]}");
	} else {
		atomic_fetch_add(&w->refusals, 1);
		snprintf(fields, sizeof(fields),
			 "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:%u/token\","
			 "service=\"test\"%s\r\n",
			 w->port, sent ? ",error=\"invalid_token\"" : "");
		reply_text(c, 401, fields, "");
	}
}

static int ask(struct rig *r)
{
	struct names tags = {0};
	struct call call;
	struct err err;

	call_init(&call, clock_ms() + 60000);
	int code = source_tags(r->source, "demo/app", false, &call, &tags, NULL, &err);
	names_release(&tags);
	call_release(&call);
	return code;
}

static void no_reader_ever_sees_a_401(void **state)
{
	struct world w = {0};
	struct rig r;
	unsigned asked = 0;

	(void)state;
	rig_open(&r, registry, &w, "http://", "", NULL, NULL);
	w.port = server_port(r.server);
	for (int64_t begin = clock_ms(); clock_ms() < begin + WEEK_MS; asked++) {
		assert_int_equal(ask(&r), 0);
		atomic_fetch_add(&passed_ms, STEP_MS);
	}
	assert_true(asked >= WEEK_MS / STEP_MS);
	/* The first one teaches the challenge; after that a token goes before its time. */
	assert_int_equal(atomic_load(&w.refusals), 1);
	assert_true(atomic_load(&w.tokens) <= TOKENS_MOST);
	rig_close(&r);
}

struct reader {
	struct rig *rig;
	int code;
};

static void *read_once(void *arg)
{
	struct reader *reader = arg;

	reader->code = ask(reader->rig);
	return NULL;
}

/* All at once, whenever the token has just ended. */
static void many_readers_one_token(void **state)
{
	struct world w = {0};
	struct rig r;

	(void)state;
	rig_open(&r, registry, &w, "http://", "", NULL, NULL);
	w.port = server_port(r.server);
	assert_int_equal(ask(&r), 0);
	for (unsigned round = 1; round <= 5; round++) {
		struct reader readers[READERS];
		pthread_t threads[READERS];

		atomic_fetch_add(&passed_ms, TOKEN_S * 1000);
		for (size_t i = 0; i < READERS; i++) {
			readers[i] = (struct reader){&r, -1};
			assert_int_equal(pthread_create(&threads[i], NULL, read_once, &readers[i]),
					 0);
		}
		for (size_t i = 0; i < READERS; i++) {
			pthread_join(threads[i], NULL);
			assert_int_equal(readers[i].code, 0);
		}
		assert_int_equal(atomic_load(&w.tokens), round + 1);
	}
	assert_int_equal(atomic_load(&w.refusals), 1);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_reader_ever_sees_a_401),
	    cmocka_unit_test(many_readers_one_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
