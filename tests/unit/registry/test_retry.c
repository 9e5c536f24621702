/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "registry/retry.h"

#define NOW INT64_C(1700000000000) /* 2023-11-14 22:13:20 */

static void statuses_worth_a_retry(void **state)
{
	(void)state;
	assert_true(retry_status(429) && retry_status(500) && retry_status(503));
	assert_true(retry_status(408) && retry_status(425) && retry_status(522));
	assert_false(retry_status(200) || retry_status(404) || retry_status(401));
	assert_false(retry_status(501) || retry_status(416) || retry_status(405));
}

static void backoff_stays_within_its_limits(void **state)
{
	(void)state;
	for (unsigned attempt = 1; attempt < 64; attempt++) {
		int64_t limit = attempt < 8 ? (int64_t)250 << (attempt - 1) : RETRY_CAP_MS;
		int64_t ms = retry_backoff_ms(attempt, 250);

		assert_true(ms >= 0 && ms <= (limit < RETRY_CAP_MS ? limit : RETRY_CAP_MS));
	}
	assert_true(retry_backoff_ms(5, 0) == 0);
}

static void retry_after_in_all_its_forms(void **state)
{
	(void)state;
	assert_true(retry_after_ms("0", NULL, NOW) == 0);
	assert_true(retry_after_ms(" 12", NULL, NOW) == 12000);
	assert_true(retry_after_ms("0.25", NULL, NOW) == 250);
	assert_true(retry_after_ms("-5", NULL, NOW) == 0);
	assert_true(retry_after_ms("1700000060", NULL, NOW) == 60000); /* a Unix time */
	assert_true(retry_after_ms("1600000000", NULL, NOW) == 0);
	assert_true(retry_after_ms("Tue, 14 Nov 2023 22:13:50 GMT", NULL, NOW) == 30000);
	assert_true(retry_after_ms("Sun, 06 Nov 1994 08:49:37 GMT", NULL, NOW) == 0);
	assert_true(retry_after_ms("Tuesday, 14-Nov-23 22:13:50 GMT", NULL, NOW) ==
		    30000); /* obsolete */
	assert_true(retry_after_ms("99999999999999999999999999", NULL, NOW) > RETRY_AFTER_MAX_MS);
	assert_true(retry_after_ms("soon", NULL, NOW) == -1);
	assert_true(retry_after_ms("", NULL, NOW) == -1);
	assert_true(retry_after_ms("12 s", NULL, NOW) == -1);
	assert_true(retry_after_ms("Tue, 14 Xxx 2023 22:13:50 GMT", NULL, NOW) == -1);
	assert_true(retry_after_ms("Tue, 14 ovD 2023 22:13:50 GMT", NULL, NOW) == -1);
	assert_true(retry_after_ms("Tue, 14 Nov 2023 99:13:50 GMT", NULL, NOW) == -1);
}

/* Its clock is an hour ahead of ours, or a day behind. */
static void a_date_is_one_of_the_servers_clock(void **state)
{
	static const char soon[] = "Tue, 14 Nov 2023 23:13:50 GMT";

	(void)state;
	assert_true(retry_after_ms(soon, "Tue, 14 Nov 2023 23:13:20 GMT", NOW) == 30000);
	assert_true(retry_after_ms("Mon, 13 Nov 2023 22:13:50 GMT", "Mon, 13 Nov 2023 22:13:20 GMT",
				   NOW) == 30000);
	assert_true(retry_after_ms("1700003660", "Tue, 14 Nov 2023 23:13:20 GMT", NOW) == 60000);
	assert_true(retry_after_ms("12", "Tue, 14 Nov 2023 23:13:20 GMT", NOW) == 12000);
	assert_true(retry_after_ms(soon, "yesterday", NOW) == 3630000);
	assert_true(retry_after_ms(soon, "", NOW) == 3630000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(statuses_worth_a_retry),
	    cmocka_unit_test(backoff_stays_within_its_limits),
	    cmocka_unit_test(retry_after_in_all_its_forms),
	    cmocka_unit_test(a_date_is_one_of_the_servers_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
