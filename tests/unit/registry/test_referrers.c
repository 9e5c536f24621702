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

#include "registry/referrers.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct digest digest(const char *s)
{
	struct digest d;

	assert_int_equal(digest_parse(s, strlen(s), &d), 0);
	return d;
}

static void the_tags_that_stand_in(void **state)
{
	const struct digest shorter = digest("sha256:" HEX), longer = digest("sha512:" HEX HEX);
	static const char *const kinds[] = {"sig", "att", "sbom"};
	char tag[TAG_MAX + 1], want[TAG_MAX + 1];
	const char *kind;

	(void)state;
	referrers_tag(&shorter, tag);
	assert_string_equal(tag, "sha256-" HEX);
	assert_true(reference_is_referrer_tag(tag, strlen(tag)));
	referrers_tag(&longer, tag);
	assert_string_equal(tag, "sha512-" HEX);
	assert_true(reference_is_tag(tag, strlen(tag)));
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		assert_true(referrers_cosign_tag(&shorter, i, tag, &kind));
		snprintf(want, sizeof(want), "sha256-" HEX ".%s", kinds[i]);
		assert_string_equal(tag, want);
		assert_string_equal(kind, kinds[i]);
		assert_true(reference_is_referrer_tag(tag, strlen(tag)));
	}
	assert_false(referrers_cosign_tag(&shorter, 3, tag, &kind));
	assert_false(referrers_cosign_tag(&longer, 0, tag, &kind));
}

/* An index with n entries of one digest, each of this type. */
static struct manifest index_of(struct manifest_entry *e, size_t n, const char *type)
{
	for (size_t i = 0; i < n; i++)
		e[i] = (struct manifest_entry){.desc.digest = digest("sha256:" HEX),
					       .artifact_type = (char *)(uintptr_t)type};
	return (struct manifest){.is_index = true, .layers = e, .layer_count = n};
}

static void the_best_said_of_a_digest_counts(void **state)
{
	static const struct {
		const char *first, *second;
		bool first_api, second_api;
		const char *want;
	} v[] = {{"b", "a", false, false, "a"}, {"a", "b", false, true, "b"},
		 {NULL, "b", true, false, "b"}, {"a", NULL, true, true, "a"},
		 {"a", "a", true, true, "a"},   {NULL, NULL, true, true, NULL}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct manifest_entry e[2];
		struct referrers l = {0};
		struct manifest first = index_of(e, 1, v[i].first);
		struct manifest second = index_of(e + 1, 1, v[i].second);

		assert_int_equal(referrers_add_index(&l, &first, v[i].first_api, NULL), 0);
		assert_int_equal(referrers_add_index(&l, &second, v[i].second_api, NULL), 0);
		assert_int_equal(referrers_add_cosign(&l, &e[0].desc, "sig", NULL), 0);
		referrers_sort(&l);
		assert_int_equal(l.n, 1);
		assert_string_equal(l.v[0].cosign, "sig");
		if (v[i].want)
			assert_string_equal(l.v[0].artifact_type, v[i].want);
		else
			assert_null(l.v[0].artifact_type);
		referrers_release(&l);
	}
}

static void lists_are_bounded(void **state)
{
	struct manifest_entry *e = calloc(REFERRERS_MAX, sizeof(*e));
	struct referrers l = {0};
	struct err err = {""};

	(void)state;
	assert_non_null(e);
	struct manifest m = index_of(e, REFERRERS_MAX, NULL);
	assert_int_equal(referrers_add_index(&l, &m, true, &err), 0);
	m.layer_count = 1;
	assert_int_equal(referrers_add_index(&l, &m, true, &err), -EFBIG);
	assert_string_equal(err.text, "more than 20000 referrers");
	referrers_sort(&l);
	assert_int_equal(l.n, 1);
	referrers_release(&l);
	m.desc.size = REFERRERS_BYTES_MAX;
	assert_int_equal(referrers_add_index(&l, &m, true, &err), 0);
	m.desc.size = 1;
	assert_int_equal(referrers_add_index(&l, &m, true, &err), -EFBIG);
	assert_non_null(strstr(err.text, "bytes of referrers"));
	referrers_release(&l);
	referrers_sort(&l);
	assert_int_equal(l.n, 0);
	free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_tags_that_stand_in),
	    cmocka_unit_test(the_best_said_of_a_digest_counts),
	    cmocka_unit_test(lists_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
