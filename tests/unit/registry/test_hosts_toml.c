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

#include "registry/hosts_toml.h"

static struct endpoint_list parse(const char *text)
{
	struct endpoint_list l = {0};
	struct err err = {""};

	if (hosts_toml_parse(text, strlen(text), "/d", &l, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return l;
}

static void refuse(const char *text, const char *part)
{
	struct endpoint_list l = {0};
	struct err err = {""};

	if (hosts_toml_parse(text, strlen(text), "/d", &l, &err) != -EINVAL)
		fail_msg("%s: taken", text);
	if (!strstr(err.text, part))
		fail_msg("%s: %s", text, err.text);
	assert_null(strstr(err.text, "s3cret"));
}

static void mirrors_in_the_order_of_the_file(void **state)
{
	struct endpoint_list l = parse("server = \"https://registry-1.docker.io\"\n"
				       "[host.\"https://z.example\"]\n"
				       "capabilities = [\"pull\"]\n"
				       "[host.\"http://a.example:5000\"]\n"
				       "skip_verify = true\n"
				       "dial_timeout = \"200ms\"\n"
				       "capabilities = [\"Resolve\", \"push\"]\n"
				       "[host.\"b.example\"]\n");

	(void)state;
	assert_int_equal(l.n, 4);
	assert_string_equal(l.v[0].url.host, "z.example");
	assert_true(l.v[0].url.https);
	assert_int_equal(l.v[0].capabilities, ENDPOINT_PULL);
	assert_true(l.v[0].by_namespace);
	assert_string_equal(l.v[1].url.host, "a.example");
	assert_int_equal(l.v[1].url.port, 5000);
	assert_false(l.v[1].url.https);
	assert_true(l.v[1].skip_verify);
	assert_int_equal(l.v[1].dial_ms, 200);
	assert_int_equal(l.v[1].capabilities, ENDPOINT_RESOLVE);
	assert_true(l.v[2].url.https);
	assert_int_equal(l.v[2].capabilities, ENDPOINT_PULL | ENDPOINT_RESOLVE);
	assert_string_equal(l.v[3].url.host, "registry-1.docker.io");
	assert_string_equal(l.v[3].api, "/v2");
	endpoint_list_release(&l);
}

static void without_a_server_the_registry_is_the_last(void **state)
{
	struct endpoint_list l = parse("skip_verify = true\nca = 'x.crt'\nunknown = 1\n"
				       "[host.'https://m'.header]\na = 'b'\n");

	(void)state;
	assert_int_equal(l.n, 2);
	assert_string_equal(l.v[0].headers.v[0], "a: b");
	assert_null(l.v[1].url.text);
	assert_true(l.v[1].skip_verify);
	assert_string_equal(l.v[1].ca.v[0], "/d/x.crt");
	endpoint_list_release(&l);
	l = parse("server = ''");
	assert_int_equal(l.n, 1);
	assert_null(l.v[0].url.text);
	endpoint_list_release(&l);
}

/* Exactly one /v2, unless the path is said to be all. */
static void where_the_api_begins(void **state)
{
	static const struct {
		const char *url, *api, *overridden;
	} cases[] = {
	    {"https://h", "/v2", ""},
	    {"https://h/", "/v2", ""},
	    {"https://h/v2", "/v2", "/v2"},
	    {"https://h/v2/", "/v2", "/v2"},
	    {"https://h/p", "/p/v2", "/p"},
	    {"https://h/p/v2/", "/p/v2", "/p/v2"},
	    {"https://h/v2/proj", "/v2/proj/v2", "/v2/proj"},
	    {"https://h//v2//p//", "/v2/p/v2", "/v2/p"},
	    {"https://h/a b", "/a%20b/v2", "/a%20b"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		for (int override = 0; override <= 1; override++) {
			struct endpoint_list l;
			char text[200];

			snprintf(text, sizeof(text), "[host.\"%s\"]\noverride_path = %s\n",
				 cases[i].url, override ? "true" : "false");
			l = parse(text);
			assert_string_equal(l.v[0].api,
					    override ? cases[i].overridden : cases[i].api);
			endpoint_list_release(&l);
		}
	}
}

static void files_and_headers(void **state)
{
	struct endpoint_list l = parse("[host.\"https://h\"]\n"
				       "ca = [\"a.crt\", \"/b.crt\"]\n"
				       "client = [\"both.pem\", [\"c.cert\", \"/k.key\"]]\n"
				       "[host.\"https://h\".header]\n"
				       "x-a = \"1\"\nx-b = [\"2\", \"3\"]\nx-c = \"\"\n"
				       "[host.\"https://i\"]\nclient = \"one.pem\"\n"
				       "[host.\"https://j\"]\nclient = []\nca = []\n");
	const struct endpoint *e = l.v;

	(void)state;
	assert_string_equal(e->ca.v[0], "/d/a.crt");
	assert_string_equal(e->ca.v[1], "/b.crt");
	assert_int_equal(e->pair_count, 2);
	assert_string_equal(e->pairs[0].cert, "/d/both.pem");
	assert_null(e->pairs[0].key);
	assert_string_equal(e->pairs[1].cert, "/d/c.cert");
	assert_string_equal(e->pairs[1].key, "/k.key");
	assert_int_equal(e->headers.n, 4);
	assert_string_equal(e->headers.v[0], "x-a: 1");
	assert_string_equal(e->headers.v[2], "x-b: 3");
	assert_string_equal(e->headers.v[3], "x-c;");
	assert_string_equal(l.v[1].pairs[0].cert, "/d/one.pem");
	endpoint_list_release(&l);
}

static void what_cannot_be_understood_is_refused(void **state)
{
	(void)state;
	refuse("server = 1", "line 1: 'server': not a string");
	refuse("\nserver = 'ftp://x'", "line 2: no URL of a registry");
	refuse("server = 'https://u:s3cret@x'", "line 1: no URL of a registry");
	refuse("[host.'https://h/?token=s3cret']", "line 1: no URL of a registry");
	refuse("host = 1", "line 1: 'host': hosts are tables");
	refuse("[host]\na = 1", "line 2: 'a': hosts are tables");
	refuse("[host.mirror.example]", "line 1: 'mirror': hosts are tables");
	refuse("capabilities = ['pul']", "line 1: 'capabilities': only pull");
	refuse("capabilities = 'pull'", "'capabilities': not an array");
	refuse("ca = 1", "'ca': neither");
	refuse("ca = ['a', 1]", "'ca': neither");
	refuse("ca = ''", "'ca': neither");
	refuse("client = [['a']]", "'client': neither");
	refuse("client = [['a', 'b', 'c']]", "'client': neither");
	refuse("client = [[['a'], 'b']]", "'client': neither");
	refuse("client = true", "'client': neither");
	refuse("skip_verify = 'yes'", "'skip_verify': neither true nor false");
	refuse("[host.'h']\noverride_path = 1", "line 2: 'override_path': neither");
	refuse("dial_timeout = 3", "'dial_timeout': no duration");
	refuse("dial_timeout = '3'", "'dial_timeout': no duration");
	refuse("header = 1", "'header': not a table");
	refuse("[header]\n\"a b\" = '1'", "line 2: 'a b': no header");
	refuse("[header]\nHost = '1'", "line 2: 'Host': no header");
	refuse("[header]\nx = \"s3cret\\r\\ny: z\"", "line 2: 'x': a header's value");
	refuse("[header]\nx = [1]", "line 2: 'x': a header's value");
	refuse("a = 1979-05-27", "line 1: no integer; dates");
}

static void durations_as_go_writes_them(void **state)
{
	static const char *const bad[] = {
	    "", "1", "s", "-1s", "0s", "1s1", "2h", "1 s", "1x", "99999999999999h", "3601s", "."};
	int64_t ms;

	(void)state;
	assert_int_equal(hosts_toml_duration("200ms", &ms), 0);
	assert_int_equal(ms, 200);
	assert_int_equal(hosts_toml_duration("1m1.5s", &ms), 0);
	assert_int_equal(ms, 61500);
	assert_int_equal(hosts_toml_duration("10us", &ms), 0);
	assert_int_equal(ms, 1);
	assert_int_equal(hosts_toml_duration("1h", &ms), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(hosts_toml_duration(bad[i], &ms), -EINVAL);
}

static void a_list_has_an_end(void **state)
{
	char text[4096];
	size_t n = 0;

	(void)state;
	for (int i = 0; i < ENDPOINTS_MAX; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "[host.'h%d']\n", i);
	refuse(text, "line 32: 'h31': too many hosts");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(mirrors_in_the_order_of_the_file),
	    cmocka_unit_test(without_a_server_the_registry_is_the_last),
	    cmocka_unit_test(where_the_api_begins),
	    cmocka_unit_test(files_and_headers),
	    cmocka_unit_test(what_cannot_be_understood_is_refused),
	    cmocka_unit_test(durations_as_go_writes_them),
	    cmocka_unit_test(a_list_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
