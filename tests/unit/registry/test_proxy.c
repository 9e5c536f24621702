/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "registry/proxy.h"

/* "" for directly. */
static const char *asked_by(const char *https, const char *http, const char *none, const char *url)
{
	static char name[URL_ORIGIN_MAX];
	struct proxy_env env = {.https = https, .http = http, .none = none};
	const struct proxy_server *server;
	struct proxy *p = NULL;
	struct url u = {0};

	assert_int_equal(proxy_new(&env, &p, NULL), 0);
	assert_int_equal(url_parse(url, &u), 0);
	server = proxy_for(p, &u);
	snprintf(name, sizeof(name), "%s", server ? server->name : "");
	url_release(&u);
	proxy_free(p);
	return name;
}

static bool is_direct(const char *none, const char *url)
{
	return strcmp(asked_by("s:1", "p:1", none, url), "") == 0;
}

static void each_scheme_has_its_own(void **state)
{
	struct url u = {0};

	(void)state;
	assert_string_equal(asked_by("s:1", "p:2", NULL, "https://a.example/"), "s:1");
	assert_string_equal(asked_by("s:1", "p:2", NULL, "http://a.example/"), "p:2");
	assert_string_equal(asked_by(NULL, "p:2", "", "https://a.example/"), "");
	assert_string_equal(asked_by("s:1", "", "", "http://a.example/"), "");
	assert_int_equal(url_parse("http://a.example/", &u), 0);
	assert_null(proxy_for(NULL, &u));
	url_release(&u);
}

static void this_machine_is_asked_directly(void **state)
{
	(void)state;
	assert_true(is_direct("", "http://localhost:5000/"));
	assert_true(is_direct("", "https://registry.localhost/"));
	assert_true(is_direct("", "https://localhost./"));
	assert_true(is_direct("", "http://127.9.9.9/"));
	assert_true(is_direct("", "http://[::1]:5000/"));
	assert_true(is_direct("", "http://[::ffff:127.0.0.1]/"));
	assert_false(is_direct("", "http://nolocalhost/"));
	assert_false(is_direct("", "http://10.0.0.1/"));
}

static void names_below_a_name(void **state)
{
	(void)state;
	assert_true(is_direct("corp.example", "https://corp.example/"));
	assert_true(is_direct("corp.example", "https://a.corp.example:5000/"));
	assert_false(is_direct("corp.example", "https://xcorp.example/"));
	assert_true(is_direct(" a , .Corp.Example ", "https://b.corp.example/"));
	assert_false(is_direct(".corp.example", "https://corp.example/"));
	assert_true(is_direct("*.corp.example", "https://b.corp.example/"));
	assert_false(is_direct("*.corp.example", "https://corp.example/"));
	assert_true(is_direct("x,*", "https://anything.example/"));
	assert_false(is_direct("*x", "https://ax/"));
}

static void ports_count(void **state)
{
	(void)state;
	assert_true(is_direct("corp.example:443", "https://a.corp.example/"));
	assert_false(is_direct("corp.example:5000", "https://corp.example/"));
	assert_true(is_direct("corp.example:80", "http://corp.example/"));
	assert_true(is_direct("10.0.0.1:5000", "http://10.0.0.1:5000/"));
	assert_false(is_direct("10.0.0.1:5001", "http://10.0.0.1:5000/"));
	assert_true(is_direct("[fd00::1]:5000", "http://[fd00::1]:5000/"));
	assert_false(is_direct("[fd00::1]:5000", "http://[fd00::1]/"));
	assert_false(is_direct("corp.example:http,:80,corp.example:0", "http://corp.example/"));
}

static void addresses_and_nets(void **state)
{
	(void)state;
	assert_true(is_direct("10.0.0.1", "http://10.0.0.1/"));
	assert_false(is_direct("10.0.0.1", "http://10.0.0.11/"));
	assert_true(is_direct("10.0.0.0/8", "http://10.200.3.4:99/"));
	assert_false(is_direct("10.0.0.0/8", "http://11.0.0.1/"));
	assert_true(is_direct("10.1.128.0/17", "http://10.1.200.1/"));
	assert_false(is_direct("10.1.128.0/17", "http://10.1.100.1/"));
	assert_true(is_direct("0.0.0.0/0", "http://8.8.8.8/"));
	assert_false(is_direct("0.0.0.0/0", "http://[fd00::1]/"));
	assert_false(is_direct("::/0", "http://8.8.8.8/"));
	assert_true(is_direct("fd00::/8", "http://[fdff::1]/"));
	assert_true(is_direct("fd00::1", "http://[fd00:0::1]/"));
	assert_true(is_direct("10.0.0.0/8", "http://[::ffff:10.0.0.1]/"));
	/* A name is not looked up for it. */
	assert_false(is_direct("10.0.0.0/8", "http://ten.example/"));
	assert_false(is_direct("10.0.0.0/33,10.0.0.0/,10.0.0.0/x", "http://10.0.0.1/"));
}

static void what_a_proxy_is_written_like(void **state)
{
	static const char *const good[] = {"p",
					   "p:3128",
					   "http://p:3128/",
					   "HTTPS://p",
					   "socks5://u:w@p:1",
					   "u:s3cret@p:3128",
					   "http://[fd00::1]:3128"};
	static const char *const bad[] = {"ftp://p:1", "http://",          "p:99999",
					  "a b",       "http://u:s3cret@", "://s3cret"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct proxy_env env = {.https = good[i]};
		struct proxy *p = NULL;

		assert_int_equal(proxy_new(&env, &p, NULL), 0);
		proxy_free(p);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct proxy_env env = {.http = bad[i]};
		struct err err = {""};
		struct proxy *p;

		assert_int_equal(proxy_new(&env, &p, &err), -EACCES);
		assert_non_null(strstr(err.text, "HTTP_PROXY"));
		assert_null(strstr(err.text, "s3cret"));
	}
	assert_string_equal(asked_by("u:s3cret@p:3128", NULL, NULL, "https://a/"), "p:3128");
}

static void a_list_has_an_end(void **state)
{
	AUTO_FREE char *long_list = calloc(1, PROXY_TEXT_MAX + 2);
	struct proxy_env env = {.none = long_list};
	struct proxy *p;

	(void)state;
	assert_non_null(long_list);
	memset(long_list, ',', PROXY_BYPASS_MAX);
	assert_int_equal(proxy_new(&env, &p, NULL), -EACCES);
	memset(long_list, 'a', PROXY_TEXT_MAX + 1);
	assert_int_equal(proxy_new(&env, &p, NULL), -EACCES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_scheme_has_its_own),
	    cmocka_unit_test(this_machine_is_asked_directly),
	    cmocka_unit_test(names_below_a_name),
	    cmocka_unit_test(ports_count),
	    cmocka_unit_test(addresses_and_nets),
	    cmocka_unit_test(what_a_proxy_is_written_like),
	    cmocka_unit_test(a_list_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
