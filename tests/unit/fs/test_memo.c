/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/memo.h"

static int alive;

static void retain(void *value)
{
	(void)value;
	alive++;
}

static void release(void *value)
{
	(void)value;
	alive--;
}

static struct memo *make(size_t max)
{
	struct memo_type type = {
	    .max = max, .value_size = sizeof(int), .retain = retain, .release = release};
	struct memo *m = NULL;
	alive = 0;
	assert_int_equal(memo_new(&type, &m), 0);
	return m;
}

static void test_put_get_drop(void **state)
{
	(void)state;
	struct memo *m = make(10);
	int v = 7;
	assert_false(memo_get(m, "a", 1, &v));
	memo_put(m, "a", 1, &v);
	v = 8;
	memo_put(m, "b", 1, &v);
	assert_true(memo_get(m, "a", 1, &v));
	assert_int_equal(v, 7);
	v = 9;
	memo_put(m, "a", 1, &v); /* replaces */
	assert_true(memo_get(m, "a", 1, &v));
	assert_int_equal(v, 9);
	assert_int_equal(alive, 4); /* two kept, two handed out */
	memo_drop(m, "a", 1);
	memo_drop(m, "nobody", 6);
	assert_false(memo_get(m, "a", 1, &v));
	memo_free(m);
	assert_int_equal(alive, 2);
}

static bool is_even(void *ctx, const void *key, size_t key_len, const void *value)
{
	assert_int_equal(key_len, 1);
	assert_int_equal(*(const char *)key - 'a', *(const int *)value);
	++*(int *)ctx;
	return *(const int *)value % 2 == 0;
}

static void test_some_go_at_once(void **state)
{
	(void)state;
	struct memo *m = make(10);
	int seen = 0;
	for (int i = 0; i < 7; i++) {
		char key = (char)('a' + i);
		memo_put(m, &key, 1, &i);
	}
	memo_drop_where(m, is_even, &seen);
	assert_int_equal(seen, 7);
	assert_int_equal(alive, 3);
	for (int i = 0; i < 7; i++) {
		char key = (char)('a' + i);
		int v;
		assert_int_equal(memo_get(m, &key, 1, &v), i % 2);
	}
	memo_free(m);
}

static size_t value_bytes(const void *value)
{
	return (size_t) * (const int *)value;
}

static void test_bounded_in_bytes(void **state)
{
	(void)state;
	struct memo_type type = {
	    .max = 10, .value_size = sizeof(int), .bytes_max = 100, .bytes = value_bytes};
	struct memo *m = NULL;
	int v = 60;
	assert_int_equal(memo_new(&type, &m), 0);
	memo_put(m, "a", 1, &v);
	v = 40;
	memo_put(m, "b", 1, &v);
	assert_true(memo_get(m, "a", 1, &v)); /* both fit; b is the older now */
	v = 30;
	memo_put(m, "c", 1, &v);
	assert_false(memo_get(m, "b", 1, &v));
	assert_true(memo_get(m, "a", 1, &v));
	v = 1000;
	memo_put(m, "d", 1, &v); /* more than there may be, and still kept */
	assert_true(memo_get(m, "d", 1, &v));
	assert_false(memo_get(m, "a", 1, &v));
	assert_false(memo_get(m, "c", 1, &v));
	v = 10;
	memo_put(m, "d", 1, &v); /* another weight in its place */
	v = 90;
	memo_put(m, "e", 1, &v);
	assert_true(memo_get(m, "d", 1, &v));
	assert_int_equal(v, 10);
	memo_free(m);
}

static void test_forgets_the_least_recently_used(void **state)
{
	(void)state;
	struct memo *m = make(3);
	for (int v = 0; v < 3; v++)
		memo_put(m, &v, sizeof(v), &v);
	int key = 0, v = 0;
	assert_true(memo_get(m, &key, sizeof(key), &v)); /* 1 is the oldest now */
	key = v = 3;
	memo_put(m, &key, sizeof(key), &v);
	key = 1;
	assert_false(memo_get(m, &key, sizeof(key), &v));
	key = 0;
	assert_true(memo_get(m, &key, sizeof(key), &v));
	memo_free(m);
	memo_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_put_get_drop),
	    cmocka_unit_test(test_some_go_at_once),
	    cmocka_unit_test(test_forgets_the_least_recently_used),
	    cmocka_unit_test(test_bounded_in_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
