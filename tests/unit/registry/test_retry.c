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
	assert_true(retry_after_ms("0", NOW) == 0);
	assert_true(retry_after_ms(" 12", NOW) == 12000);
	assert_true(retry_after_ms("0.25", NOW) == 250);
	assert_true(retry_after_ms("-5", NOW) == 0);
	assert_true(retry_after_ms("1700000060", NOW) == 60000); /* a Unix time */
	assert_true(retry_after_ms("1600000000", NOW) == 0);
	assert_true(retry_after_ms("Tue, 14 Nov 2023 22:13:50 GMT", NOW) == 30000);
	assert_true(retry_after_ms("Sun, 06 Nov 1994 08:49:37 GMT", NOW) == 0);
	assert_true(retry_after_ms("Tuesday, 14-Nov-23 22:13:50 GMT", NOW) == 30000); /* obsolete */
	assert_true(retry_after_ms("99999999999999999999999999", NOW) > RETRY_AFTER_MAX_MS);
	assert_true(retry_after_ms("soon", NOW) == -1);
	assert_true(retry_after_ms("", NOW) == -1);
	assert_true(retry_after_ms("12 s", NOW) == -1);
	assert_true(retry_after_ms("Tue, 14 Xxx 2023 22:13:50 GMT", NOW) == -1);
	assert_true(retry_after_ms("Tue, 14 ovD 2023 22:13:50 GMT", NOW) == -1);
	assert_true(retry_after_ms("Tue, 14 Nov 2023 99:13:50 GMT", NOW) == -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(statuses_worth_a_retry),
	    cmocka_unit_test(backoff_stays_within_its_limits),
	    cmocka_unit_test(retry_after_in_all_its_forms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
