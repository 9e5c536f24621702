/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "registry/package_metadata.h"

struct sample {
	const char *json, *protocol, *registry, *prefix;
};

static void test_both_forms(void **state)
{
	(void)state;
	static const struct sample v[] = {
	    {"{}", "", "", ""},
	    {"{\"preferredProtocol\":\"oci\",\"oci\":{\"registry\":\"ghcr.io\","
	     "\"namespacePrefix\":\"webassembly/\"}}",
	     "oci", "ghcr.io", "webassembly/"},
	    {"{\"ociRegistry\":\"ghcr.io\",\"ociNamespacePrefix\":\"webassembly/\"}", "", "ghcr.io",
	     "webassembly/"},
	    {"{\"oci\":{\"registry\":\"GHCR.io:8443\"}}", "oci", "ghcr.io:8443", ""},
	    {"{\"oci\":{}}", "oci", "", ""},
	    {"{\"oci\":{\"registry\":null},\"preferredProtocol\":null}", "oci", "", ""},
	    /* the form before wins, as with wkg */
	    {"{\"oci\":{\"registry\":\"a.b\",\"namespacePrefix\":\"n/\"},\"ociRegistry\":\"c.d\"}",
	     "oci", "c.d", "n/"},
	    {"{\"warg\":{\"url\":\"https://x\"}}", "warg", "", ""},
	    {"{\"warg\":{},\"oci\":{\"registry\":\"a.b\"}}", "", "a.b", ""},
	    {"{\"warg\":{},\"oci\":{},\"preferredProtocol\":\"warg\"}", "warg", "", ""},
	    {"{\"wargUrl\":\"https://x\",\"ociRegistry\":\"a.b\",\"new\":[1]}", "", "a.b", ""},
	    {"{\"ociNamespacePrefix\":\"only/\"}", "", "", "only/"},
	};
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct package_metadata m;
		struct err err = {""};

		if (package_metadata_parse(v[i].json, strlen(v[i].json), &m, &err))
			fail_msg("%s: %s", v[i].json, err.text);
		assert_string_equal(m.protocol, v[i].protocol);
		assert_string_equal(m.registry, v[i].registry);
		assert_string_equal(m.prefix, v[i].prefix);
	}
}

static void test_what_makes_no_sense(void **state)
{
	(void)state;
	static const char *const v[] = {
	    "",
	    "<html></html>",
	    "[]",
	    "{\"oci\":\"ghcr.io\"}",
	    "{\"preferredProtocol\":1}",
	    "{\"preferredProtocol\":\"\"}",
	    "{\"ociRegistry\":{}}",
	    "{\"ociRegistry\":\"\"}",
	    "{\"ociRegistry\":\"https://ghcr.io\"}",
	    "{\"ociRegistry\":\"ghcr.io/webassembly\"}",
	    "{\"ociRegistry\":\"me:secret@ghcr.io\"}",
	    "{\"ociRegistry\":\"oci:/etc\"}",
	    "{\"oci\":{\"registry\":\"a b\"}}",
	    "{\"oci\":{\"namespacePrefix\":\"a b\"}}",
	    "{\"oci\":{\"namespacePrefix\":\"a\\nprotocol=local\"}}",
	    "{\"oci\":{\"namespacePrefix\":5}}",
	    "{\"oci\":{},\"oci\":{}}",
	    "{\"ociRegistry\":\"ghcr.io\\u0000.evil\"}",
	    "{\"ociRegistry\":\"ghcr.io\"} x",
	};
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct package_metadata m;
		struct err err = {""};

		if (package_metadata_parse(v[i], strlen(v[i]), &m, &err) != -EPROTO || !err.text[0])
			fail_msg("%s makes no sense: %s", v[i], err.text);
		assert_null(strstr(err.text, "secret"));
	}
}

static void test_a_limit(void **state)
{
	(void)state;
	static char text[PACKAGE_METADATA_MAX + 2];
	struct package_metadata m;

	memset(text, ' ', sizeof(text));
	text[0] = '{';
	text[1] = '}';
	assert_int_equal(package_metadata_parse(text, PACKAGE_METADATA_MAX, &m, NULL), 0);
	assert_int_equal(package_metadata_parse(text, PACKAGE_METADATA_MAX + 1, &m, NULL), -EFBIG);
}

static void test_words_and_back(void **state)
{
	(void)state;
	static const struct package_metadata v[] = {{"", "", ""},
						    {"oci", "ghcr.io", "webassembly/"},
						    {"", "[::1]:5000", ""},
						    {"", "", "a="}};
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct package_metadata m;
		struct names words = {0};

		assert_int_equal(package_metadata_words(&v[i], &words), 0);
		assert_int_equal(package_metadata_of_words(&words, &m), 0);
		assert_memory_equal(&m, &v[i], sizeof(m));
		names_release(&words);
	}
	static const char *const odd[] = {"", "protocol=", "registry", "registry=a/b", "demo/app"};
	for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
		struct package_metadata m;
		struct names words = {0};

		assert_int_equal(names_add(&words, odd[i], strlen(odd[i])), 0);
		assert_int_equal(package_metadata_of_words(&words, &m), -EPROTO);
		names_release(&words);
	}
}

static void test_repositories(void **state)
{
	(void)state;
	static const struct {
		const char *prefix, *repo;
	} v[] = {{"", "wasi/http"},     {"webassembly/", "webassembly/wasi/http"},
		 {"x-", "x-wasi/http"}, {"a/b/", "a/b/wasi/http"},
		 {"/", NULL},           {"A/", NULL},
		 {"../", NULL},         {"a//", NULL},
		 {"a/?", NULL}};
	char repo[REPOSITORY_MAX];

	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct package_metadata m = {0};
		struct err err = {""};

		strcpy(m.prefix, v[i].prefix);
		int r = package_metadata_repository(&m, "wasi", "http", repo, &err);
		assert_int_equal(r, v[i].repo ? 0 : -EPROTO);
		if (r == 0)
			assert_string_equal(repo, v[i].repo);
		else
			assert_non_null(strstr(err.text, v[i].prefix));
	}
	struct package_metadata longest = {0};
	memset(longest.prefix, 'a', sizeof(longest.prefix) - 1);
	assert_int_equal(package_metadata_repository(&longest, "wasi", "http", repo, NULL),
			 -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_both_forms),   cmocka_unit_test(test_what_makes_no_sense),
	    cmocka_unit_test(test_a_limit),      cmocka_unit_test(test_words_and_back),
	    cmocka_unit_test(test_repositories),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
