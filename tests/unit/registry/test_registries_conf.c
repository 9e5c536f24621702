/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "registry/registries_conf.h"

static struct endpoint_groups parse(const char *host, const char *text)
{
	struct endpoint_groups g = {0};
	struct err err = {""};

	if (registries_conf_parse(text, strlen(text), "/f", host, &g, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return g;
}

static void refuse(const char *text, const char *part)
{
	struct endpoint_groups g = {0};
	struct err err = {""};

	if (registries_conf_parse(text, strlen(text), "/f", "h", &g, &err) != -EINVAL)
		fail_msg("%s: taken", text);
	if (!strstr(err.text, part))
		fail_msg("%s: %s", text, err.text);
	endpoint_groups_release(&g);
}

static void mirrors_and_the_location(void **state)
{
	struct endpoint_groups g = parse("docker.io", "unqualified-search-registries = ['x']\n"
						      "[[registry]]\n"
						      "prefix = 'docker.io/library'\n"
						      "location = 'internal.example:5000/hub'\n"
						      "[[registry.mirror]]\n"
						      "location = 'm1.example/a/b/'\n"
						      "insecure = true\n"
						      "[[registry.mirror]]\n"
						      "location = 'm2.example:80'\n"
						      "pull-from-mirror = 'digest-only'\n"
						      "[aliases]\n'a' = 'b/c'\n");
	const struct endpoint *e = g.v->list.v;

	(void)state;
	assert_int_equal(g.n, 1);
	assert_string_equal(g.v->path, "library");
	assert_int_equal(g.v->list.n, 3);
	assert_string_equal(e[0].url.host, "m1.example");
	assert_string_equal(e[0].repo_prefix, "library");
	assert_string_equal(e[0].repo_base, "a/b");
	assert_true(e[0].insecure && e[0].own_port && e[0].url.https);
	assert_false(e[0].by_namespace);
	assert_int_equal(e[0].capabilities, ENDPOINT_PULL | ENDPOINT_RESOLVE);
	assert_int_equal(e[1].url.port, 80);
	assert_false(e[1].own_port || e[1].insecure);
	assert_string_equal(e[1].repo_base, "");
	assert_int_equal(e[1].capabilities, ENDPOINT_PULL);
	assert_string_equal(e[2].url.host, "internal.example");
	assert_string_equal(e[2].repo_base, "hub");
	endpoint_groups_release(&g);
}

static void which_tables_are_about_a_registry(void **state)
{
	static const struct {
		const char *prefix, *host, *path; /* path NULL: it is not */
	} cases[] = {
	    {"h", "h", ""},        {"h/a/b/", "h", "a/b"},      {"h", "h:5000", NULL},
	    {"h:5000", "h", NULL}, {"h:5000/a", "h:5000", "a"}, {"H.example", "h.example", ""},
	    {"*.e", "h.e", ""},    {"*.e", "e", NULL},          {"*.e", "a.h.e", ""},
	    {"hh", "h", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct endpoint_groups g;
		char text[200];

		snprintf(text, sizeof(text), "[[registry]]\nprefix = '%s'\nlocation = 'x'\n",
			 cases[i].prefix);
		g = parse(cases[i].host, text);
		assert_int_equal(g.n, cases[i].path ? 1 : 0);
		if (cases[i].path)
			assert_string_equal(g.v->path, cases[i].path);
		endpoint_groups_release(&g);
	}
}

static void the_registry_itself_may_be_the_location(void **state)
{
	struct endpoint_groups g = parse("h", "[[registry]]\nlocation = 'h'\ninsecure = true\n"
					      "mirror-by-digest-only = true\n"
					      "[[registry.mirror]]\nlocation = 'm'\n");

	(void)state;
	assert_int_equal(g.v->list.v[0].capabilities, ENDPOINT_PULL);
	assert_null(g.v->list.v[1].url.text);
	assert_true(g.v->list.v[1].insecure);
	endpoint_groups_release(&g);
	g = parse("docker.io", "[[registry]]\nprefix = 'docker.io/x'\nlocation = 'docker.io/y'\n");
	assert_string_equal(g.v->list.v[0].url.host, "docker.io");
	endpoint_groups_release(&g);
	g = parse("a.h", "[[registry]]\nprefix = '*.h'\nblocked = true\n");
	assert_string_equal(g.v->blocked, "/f");
	assert_int_equal(g.v->list.n, 0);
	endpoint_groups_release(&g);
}

static void what_cannot_be_understood_is_refused(void **state)
{
	(void)state;
	refuse("[[registry]]\nlocation = 'https://h'\n", "line 1: 'registry': no scheme");
	refuse("[[registry]]\nprefix = 'h'\nlocation = 'https://x'", "'registry': no scheme");
	refuse("[[registry]]\nprefix = 'h'\nlocation = 'oci:x'", "line 3: 'location': not HOST");
	refuse("[[registry]]\nprefix = 'h'\n", "line 1: 'registry': a registry without a location");
	refuse("[[registry]]\nprefix = 'h/a:v1'\nlocation = 'x'",
	       "'registry': a prefix that is no");
	refuse("[[registry]]\nprefix = 1", "line 2: 'prefix': not a string");
	refuse("[[registry]]\nlocation = 'h'\nblocked = 'yes'", "line 3: 'blocked': neither");
	refuse("registry = 1", "'registry': registries are tables");
	refuse("registry = [1]", "registries are tables");
	refuse("[[registry]]\nlocation = 'h'\nmirror = 1", "'mirror': mirrors are tables");
	refuse("[[registry]]\nlocation = 'h'\nmirror = [1]", "mirrors are tables");
	refuse("[[registry]]\nlocation = 'h'\n[[registry.mirror]]", "a mirror without a location");
	refuse("[[registry]]\nlocation = 'h'\n[[registry.mirror]]\nlocation = 'm'\n"
	       "pull-from-mirror = 'x'",
	       "line 5: 'pull-from-mirror': only all");
	refuse("[registries.block]\nregistries = ['h']", "line 2: 'registries': version 1");
}

static void the_helpers_of_logins(void **state)
{
	struct endpoint_groups g =
	    parse("h", "credential-helpers = ['b', 'containers-auth.json']\n");
	const char *more = "credential-helpers = ['a']\n";

	(void)state;
	assert_int_equal(g.helpers.n, 2);
	assert_string_equal(g.helpers.v[0], "b");
	assert_string_equal(g.helpers.v[1], "containers-auth.json");
	/* A later file has another list, or none of its own. */
	assert_int_equal(registries_conf_parse("", 0, "/g", "h", &g, NULL), 0);
	assert_int_equal(g.helpers.n, 2);
	assert_int_equal(registries_conf_parse("credential-helpers = []", 23, "/g", "h", &g, NULL),
			 0);
	assert_int_equal(g.helpers.n, 2);
	assert_int_equal(registries_conf_parse(more, strlen(more), "/g", "h", &g, NULL), 0);
	assert_int_equal(g.helpers.n, 1);
	assert_string_equal(g.helpers.v[0], "a");
	endpoint_groups_release(&g);
	refuse("credential-helpers = 'a'\n", "not an array");
	refuse("credential-helpers = [7]\n", "docker-credential-NAME");
	refuse("credential-helpers = ['../a']\n", "docker-credential-NAME");
	refuse("credential-helpers = ['']\n", "docker-credential-NAME");
	refuse("credential-helpers = ['a','a','a','a','a','a','a','a','a','a','a','a','a','a',"
	       "'a','a','a']\n",
	       "too many helpers");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(mirrors_and_the_location),
	    cmocka_unit_test(which_tables_are_about_a_registry),
	    cmocka_unit_test(the_registry_itself_may_be_the_location),
	    cmocka_unit_test(what_cannot_be_understood_is_refused),
	    cmocka_unit_test(the_helpers_of_logins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
