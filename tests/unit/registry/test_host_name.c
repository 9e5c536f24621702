/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "registry/host_name.h"

struct spelling {
	const char *name, *source, *host;
	unsigned port;
	const char *spelt;
	bool qualified, http;
};

static void test_every_spelling(void **state)
{
	(void)state;
	static const struct spelling v[] = {
	    {"ghcr.io", "ghcr.io", "ghcr.io", 0, "ghcr.io", true, false},
	    {"GHCR.io", "GHCR.io", "ghcr.io", 0, "ghcr.io", true, false},
	    {"localhost", "localhost", "localhost", 0, "localhost", false, true},
	    {"localhost:5000", "localhost:5000", "localhost", 5000, "localhost_5000_", true, true},
	    {"localhost_5000_", "localhost:5000", "localhost", 5000, "localhost_5000_", true, true},
	    {"10.0.0.1_80_", "10.0.0.1:80", "10.0.0.1", 80, "10.0.0.1_80_", true, false},
	    {"[::1]:5000", "[::1]:5000", "::1", 5000, "[__1]_5000_", true, true},
	    {"[__1]_5000_", "[::1]:5000", "::1", 5000, "[__1]_5000_", true, true},
	    {"[::1]_5000_", "[::1]:5000", "::1", 5000, "[__1]_5000_", true, true},
	    {"[2001_DB8__1]", "[2001:DB8::1]", "2001:db8::1", 0, "[2001_db8__1]", true, false},
	    {"my_registry", "my_registry", "my_registry", 0, "my_registry", false, false},
	    {"my_registry_8443_", "my_registry:8443", "my_registry", 8443, "my_registry_8443_",
	     true, false},
	    {"a__80_", "a_:80", "a_", 80, "a__80_", true, false},
	    {"oci_5000_", "", "", 0, NULL, false, false},
	    {"Oci_5000_", "", "", 0, NULL, false, false},
	};
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		char source[HOST_NAME_SIZE], spelt[HOST_NAME_SIZE];
		struct source_spec s;
		int r = host_name_parse(v[i].name, source, &s);
		if (!v[i].spelt) {
			assert_int_equal(r, -EINVAL);
			continue;
		}
		assert_int_equal(r, 0);
		assert_string_equal(source, v[i].source);
		assert_string_equal(s.host, v[i].host);
		assert_int_equal(s.port, v[i].port);
		assert_int_equal(s.http, v[i].http);
		assert_int_equal(host_name_is_qualified(&s), v[i].qualified);
		assert_int_equal(host_name_spell(&s, spelt), 0);
		assert_string_equal(spelt, v[i].spelt);
	}
}

static void test_one_registry_has_one_name(void **state)
{
	(void)state;
	static const char *const v[][2] = {
	    {"ghcr.io:443", "ghcr.io"},       {"ghcr.io_443_", "ghcr.io"},
	    {"GHCR.io:0443", "ghcr.io"},      {"ghcr.io:80", "ghcr.io:80"},
	    {"index.docker.io", "docker.io"}, {"index.docker.io:443", "docker.io"},
	    {"[::1]:443", "[::1]"},           {"localhost_5000_", "localhost:5000"}};
	struct source_spec s;
	char source[HOST_NAME_SIZE];
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		assert_int_equal(host_name_parse(v[i][0], source, &s), 0);
		host_name_settle(&s, source);
		assert_string_equal(source, v[i][1]);
	}
	struct err err;
	assert_int_equal(reference_parse_source("http://ghcr.io:80", &s, &err), 0);
	host_name_settle(&s, source);
	assert_string_equal(source, "ghcr.io");
}

static void test_what_is_no_host(void **state)
{
	(void)state;
	static const char *const v[] = {"",
					".git",
					".",
					"..",
					"oci:5000",
					"a/b",
					"http:",
					"ghcr.io:",
					"ghcr.io:v1",
					"a b",
					"a:0",
					"a_0_",
					"a_65536_",
					"[__1",
					"[zz]_80_",
					"1.2.3_80_",
					"-a.io",
					"user@a.io",
					"ghcr.io:1:2",
					"a..b",
					"ghcr.io@sha256:00"};
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		char source[HOST_NAME_SIZE];
		struct source_spec s;
		if (host_name_parse(v[i], source, &s) != -EINVAL)
			fail_msg("'%s' is taken for a host", v[i]);
	}
}

static void test_one_that_cannot_be_told_from_another(void **state)
{
	(void)state;
	char spelt[HOST_NAME_SIZE];
	struct source_spec s = {.kind = SOURCE_REGISTRY, .host = "registry_80_"};
	assert_int_equal(host_name_spell(&s, spelt), -EINVAL);
	s.port = 5000;
	assert_int_equal(host_name_spell(&s, spelt), 0);
	assert_string_equal(spelt, "registry_80__5000_");
}

static void test_keys_of_origins(void **state)
{
	(void)state;
	static const char *const v[][2] = {
	    {"https:ghcr.io:443", "ghcr.io"},
	    {"unverified:harbor.corp:8443", "harbor.corp_8443_"},
	    {"loopback:127.0.0.1:5000", "127.0.0.1_5000_"},
	    {"loopback:[::1]:5000", "[__1]_5000_"},
	    {"loopback:localhost:443", "localhost"},
	};
	static const char *const none[] = {
	    "",          "https:",      "https::443",     "http:ghcr.io:80",
	    "layout:/a", "https:a/b:1", "https:ghcr.io:0"};
	char spelt[HOST_NAME_SIZE];
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		assert_int_equal(host_name_of_origin(v[i][0], spelt), 0);
		assert_string_equal(spelt, v[i][1]);
	}
	for (size_t i = 0; i < ARRAY_LEN(none); i++)
		assert_int_equal(host_name_of_origin(none[i], spelt), -EINVAL);
}

static void test_what_is_local(void **state)
{
	(void)state;
	static const char *const local[] = {"localhost",
					    "a.localhost",
					    "harbor",
					    "nas.local",
					    "metadata.google.internal",
					    "metadata.google.internal.",
					    "x.home.arpa",
					    "a.b.svc",
					    "nas.lan",
					    "x.corp",
					    "fritz.box.",
					    "10.0.0.1.",
					    "0x7f.1..",
					    "a.0x7f000001",
					    "harbor."};
	static const char *const global[] = {"ghcr.io", "internal.example", "local.example",
					     "a.b.c",   "xlocal.io",        "1.example",
					     "svc.io"};
	for (size_t i = 0; i < ARRAY_LEN(local); i++)
		assert_false(host_name_is_global(local[i]));
	for (size_t i = 0; i < ARRAY_LEN(global); i++)
		assert_true(host_name_is_global(global[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_spelling),
	    cmocka_unit_test(test_one_registry_has_one_name),
	    cmocka_unit_test(test_what_is_no_host),
	    cmocka_unit_test(test_one_that_cannot_be_told_from_another),
	    cmocka_unit_test(test_keys_of_origins),
	    cmocka_unit_test(test_what_is_local),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
