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
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "registry/token.h"

static int parse(const char *body, struct token *t)
{
	*t = (struct token){0};
	return token_parse(body, strlen(body), t, NULL);
}

static void token_is(const char *body, const char *text, int64_t life_ms)
{
	struct token t;

	assert_int_equal(parse(body, &t), 0);
	assert_string_equal(t.text, text);
	assert_true(t.life_ms == life_ms);
	token_release(&t);
}

static void answers_in_all_their_forms(void **state)
{
	struct token t;

	(void)state;
	token_is("{\"token\":\"a\"}", "a", 60000);
	token_is("{\"access_token\":\"b\"}", "b", 60000);
	token_is("{\"token\":\"a\",\"access_token\":\"b\"}", "b", 60000);
	token_is("{\"token\":\"a\",\"access_token\":\"\"}", "a", 60000);
	token_is("{\"token\":\"a\\r\\n\",\"expires_in\":300}", "a", 300000);
	token_is("{\"token\":\"a\",\"expires_in\":300,\"issued_at\":\"1970-01-01T00:00:00Z\"}", "a",
		 300000);
	assert_int_equal(parse("{}", &t), -EACCES);
	assert_int_equal(parse("{\"token\":\"\"}", &t), -EACCES);
	assert_int_equal(parse("{\"token\":7}", &t), -EACCES);
	assert_int_equal(parse("{\"token\":\"a\\r\\nEvil: 1\"}", &t), -EACCES);
	assert_int_equal(parse("<html>", &t), -EPROTO);
}

static void the_next_identity_token(void **state)
{
	struct token t;

	(void)state;
	assert_int_equal(parse("{\"token\":\"a\",\"refresh_token\":\"next\"}", &t), 0);
	assert_string_equal(t.refresh, "next");
	token_release(&t);
	assert_int_equal(parse("{\"token\":\"a\",\"refresh_token\":\"a\\r\\nb\"}", &t), 0);
	assert_null(t.refresh);
	token_release(&t);
}

static void what_is_not_json_is_not_quoted(void **state)
{
	struct err err = {""};
	struct token t;
	const char *body = "{\"token\":topsecret}";

	(void)state;
	assert_int_equal(token_parse(body, strlen(body), &t, &err), -EPROTO);
	assert_null(strstr(err.text, "topsecret"));
}

static void odd_lifetimes(void **state)
{
	(void)state;
	token_is("{\"token\":\"a\",\"expires_in\":5}", "a", 60000);
	token_is("{\"token\":\"a\",\"expires_in\":-5}", "a", 60000);
	token_is("{\"token\":\"a\",\"expires_in\":\"120\"}", "a", 120000);
	token_is("{\"token\":\"a\",\"expires_in\":\"nan\"}", "a", 60000);
	token_is("{\"token\":\"a\",\"expires_in\":120.5}", "a", 120000);
	token_is("{\"token\":\"a\",\"expires_in\":1e300}", "a", 86400000);
	token_is("{\"token\":\"a\",\"expires_in\":null}", "a", 60000);
	assert_true(token_use_ms(60000) == 54000);
	assert_true(token_use_ms(300000) == 270000);
}

struct fetcher {
	struct token_cache *cache;
	struct digest key;
	atomic_int fetches;
	atomic_int waiting;
	int fail_with;
};

static int fetch(void *ctx, struct call *call, struct token *ret, struct err *err)
{
	struct fetcher *f = ctx;

	(void)call;
	atomic_fetch_add(&f->fetches, 1);
	while (atomic_load(&f->waiting) < 8)
		sched_yield();
	if (f->fail_with)
		return err_set(err, f->fail_with, "no");
	*ret = (struct token){.text = strdup("tok"), .life_ms = 60000};
	return 0;
}

static void *get_one(void *ctx)
{
	struct fetcher *f = ctx;
	struct call call;
	char *text = NULL;
	bool fresh;
	int r;

	call_init(&call, INT64_MAX);
	atomic_fetch_add(&f->waiting, 1);
	r = token_cache_get(f->cache, &f->key, fetch, f, &call, &text, &fresh, NULL);
	call_release(&call);
	if (r == 0 && strcmp(text, "tok") != 0)
		r = -EINVAL;
	free(text);
	return (void *)(intptr_t)r;
}

static void get_by_eight(struct fetcher *f, int want)
{
	pthread_t threads[8];

	for (size_t i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, get_one, f), 0);
	for (size_t i = 0; i < 8; i++) {
		void *r;

		pthread_join(threads[i], &r);
		assert_int_equal((int)(intptr_t)r, want);
	}
}

static void eight_ask_and_one_fetches(void **state)
{
	struct fetcher f = {0};
	char *text = NULL;
	struct call call;
	bool fresh;

	(void)state;
	assert_int_equal(token_cache_new(&f.cache), 0);
	assert_int_equal(digest_of(DIGEST_SHA256, "k", 1, &f.key), 0);
	get_by_eight(&f, 0);
	assert_int_equal(f.fetches, 1);
	call_init(&call, INT64_MAX);
	token_cache_drop(f.cache, &f.key, "another");
	assert_int_equal(token_cache_get(f.cache, &f.key, fetch, &f, &call, &text, &fresh, NULL),
			 0);
	assert_false(fresh);
	free(text);
	token_cache_drop(f.cache, &f.key, "tok");
	assert_int_equal(token_cache_get(f.cache, &f.key, fetch, &f, &call, &text, &fresh, NULL),
			 0);
	assert_true(fresh);
	assert_int_equal(f.fetches, 2);
	free(text);
	call_release(&call);
	token_cache_free(f.cache);
}

static void a_cancelled_waiter_leaves_at_once(void **state)
{
	struct fetcher f = {.waiting = 0};
	pthread_t thread;
	struct call call;
	char *text = NULL;
	bool fresh;
	void *r;

	(void)state;
	assert_int_equal(token_cache_new(&f.cache), 0);
	assert_int_equal(digest_of(DIGEST_SHA256, "k", 1, &f.key), 0);
	assert_int_equal(pthread_create(&thread, NULL, get_one, &f), 0);
	while (atomic_load(&f.fetches) == 0)
		sched_yield();
	call_init(&call, INT64_MAX);
	call_cancel(&call);
	assert_int_equal(token_cache_get(f.cache, &f.key, fetch, &f, &call, &text, &fresh, NULL),
			 -ECANCELED);
	call_release(&call);
	atomic_store(&f.waiting, 8);
	pthread_join(thread, &r);
	assert_int_equal((int)(intptr_t)r, 0);
	token_cache_free(f.cache);
}

static void the_cache_is_bounded(void **state)
{
	struct fetcher f = {.waiting = 8};
	struct call call;

	(void)state;
	assert_int_equal(token_cache_new(&f.cache), 0);
	call_init(&call, INT64_MAX);
	for (int i = 0; i < TOKEN_CACHE_COUNT + 10; i++) {
		char *text = NULL;
		bool fresh;

		assert_int_equal(digest_of(DIGEST_SHA256, &i, sizeof(i), &f.key), 0);
		assert_int_equal(
		    token_cache_get(f.cache, &f.key, fetch, &f, &call, &text, &fresh, NULL), 0);
		free(text);
	}
	assert_int_equal(f.fetches, TOKEN_CACHE_COUNT + 10);
	call_release(&call);
	token_cache_free(f.cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_in_all_their_forms),
	    cmocka_unit_test(the_next_identity_token),
	    cmocka_unit_test(what_is_not_json_is_not_quoted),
	    cmocka_unit_test(odd_lifetimes),
	    cmocka_unit_test(eight_ask_and_one_fetches),
	    cmocka_unit_test(a_cancelled_waiter_leaves_at_once),
	    cmocka_unit_test(the_cache_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
