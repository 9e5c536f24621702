/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "registry/health.h"

static void a_failure_keeps_others_away(void **state)
{
	struct source_health h;
	struct health health;
	struct err err = {""};
	bool trial;

	(void)state;
	health_init(&health, 1000000);
	assert_int_equal(health_enter(&health, &trial, &err), 0);
	assert_false(trial);
	health_failed(&health, -EHOSTUNREACH, "refused");
	assert_int_equal(health_enter(&health, &trial, &err), -EHOSTUNREACH);
	assert_non_null(strstr(err.text, "refused"));
	assert_int_equal(health_down(&health, &err), -EHOSTUNREACH);
	health_get(&health, &h);
	assert_int_equal(h.last_errno, EHOSTUNREACH);
	assert_true(h.since_ms > 0);
	health_good(&health);
	assert_int_equal(health_down(&health, &err), 0);
	health_get(&health, &h);
	assert_int_equal(h.last_errno, 0);
	health_release(&health);
}

static void one_tries_while_the_rest_wait(void **state)
{
	struct health health;
	bool trial, other;

	(void)state;
	health_init(&health, 0);
	health_failed(&health, -ETIMEDOUT, "silent");
	assert_int_equal(health_down(&health, NULL), 0);
	assert_int_equal(health_enter(&health, &trial, NULL), 0);
	assert_true(trial);
	assert_int_equal(health_enter(&health, &other, NULL), -ETIMEDOUT);
	assert_int_equal(health_down(&health, NULL), -ETIMEDOUT);
	/* The one that tried was given up: the next one tries. */
	health_leave(&health, trial);
	assert_int_equal(health_enter(&health, &trial, NULL), 0);
	assert_true(trial);
	health_leave(&health, false);
	assert_int_equal(health_down(&health, NULL), -ETIMEDOUT);
	health_good(&health);
	assert_int_equal(health_enter(&health, &trial, NULL), 0);
	assert_false(trial);
	health_release(&health);
}

static void the_longest_hold_counts(void **state)
{
	struct health health;

	(void)state;
	health_init(&health, 0);
	assert_true(health_held_until(&health) == 0);
	health_hold(&health, 50);
	health_hold(&health, 20);
	assert_true(health_held_until(&health) == 50);
	health_release(&health);
}

static void a_host_that_says_when_to_come_again(void **state)
{
	struct source_health h;
	struct health health;
	struct err err = {""};
	bool trial;

	(void)state;
	health_init(&health, 0);
	health_gate(&health, -EBUSY, "429 slow down", clock_ms() + 1000000);
	assert_int_equal(health_enter(&health, &trial, &err), -EBUSY);
	assert_non_null(strstr(err.text, "429 slow down (it has asked us to wait until "));
	health_get(&health, &h);
	assert_int_equal(h.last_errno, EBUSY);
	assert_in_range(h.held_ms, 1, 1000000);
	health_gate(&health, -EBUSY, "429 slow down", clock_ms() - 1);
	assert_int_equal(health_enter(&health, &trial, &err), 0);
	assert_true(trial);
	health_good(&health);
	health_get(&health, &h);
	assert_true(h.good_ms > 0 && h.held_ms == 0);
	health_release(&health);
}

static void a_host_whose_token_server_fails_is_not_down(void **state)
{
	struct source_health h;
	struct health health;
	bool trial;

	(void)state;
	health_init(&health, 1000000);
	health_failed(&health, -EHOSTUNREACH, "refused");
	health_no_token(&health, -ETIMEDOUT, "token server: silent");
	assert_int_equal(health_enter(&health, &trial, NULL), 0);
	assert_false(trial);
	health_get(&health, &h);
	assert_int_equal(h.last_errno, ETIMEDOUT);
	assert_string_equal(h.text, "token server: silent");
	health_release(&health);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_failure_keeps_others_away),
	    cmocka_unit_test(one_tries_while_the_rest_wait),
	    cmocka_unit_test(the_longest_hold_counts),
	    cmocka_unit_test(a_host_that_says_when_to_come_again),
	    cmocka_unit_test(a_host_whose_token_server_fails_is_not_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
