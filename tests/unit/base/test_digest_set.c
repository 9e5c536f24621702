/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/digest_set.h"

static struct digest numbered(unsigned n)
{
	struct digest d;
	assert_int_equal(digest_of(DIGEST_SHA256, &n, sizeof(n), &d), 0);
	return d;
}

static void each_is_there_once(void **state)
{
	(void)state;
	struct digest_set s = {0};
	struct digest d = numbered(0);
	assert_false(digest_set_has(&s, &d));
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 100; i++) {
			d = numbered(i);
			assert_int_equal(digest_set_add(&s, &d), 0);
			assert_true(round > 0 || i % 7 != 0 || digest_set_has(&s, &d));
		}
	}
	digest_set_settle(&s);
	assert_int_equal(s.n, 100);
	for (unsigned i = 0; i < 200; i++) {
		d = numbered(i);
		assert_int_equal(digest_set_has(&s, &d), i < 100);
	}
	digest_set_release(&s);
	assert_int_equal(s.n, 0);
	digest_set_settle(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(each_is_there_once)};
	return cmocka_run_group_tests_name("digest_set", tests, NULL, NULL);
}
