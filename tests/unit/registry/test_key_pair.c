/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/key_pair.h"
#include "tests/unit/registry/pem.h"

static void refuse(const char *cert, const char *key, const char *part)
{
	struct err err = {""};

	assert_int_equal(key_pair_check(cert, key, &err), -EINVAL);
	if (!strstr(err.text, part))
		fail_msg("%s", err.text);
}

static void what_belongs_together(void **state)
{
	struct pem us, other;
	char *both, *chain;

	(void)state;
	pem_make(&us);
	pem_make(&other);
	assert_true(asprintf(&both, "%s%s", us.key, us.cert) > 0);
	assert_true(asprintf(&chain, "%s%s", us.cert, other.cert) > 0);
	assert_int_equal(key_pair_check(us.cert, us.key, NULL), 0);
	assert_int_equal(key_pair_check(both, both, NULL), 0);
	assert_int_equal(key_pair_check(chain, us.key, NULL), 0);
	refuse(us.cert, other.key, "not the private key of the certificate");
	refuse(us.cert, us.sealed, "a private key with a passphrase");
	refuse(us.cert, us.cert, "no private key that can be read");
	refuse(us.key, us.key, "no certificate that can be read");
	refuse("", us.key, "no certificate that can be read");
	refuse(us.cert, "", "no private key that can be read");
	refuse("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n", us.key,
	       "no certificate that can be read");
	free(both);
	free(chain);
	pem_release(&us);
	pem_release(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(what_belongs_together)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
