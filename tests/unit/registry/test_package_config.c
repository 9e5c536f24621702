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
#include "registry/package_config.h"

static const char sample[] =
    "default_registry = \"Acme.registry.com\"\n"
    "unknown = [1, true]\n"
    "[namespace_registries]\n"
    "wasi = \"wasi.dev\"\n"
    "dev = \"dev\"\n"
    "corp = { registry = \"corp\", metadata = { preferredProtocol = \"oci\", "
    "oci = { registry = \"harbor.corp:8443\", namespacePrefix = \"wasm/\" } } }\n"
    "old = { registry = \"old\", metadata = { ociRegistry = \"o.io\", ociNamespacePrefix = \"p/\" "
    "} }\n"
    "[package_registry_overrides]\n"
    "\"wasi:http\" = \"mirror.corp:5000\"\n"
    "\"corp:moved\" = \"elsewhere.io\"\n"
    "\"corp:own\" = { registry = \"own\", metadata = { oci = { registry = \"own.io\" } } }\n"
    "[registry.\"harbor.corp:8443\".oci]\n"
    "auth = { username = \"u\", password = \"p\" }\n"
    "protocol = \"http\"\n"
    "extra_root_certificates = [{encoding = \"pem\", data = \"x\"}]\n"
    "[registry.dev]\n"
    "type = \"local\"\n"
    "[registry.dev.local]\n"
    "root = \"/pkg\"\n"
    "[registry.dev.oci]\n"
    "[registry.\"ACME.registry.com\".warg]\n";

static struct package_config *parse(const char *text)
{
	struct package_config *c = NULL;
	struct err err = {""};

	if (package_config_parse(text, strlen(text), &c, &err))
		fail_msg("%s", err.text);
	return c;
}

static void test_which_registry(void **state)
{
	(void)state;
	static const struct {
		const char *namespace, *name, *registry, *oci, *protocol;
	} v[] = {
	    {"wasi", "io", "wasi.dev", NULL, NULL},
	    {"wasi", "http", "mirror.corp:5000", NULL, NULL},
	    {"corp", "a", "corp", "harbor.corp:8443", NULL},
	    {"corp", "own", "own", "own.io", NULL},
	    /* as wkg has it */
	    {"corp", "moved", "elsewhere.io", "harbor.corp:8443", NULL},
	    {"old", "a", "old", "o.io", NULL},
	    {"dev", "a", "dev", NULL, "local"},
	    {"ba", "a", "acme.registry.com", NULL, "warg"},
	};
	struct package_config *c = parse(sample);

	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct package_registry r;

		assert_int_equal(package_config_find(c, v[i].namespace, v[i].name, &r), 0);
		assert_string_equal(r.registry, v[i].registry);
		assert_int_equal(r.metadata != NULL, v[i].oci != NULL);
		if (v[i].oci)
			assert_string_equal(r.metadata->registry, v[i].oci);
		assert_int_equal(r.protocol != NULL, v[i].protocol != NULL);
		if (v[i].protocol)
			assert_string_equal(r.protocol, v[i].protocol);
	}
	package_config_free(c);
}

static void test_what_is_built_in(void **state)
{
	(void)state;
	struct package_config *c = parse("");
	struct package_registry r;
	struct names names = {0};

	assert_int_equal(package_config_find(c, "wasi", "http", &r), 0);
	assert_string_equal(r.registry, "wasi.dev");
	assert_int_equal(package_config_find(c, "ba", "x", &r), 0);
	assert_string_equal(r.registry, "bytecodealliance.org");
	assert_int_equal(package_config_find(c, "corp", "x", &r), -ENOENT);
	assert_int_equal(package_config_namespaces(c, &names), 0);
	assert_int_equal(names.n, 0);
	package_config_free(c);
	package_config_free(NULL);
}

static void test_a_single_backend_is_meant(void **state)
{
	(void)state;
	struct package_config *c =
	    parse("default_registry = \"a.b\"\n[registry.\"a.b\".local]\nroot = \"/x\"\n");
	struct package_registry r;

	assert_int_equal(package_config_find(c, "x", "y", &r), 0);
	assert_string_equal(r.protocol, "local");
	package_config_free(c);
	c = parse("default_registry = \"a.b\"\n[registry.\"a.b\".local]\n[registry.\"a.b\".oci]\n");
	assert_int_equal(package_config_find(c, "x", "y", &r), 0);
	assert_null(r.protocol);
	package_config_free(c);
}

static void test_names(void **state)
{
	(void)state;
	struct package_config *c = parse(sample);
	struct names names = {0};

	assert_int_equal(package_config_namespaces(c, &names), 0);
	names_sort(&names);
	assert_int_equal(names.n, 4);
	assert_true(names_has(&names, "corp") && names_has(&names, "wasi"));
	names_release(&names);
	assert_int_equal(package_config_packages(c, "corp", &names), 0);
	names_sort(&names);
	assert_int_equal(names.n, 2);
	assert_true(names_has(&names, "own") && names_has(&names, "moved"));
	names_release(&names);
	package_config_free(c);
}

static void test_errors_name_their_line(void **state)
{
	(void)state;
	static const struct {
		const char *text, *line;
	} v[] = {
	    {"\ndefault_registry = 1", "line 2"},
	    {"default_registry = \"https://a.b\"", "line 1"},
	    {"default_registry = \"me:secret@a.b\"", "line 1"},
	    {"default_registry = \"a.b/c\"", "line 1"},
	    {"default_registry = \"a.b", "line 1"},
	    {"namespace_registries = 1", "line 1"},
	    {"[namespace_registries]\nWasi = \"a.b\"", "line 2"},
	    {"[namespace_registries]\n\n\"a:b\" = \"a.b\"", "line 3"},
	    {"[namespace_registries]\na = 1", "line 2"},
	    {"[namespace_registries]\na = {registry = \"a.b\"}", "line 2"},
	    {"[namespace_registries]\na = {registry = 1, metadata = {}}", "line 2"},
	    {"[namespace_registries]\na = {registry = \"a.b\", metadata = 1}", "line 2"},
	    {"[namespace_registries]\na = {registry = \"a.b\", metadata = {oci = 1}}", "line 2"},
	    {"[namespace_registries]\na = {registry = \"a.b\", metadata = {oci = {registry = 1}}}",
	     "line 2"},
	    {"[namespace_registries]\na = {registry = \"a.b\", metadata = {ociRegistry = \"/\"}}",
	     "line 2"},
	    {"[package_registry_overrides]\nwasi = \"a.b\"", "line 2"},
	    {"[package_registry_overrides]\n\"wasi:\" = \"a.b\"", "line 2"},
	    {"[package_registry_overrides]\n\"wasi:a:b\" = \"a.b\"", "line 2"},
	    {"[registry]\n\"a/b\" = {}", "line 2"},
	    {"[registry]\na = 1", "line 2"},
	    {"[registry.a]\ndefault = 1", "line 2"},
	    {"[registry.a]\ntype = \"01234567890123456789012345678901\"", "line 1"},
	    {"a = 1\na = 2", "line 2"},
	};
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct package_config *c = NULL;
		struct err err = {""};

		if (package_config_parse(v[i].text, strlen(v[i].text), &c, &err) != -EINVAL)
			fail_msg("%s: understood", v[i].text);
		if (strncmp(err.text, v[i].line, strlen(v[i].line)) != 0)
			fail_msg("%s: %s", v[i].text, err.text);
		assert_null(strstr(err.text, "secret"));
	}
}

static void test_a_limit(void **state)
{
	(void)state;
	static char text[PACKAGE_CONFIG_MAX + 1];
	struct package_config *c = NULL;

	memset(text, '\n', sizeof(text));
	assert_int_equal(package_config_parse(text, sizeof(text), &c, NULL), -EFBIG);
	assert_int_equal(package_config_parse(text, sizeof(text) - 1, &c, NULL), 0);
	package_config_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_which_registry),
	    cmocka_unit_test(test_what_is_built_in),
	    cmocka_unit_test(test_a_single_backend_is_meant),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_errors_name_their_line),
	    cmocka_unit_test(test_a_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
