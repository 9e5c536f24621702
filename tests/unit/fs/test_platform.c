/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/platform.h"
#include "fs/referrer_name.h"

#define D "sha256:%064x"

/* An index of these entries; each gets a digest of its own. */
static struct manifest *index_of(const char *const *platforms, size_t n)
{
	char text[8192] = "{\"schemaVersion\":2,\"manifests\":[";
	const struct digest none = {0};
	struct manifest *m;

	for (size_t i = 0; i < n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "%s{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
			 "\"digest\":\"" D "\",\"size\":10%s%s}",
			 i > 0 ? "," : "", (unsigned)i + 1, platforms[i][0] ? "," : "",
			 platforms[i]);
	strcat(text, "]}");
	assert_int_equal(manifest_parse(text, strlen(text), &none, MEDIA_TYPE_INDEX, &m, NULL), 0);
	return m;
}

#define P(os, arch) "\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\"}"
#define PV(os, a, v)                                                                               \
	"\"platform\":{\"os\":\"" os "\",\"architecture\":\"" a "\",\"variant\":\"" v "\"}"
#define ATTESTS(os, a)                                                                             \
	P(os, a) ",\"annotations\":{\"vnd.docker.reference.type\":\"attestation-manifest\"}"

static void what_they_are_called(void **state)
{
	static const char *const entries[] = {P("linux", "amd64"),
					      PV("linux", "arm", "v7"),
					      "",
					      P("unknown", "unknown"),
					      ATTESTS("linux", "amd64"),
					      P("linux", "amd64"),
					      P("../x", ".y"),
					      P("", "")};
	struct manifest *m = index_of(entries, ARRAY_LEN(entries));
	char **names;

	(void)state;
	assert_int_equal(platform_names(m, &names), 0);
	assert_string_equal(names[0], "linux-amd64");
	assert_string_equal(names[1], "linux-arm-v7");
	for (size_t i = 2; i <= 4; i++)
		assert_null(names[i]);
	assert_string_equal(names[5], "linux-amd64~000000000000");
	assert_string_equal(names[6], "_._x-.y");
	assert_null(names[7]);
	platform_names_free(names, m->layer_count);
	manifest_unref(m);
}

static void best_is(const char *const *entries, size_t n, const char *machine, int want)
{
	struct manifest *m = index_of(entries, n);
	size_t best = 99;
	int r = platform_best(m, machine, &best);

	assert_int_equal(r, want < 0 ? want : 0);
	if (want >= 0)
		assert_int_equal(best, want);
	manifest_unref(m);
}

#define BEST(machine, want, ...)                                                                   \
	do {                                                                                       \
		static const char *const entries[] = {__VA_ARGS__};                                \
		best_is(entries, ARRAY_LEN(entries), machine, want);                               \
	} while (0)

static void which_one_is_shown(void **state)
{
	(void)state;
	BEST("x86_64", 1, P("linux", "amd64"), P("wasip1", "wasm"));
	BEST("x86_64", 1, P("linux", "amd64"), P("wasi", "amd64"));
	BEST("x86_64", 1, P("linux", "arm64"), P("linux", "amd64"));
	BEST("aarch64", 0, P("linux", "arm64"), P("linux", "amd64"));
	BEST("riscv64", 1, P("windows", "amd64"), P("linux", "arm64"));
	BEST("x86_64", 0, P("windows", "amd64"), P("darwin", "arm64"));
	BEST("x86_64", 1, ATTESTS("linux", "amd64"), P("windows", "amd64"));
	BEST("x86_64", 0, "", P("unknown", "unknown"));
	BEST("x86_64", 1, "", P("linux", "mips"));
	BEST("x86_64", -ENOENT, P("unknown", "unknown"));
	BEST("x86_64", 1, P("linux", "amd64"),
	     "\"artifactType\":\"application/vnd.wasm.component.v1\"");
	best_is(NULL, 0, "x86_64", -ENOENT);
}

static void what_is_asked_for(void **state)
{
	static const char *const entries[] = {P("linux", "amd64"), PV("linux", "arm", "v7"), "",
					      P("unknown", "unknown"), ATTESTS("linux", "amd64")};
	static const struct {
		const char *platform;
		bool is[ARRAY_LEN(entries)];
	} cases[] = {
	    {"linux/amd64", {true, false, false, false, false}},
	    {"linux/arm", {false, true, false, false, false}},
	    {"linux/arm/v7", {false, true, false, false, false}},
	    {"linux/arm/v6", {false}},
	    {"linux/amd64/v2", {false}},
	    {"linux/am", {false}},
	    {"linux/amd644", {false}},
	    {"windows/amd64", {false}},
	    {"linux", {false}},
	};
	struct manifest *m = index_of(entries, ARRAY_LEN(entries));

	(void)state;
	for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
		for (size_t i = 0; i < ARRAY_LEN(entries); i++)
			assert_int_equal(platform_is(&m->layers[i], cases[c].platform),
					 cases[c].is[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(entries); i++)
		assert_int_equal(platform_is_any(&m->layers[i]), i != 4);
	manifest_unref(m);
}

static void types_of_referrers(void **state)
{
	static const char *const cases[][2] = {
	    {"application/vnd.cyclonedx+json", "application_vnd.cyclonedx+json"},
	    {"application/vnd.Cyclone_dx", "application_vnd.Cyclone_dx"},
	    {"sbom", "sbom"},
	    {"", "unknown"},
	    /* What others could be called too. */
	    {"application_vnd.cyclonedx+json", "application_vnd.cyclonedx+json~f3cef8316287"},
	    {"a/b/c", "a_b_c~d76a7b72669c"},
	    {"a_b/c", "a_b_c~02d7306b94c0"},
	    {"a/b_c", "a_b_c"},
	    {"../../etc", "_._.._etc~74ccf3c5b4c1"},
	    {".", "_~cdb4ee2aea69"},
	    {"a b\n\xff", "a_b__~a55ce66a4fac"}};
	char type[REFERRER_TYPE_MAX], name[REFERRER_NAME_MAX], longest[1000];
	struct digest d, again;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(referrer_type_name(cases[i][0], type), 0);
		if (strcmp(type, cases[i][1]) != 0)
			fail_msg("%s: %s", cases[i][0], type);
	}
	assert_int_equal(referrer_type_name(NULL, type), 0);
	assert_string_equal(type, "unknown");
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(referrer_type_name(longest, type), 0);
	assert_int_equal(strlen(type), REFERRER_TYPE_MAX - 1);
	assert_int_equal(digest_of(DIGEST_SHA512, "x", 1, &d), 0);
	size_t len = referrer_name(type, &d, name);
	assert_int_equal(len, strlen(name));
	assert_int_equal(referrer_digest(strchr(name, '/') + 1, &again), 0);
	assert_true(digest_equal(&d, &again));
	assert_int_equal(referrer_digest("sha256-xyz", &again), -EINVAL);
	assert_int_equal(referrer_digest("sha256", &again), -EINVAL);
	assert_int_equal(referrer_digest("", &again), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_they_are_called),
	    cmocka_unit_test(which_one_is_shown),
	    cmocka_unit_test(what_is_asked_for),
	    cmocka_unit_test(types_of_referrers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
