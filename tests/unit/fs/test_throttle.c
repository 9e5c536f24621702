/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fs/throttle.h"

static bool pass(struct throttle *t, const char *key, const char *text, int64_t now_ms,
		 uint64_t *held)
{
	struct err e;
	(void)err_set(&e, 0, "%s", text);
	*held = 99;
	return throttle_pass(t, "fetch", key, &e, now_ms, held);
}

static void test_one_then_a_count(void **state)
{
	(void)state;
	static struct throttle t;
	uint64_t held;
	assert_true(pass(&t, "ghcr.io 113", "down", 1000, &held));
	assert_int_equal(held, 0);
	for (int i = 1; i <= 1000; i++)
		assert_false(pass(&t, "ghcr.io 113", "down", 1000 + i, &held));
	assert_false(pass(&t, "ghcr.io 113", "down", 1000 + THROTTLE_MS - 1, &held));
	assert_true(pass(&t, "ghcr.io 113", "down", 1000 + THROTTLE_MS, &held));
	assert_int_equal(held, 1001);
	assert_false(pass(&t, "ghcr.io 113", "down", 1001 + THROTTLE_MS, &held));
}

static void test_keys_are_apart(void **state)
{
	(void)state;
	static struct throttle t;
	uint64_t held;
	assert_true(pass(&t, "a", "x", 0, &held));
	assert_true(pass(&t, "b", "x", 0, &held));
	assert_true(pass(&t, "", "x", 0, &held));
	assert_false(pass(&t, "a", "x", 1, &held));
	assert_false(pass(&t, "", "x", 1, &held));
}

/* A key that falls silent still gives its count, once, with its last text. */
static void test_due(void **state)
{
	(void)state;
	static struct throttle t;
	struct throttle_entry due;
	uint64_t held;
	assert_true(pass(&t, "a", "first", 0, &held));
	assert_false(pass(&t, "a", "second", 5, &held));
	assert_false(pass(&t, "a", "third", 6, &held));
	assert_false(throttle_due(&t, THROTTLE_MS - 1, &due));
	assert_true(throttle_due(&t, THROTTLE_MS, &due));
	assert_int_equal(due.held, 2);
	assert_string_equal(due.text.text, "third");
	assert_string_equal(due.component, "fetch");
	assert_false(throttle_due(&t, THROTTLE_MS, &due));
	/* Silent for another minute: forgotten, so the next one is news. */
	assert_false(throttle_due(&t, 2 * THROTTLE_MS, &due));
	assert_true(pass(&t, "a", "again", 2 * THROTTLE_MS + 1, &held));
	assert_int_equal(held, 0);
}

static void test_bounded(void **state)
{
	(void)state;
	static struct throttle t;
	uint64_t held;
	char key[300];
	for (int i = 0; i < 10 * THROTTLE_KEYS; i++) {
		snprintf(key, sizeof(key), "host%d", i);
		assert_true(pass(&t, key, "x", i, &held));
	}
	/* The latest ones are remembered, the first is not. */
	assert_false(pass(&t, key, "x", 1000, &held));
	assert_true(pass(&t, "host0", "x", 1000, &held));
	/* Longer keys count up to their limit. */
	memset(key, 'k', sizeof(key));
	key[sizeof(key) - 1] = '\0';
	assert_true(pass(&t, key, "x", 2000, &held));
	key[THROTTLE_KEY_MAX + 10] = '\0';
	assert_false(pass(&t, key, "x", 2001, &held));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_one_then_a_count),
	    cmocka_unit_test(test_keys_are_apart),
	    cmocka_unit_test(test_due),
	    cmocka_unit_test(test_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
