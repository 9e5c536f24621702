/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "registry/reference.h"

struct good {
	const char *spec, *host;
	unsigned port;
	bool https, http;
	const char *namespace;
};

static void registries_are_taken_apart(void **state)
{
	(void)state;
	static const struct good v[] = {
	    {"ghcr.io", "ghcr.io", 0, true, false, ""},
	    {"GHCR.io/", "ghcr.io", 0, true, false, ""},
	    {"ghcr.io/bytecodealliance", "ghcr.io", 0, true, false, "bytecodealliance"},
	    {"ghcr.io/a/b/", "ghcr.io", 0, true, false, "a/b"},
	    {"registry.example:8443/ns", "registry.example", 8443, true, false, "ns"},
	    {"127.0.0.1:5000", "127.0.0.1", 5000, true, true, ""},
	    {"127.9.8.7", "127.9.8.7", 0, true, true, ""},
	    {"localhost:5000/x", "localhost", 5000, true, true, "x"},
	    {"Sub.LocalHost", "sub.localhost", 0, true, true, ""},
	    {"[::1]:5000", "::1", 5000, true, true, ""},
	    {"[0:0::1]", "::1", 0, true, true, ""},
	    {"[2001:DB8::1]/n", "2001:db8::1", 0, true, false, "n"},
	    {"http://registry.example:80/n", "registry.example", 80, false, true, "n"},
	    {"https://localhost:1", "localhost", 1, true, false, ""},
	    {"HTTPS://ghcr.io", "ghcr.io", 0, true, false, ""},
	    {"10.0.0.1", "10.0.0.1", 0, true, false, ""},
	    {"128.0.0.1", "128.0.0.1", 0, true, false, ""},
	    {"my_registry:65535", "my_registry", 65535, true, false, ""},
	    {"localhost.example", "localhost.example", 0, true, false, ""},
	    {"notlocalhost", "notlocalhost", 0, true, false, ""},
	};
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct source_spec s;
		struct err err = {""};
		assert_int_equal(reference_parse_source(v[i].spec, &s, &err), 0);
		assert_int_equal(s.kind, SOURCE_REGISTRY);
		assert_string_equal(s.host, v[i].host);
		assert_int_equal(s.port, v[i].port);
		assert_int_equal(s.https, v[i].https);
		assert_int_equal(s.http, v[i].http);
		assert_string_equal(s.namespace, v[i].namespace);
		assert_string_equal(err.text, "");
	}
}

static void impossible_sources_are_explained(void **state)
{
	(void)state;
	static const char *const v[][2] = {
	    {"", "no host"},
	    {"/srv/layout", "a local image layout is written oci:DIRECTORY"},
	    {"./layout", "a local image layout is written oci:DIRECTORY"},
	    {"ftp://x", "an unknown scheme"},
	    {"https://", "no host"},
	    {"http:///a", "no host"},
	    {"ghcr.io:", "the port is not a number from 1 to 65535"},
	    {"ghcr.io:0", "the port is not a number from 1 to 65535"},
	    {"ghcr.io:65536", "the port is not a number from 1 to 65535"},
	    {"ghcr.io:99999999999999999999", "the port is not a number from 1 to 65535"},
	    {"ghcr.io:5000x", "the port is not a number from 1 to 65535"},
	    {"ghcr.io:-1", "the port is not a number from 1 to 65535"},
	    {"::1", "no host"},
	    {"fe80::1:5000", "an IPv6 address needs brackets"},
	    {"[::1", "the bracket of the IPv6 address is not closed"},
	    {"[::g]", "not an IPv6 address"},
	    {"[]", "not an IPv6 address"},
	    {"[::1]x", "not a host"},
	    {"[fe80::1%eth0]", "not an IPv6 address"},
	    {"ghcr..io", "not a host name"},
	    {"ghcr.io.", "not a host name"},
	    {"-ghcr.io", "not a host name"},
	    {"gh cr.io", "not a host name"},
	    {"gh\ncr.io", "not a host name"},
	    {"127.1", "not an IPv4 address"},
	    {"0x7f000001", "not an IPv4 address"},
	    {"2130706433", "not an IPv4 address"},
	    {"127.0.0.0x1", "not an IPv4 address"},
	    {"0177.0.0.1", "not an IPv4 address"},
	    {"1.2.3.4.5", "not an IPv4 address"},
	    {"256.1.1.1", "not an IPv4 address"},
	    {"ghcr.io/Upper", "the namespace is not one"},
	    {"ghcr.io/a//b", "the namespace is not one"},
	    {"ghcr.io/../b", "the namespace is not one"},
	    {"ghcr.io/a:v1", "not one image"},
	    {"oci:", "no directory"},
	    {"oci://ghcr.io/a", "a registry goes without oci://"},
	};
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct source_spec s;
		struct err err = {""};
		assert_int_equal(reference_parse_source(v[i][0], &s, &err), -EINVAL);
		assert_non_null(strstr(err.text, v[i][1]));
		assert_non_null(strstr(err.text, "oci:DIRECTORY"));
	}
}

static void secrets_are_not_repeated(void **state)
{
	(void)state;
	static const char *const v[] = {"https://user:s3cret@ghcr.io", "user:s3cret@ghcr.io/a",
					"https://ghcr.io/?token=s3cret", "ftp://u:s3cret@x",
					"ghcr.io/a#s3cret"};
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct source_spec s;
		struct err err = {""};
		assert_int_equal(reference_parse_source(v[i], &s, &err), -EINVAL);
		assert_null(strstr(err.text, "s3cret"));
	}
}

static void directories_become_absolute(void **state)
{
	(void)state;
	struct source_spec s;
	struct err err = {""};
	char cwd[4000];
	char expected[4096];
	assert_int_equal(reference_parse_source("oci:/srv/a:b", &s, &err), 0);
	assert_int_equal(s.kind, SOURCE_LAYOUT);
	assert_string_equal(s.directory, "/srv/a:b");
	assert_int_equal(reference_parse_source("oci:///srv", &s, &err), 0);
	assert_string_equal(s.directory, "///srv");
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	(void)snprintf(expected, sizeof(expected), "%s/x/../y", cwd);
	assert_int_equal(reference_parse_source("oci:x/../y", &s, &err), 0);
	assert_string_equal(s.directory, expected);
}

static void long_sources_are_refused(void **state)
{
	(void)state;
	struct source_spec s;
	struct err err = {""};
	char spec[6000];
	memset(spec, 'a', sizeof(spec));
	spec[sizeof(spec) - 1] = '\0';
	assert_int_equal(reference_parse_source(spec, &s, &err), -EINVAL);
	memcpy(spec, "oci:", 4);
	assert_int_equal(reference_parse_source(spec, &s, &err), -EINVAL);
	memcpy(spec, "host/", 5);
	assert_int_equal(reference_parse_source(spec, &s, &err), -EINVAL);
	memcpy(spec, "[", 1);
	memcpy(spec + 300, "]", 2);
	assert_int_equal(reference_parse_source(spec, &s, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(registries_are_taken_apart),
	    cmocka_unit_test(impossible_sources_are_explained),
	    cmocka_unit_test(secrets_are_not_repeated),
	    cmocka_unit_test(directories_become_absolute),
	    cmocka_unit_test(long_sources_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
