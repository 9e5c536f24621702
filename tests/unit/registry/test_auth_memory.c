/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "registry/auth_memory.h"

static struct digest id(int n)
{
	struct digest d;

	assert_int_equal(digest_of(DIGEST_SHA256, &n, sizeof(n), &d), 0);
	return d;
}

static const struct challenge bearer = {
    .bearer = true, .realm = "https://a/token", .scope = "repository:a:pull", .error = "x"};
static const struct challenge basic = {.basic = true};

static void a_challenge_without_its_question(void **state)
{
	struct auth_memory m;
	struct challenge ch;

	(void)state;
	auth_memory_init(&m);
	(void)auth_memory_recall(&m, false, &ch);
	assert_false(ch.bearer || ch.basic);
	auth_memory_learn(&m, false, &bearer, ADDRESS_PRIVATE);
	assert_int_equal(auth_memory_recall(&m, false, &ch), ADDRESS_PRIVATE);
	assert_string_equal(ch.realm, "https://a/token");
	assert_string_equal(ch.scope, "");
	assert_string_equal(ch.error, "");
	auth_memory_release(&m);
}

static void the_catalog_teaches_token_servers_only(void **state)
{
	struct auth_memory m;
	struct challenge ch;

	(void)state;
	auth_memory_init(&m);
	auth_memory_learn(&m, true, &basic, ADDRESS_PUBLIC);
	(void)auth_memory_recall(&m, false, &ch);
	assert_false(ch.bearer || ch.basic);
	(void)auth_memory_recall(&m, true, &ch);
	assert_true(ch.basic);
	auth_memory_learn(&m, true, &bearer, ADDRESS_PUBLIC);
	(void)auth_memory_recall(&m, false, &ch);
	assert_true(ch.bearer);
	auth_memory_learn(&m, false, &basic, ADDRESS_PUBLIC);
	(void)auth_memory_recall(&m, true, &ch);
	assert_true(ch.bearer);
	(void)auth_memory_recall(&m, false, &ch);
	assert_true(ch.basic && !ch.bearer);
	auth_memory_release(&m);
}

static void the_oldest_verdict_goes_first(void **state)
{
	struct auth_memory m;
	struct err why = {""};
	struct digest d = id(0);

	(void)state;
	auth_memory_init(&m);
	assert_false(auth_memory_is_refused(&m, &d, &why));
	auth_memory_refuse(&m, &d, "no");
	assert_true(auth_memory_is_refused(&m, &d, &why));
	assert_string_equal(why.text, "no");
	assert_false(auth_memory_is_denied(&m, &d, NULL));
	/* What is known is said anew, and pushes nothing out. */
	for (int i = 0; i < AUTH_REFUSED_COUNT * 2; i++)
		auth_memory_refuse(&m, &d, "still no");
	for (int i = 1; i < AUTH_REFUSED_COUNT; i++) {
		struct digest other = id(i);

		auth_memory_refuse(&m, &other, "no");
	}
	assert_true(auth_memory_is_refused(&m, &d, &why));
	assert_string_equal(why.text, "still no");
	d = id(99);
	auth_memory_refuse(&m, &d, "no");
	d = id(0);
	assert_false(auth_memory_is_refused(&m, &d, NULL));
	auth_memory_release(&m);
}

static void a_good_login_is_blamed_late(void **state)
{
	struct auth_memory m;
	struct digest good = id(1), unknown = id(2);

	(void)state;
	auth_memory_init(&m);
	assert_true(auth_memory_strike(&m, &unknown));
	auth_memory_accept(&m, &good);
	for (int i = 1; i < AUTH_STRIKES_MAX; i++)
		assert_false(auth_memory_strike(&m, &good));
	auth_memory_accept(&m, &good);
	for (int i = 1; i < AUTH_STRIKES_MAX; i++)
		assert_false(auth_memory_strike(&m, &good));
	assert_true(auth_memory_strike(&m, &good));
	assert_true(auth_memory_strike(&m, &unknown));
	auth_memory_release(&m);
}

static void an_identity_token_is_exchanged(void **state)
{
	struct credential c = {0}, newer = {0};
	struct auth_memory m;
	struct digest other = id(3);

	(void)state;
	auth_memory_init(&m);
	assert_int_equal(credential_make(CREDENTIAL_IDENTITY, "<token>", "old", &c), 0);
	assert_false(auth_memory_newer(&m, &c, &newer));
	auth_memory_renew(&m, &other, "another's");
	assert_false(auth_memory_newer(&m, &c, &newer));
	auth_memory_renew(&m, &c.id, "new");
	assert_true(auth_memory_newer(&m, &c, &newer));
	assert_int_equal(newer.kind, CREDENTIAL_IDENTITY);
	assert_string_equal(newer.secret, "new");
	credential_release(&newer);
	auth_memory_renew(&m, &c.id, NULL);
	assert_false(auth_memory_newer(&m, &c, &newer));
	auth_memory_renew(&m, &c.id, "left behind");
	credential_release(&c);
	auth_memory_release(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_challenge_without_its_question),
	    cmocka_unit_test(the_catalog_teaches_token_servers_only),
	    cmocka_unit_test(the_oldest_verdict_goes_first),
	    cmocka_unit_test(a_good_login_is_blamed_late),
	    cmocka_unit_test(an_identity_token_is_exchanged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
