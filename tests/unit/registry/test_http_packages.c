/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "registry/package_metadata.h"
#include "tests/unit/registry/http_server.h"

/* What the host answers, and what was made of it. */
struct shop {
	int status;
	const char *fields, *body;
	struct server *second; /* where it sends us, if not NULL */
};

static void serve(void *ctx, struct connection *c, const struct seen *q)
{
	const struct shop *shop = ctx;
	char fields[200];

	(void)q;
	if (shop->second) {
		snprintf(fields, sizeof(fields), "Location: http://127.0.0.1:%u/there\r\n",
			 server_port(shop->second));
		reply_text(c, 302, fields, "");
		return;
	}
	reply_text(c, shop->status, shop->fields, shop->body);
}

static int ask(struct rig *rig, const struct shop *shop, struct package_metadata *m)
{
	rig_open(rig, serve, (void *)(uintptr_t)shop, "http://", "", NULL, NULL);
	return source_packages(rig->source, &rig->call, m, &rig->err);
}

static void test_it_is_asked_at_the_host_itself(void **state)
{
	(void)state;
	static const struct shop shop = {
	    200, "", "{\"oci\":{\"registry\":\"ghcr.io\",\"namespacePrefix\":\"w/\"}}", NULL};
	struct package_metadata m;
	struct rig rig;

	assert_int_equal(ask(&rig, &shop, &m), 0);
	assert_string_equal(m.registry, "ghcr.io");
	assert_string_equal(m.prefix, "w/");
	assert_int_equal(server_count(rig.server), 1);
	struct seen seen = server_seen(rig.server, 0);
	assert_string_equal(seen.method, "GET");
	assert_string_equal(seen.target, PACKAGE_METADATA_PATH);
	rig_close(&rig);
}

static void test_what_each_status_means(void **state)
{
	(void)state;
	static const struct {
		struct shop shop;
		int code;
	} v[] = {
	    {{404, "", "", NULL}, -ENOENT},
	    {{410, "", "", NULL}, -ENOENT},
	    {{401, "WWW-Authenticate: Basic realm=\"x\"\r\n", "", NULL}, -EACCES},
	    {{403, "", "", NULL}, -EACCES},
	    {{500, "", "", NULL}, -EHOSTUNREACH},
	    {{503, "", "", NULL}, -EHOSTUNREACH},
	    {{418, "", "", NULL}, -EPROTO},
	    {{200, "Content-Type: text/html\r\n", "<html>", NULL}, -EPROTO},
	    {{200, "", "", NULL}, -EPROTO},
	};
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct package_metadata m;
		struct rig rig;

		assert_int_equal(ask(&rig, &v[i].shop, &m), v[i].code);
		assert_non_null(strstr(rig.err.text, "127.0.0.1"));
		assert_non_null(strstr(rig.err.text, PACKAGE_METADATA_PATH));
		for (size_t n = 0; n < server_count(rig.server); n++) {
			struct seen seen = server_seen(rig.server, n);
			assert_null(seen_field(&seen, "Authorization"));
			assert_string_equal(seen.target, PACKAGE_METADATA_PATH);
		}
		rig_close(&rig);
	}
}

static void test_a_limit(void **state)
{
	(void)state;
	static char body[PACKAGE_METADATA_MAX + 2];
	memset(body, ' ', sizeof(body) - 1);
	body[0] = '{';
	body[1] = '}';
	const struct shop shop = {200, "", body, NULL};
	struct package_metadata m;
	struct rig rig;

	assert_int_equal(ask(&rig, &shop, &m), -EFBIG);
	rig_close(&rig);
}

static void test_it_may_lie_elsewhere(void **state)
{
	(void)state;
	static const struct shop there = {200, "", "{\"ociRegistry\":\"a.b\"}", NULL},
				 nowhere = {404, "", "", NULL};
	static const struct shop *const shops[] = {&there, &nowhere};

	for (size_t i = 0; i < 2; i++) {
		struct server *second = server_start(serve, (void *)(uintptr_t)shops[i]);
		const struct shop shop = {.second = second};
		struct package_metadata m;
		struct rig rig;

		assert_int_equal(ask(&rig, &shop, &m), i == 0 ? 0 : -ENOENT);
		assert_true(server_count(second) >= 1);
		rig_close(&rig);
		server_stop(second);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_it_is_asked_at_the_host_itself),
	    cmocka_unit_test(test_what_each_status_means),
	    cmocka_unit_test(test_a_limit),
	    cmocka_unit_test(test_it_may_lie_elsewhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
