/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"

#define EMPTY256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC512                                                                                     \
	"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"                         \
	"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"

static int parse(const char *s, struct digest *ret)
{
	return digest_parse(s, strlen(s), ret);
}

static void registered_forms_round_trip(void **state)
{
	(void)state;
	static const char *const texts[] = {"sha256:" EMPTY256, "sha512:" ABC512};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct digest d;
		char text[DIGEST_STRING_MAX];
		char hex[DIGEST_HEX_MAX];
		assert_int_equal(parse(texts[i], &d), 0);
		assert_true(digest_is_set(&d));
		digest_string(&d, text);
		assert_string_equal(text, texts[i]);
		digest_hex(&d, hex);
		assert_string_equal(hex, texts[i] + 7);
		assert_memory_equal(digest_alg_name(&d), texts[i], 6);
	}
}

static void bytes_behind_len_are_zero(void **state)
{
	(void)state;
	struct digest d;
	struct digest zero = {0};
	memset(&d, 0xFF, sizeof(d));
	assert_int_equal(parse("sha256:" EMPTY256, &d), 0);
	assert_memory_equal(d.bytes + 32, zero.bytes, 32);
	assert_false(digest_is_set(&zero));
}

static void bad_grammar_is_einval(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "",
	    ":",
	    "sha256",
	    "sha256:",
	    ":" EMPTY256,
	    "SHA256:" EMPTY256,
	    "sha256:" EMPTY256 "0",
	    "sha256:" EMPTY256 EMPTY256,
	    "sha512:" EMPTY256,
	    "sha256::" EMPTY256,
	    "+a:b",
	    "a+:b",
	    "a..b:c",
	    "a b:c",
	    "md5:a/b",
	    "md5:../x",
	    "md5:a b",
	    "sha256:E3B0C44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	    "sha256:g3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85",
	};
	struct digest d;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(parse(bad[i], &d), -EINVAL);
	assert_int_equal(digest_parse("sha256:" EMPTY256 "\0x", 73, &d), -EINVAL);
}

static void unknown_algorithm_is_eopnotsupp(void **state)
{
	(void)state;
	static const char *const other[] = {
	    "sha384:abc",
	    "md5:d41d8cd98f00b204e9800998ecf8427e",
	    "multihash+base58:QmRZxt2b1FVZ",
	    "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564",
	    "sha25:e3b0c442",
	};
	struct digest d;
	for (size_t i = 0; i < ARRAY_LEN(other); i++)
		assert_int_equal(parse(other[i], &d), -EOPNOTSUPP);
}

static void hashes_match_published_vectors(void **state)
{
	(void)state;
	struct digest want, got;
	assert_int_equal(parse("sha512:" ABC512, &want), 0);
	assert_int_equal(digest_of(DIGEST_SHA512, "abc", 3, &got), 0);
	assert_true(digest_equal(&want, &got));
	assert_int_equal(parse("sha256:" EMPTY256, &want), 0);
	assert_int_equal(digest_of(DIGEST_SHA256, "", 0, &got), 0);
	assert_memory_equal(&want, &got, sizeof(want));
}

static void running_hash_equals_hash_of_the_whole(void **state)
{
	(void)state;
	char data[1000];
	memset(data, 'x', sizeof(data));
	struct digest whole, running;
	struct hasher *h = NULL;
	assert_int_equal(digest_of(DIGEST_SHA256, data, sizeof(data), &whole), 0);
	assert_int_equal(hasher_new(DIGEST_SHA256, &h), 0);
	assert_int_equal(hasher_update(h, data, 1), 0);
	assert_int_equal(hasher_update(h, data, 0), 0);
	assert_int_equal(hasher_update(h, data + 1, sizeof(data) - 1), 0);
	assert_int_equal(hasher_final(h, &running), 0);
	assert_memory_equal(&whole, &running, sizeof(whole));
	hasher_free(h);
	hasher_free(NULL);
}

static void different_digests_differ(void **state)
{
	(void)state;
	struct digest a, b;
	assert_int_equal(digest_of(DIGEST_SHA256, "a", 1, &a), 0);
	assert_int_equal(digest_of(DIGEST_SHA256, "b", 1, &b), 0);
	assert_false(digest_equal(&a, &b));
	assert_int_equal(digest_of(DIGEST_SHA512, "a", 1, &b), 0);
	assert_false(digest_equal(&a, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(registered_forms_round_trip),
	    cmocka_unit_test(bytes_behind_len_are_zero),
	    cmocka_unit_test(bad_grammar_is_einval),
	    cmocka_unit_test(unknown_algorithm_is_eopnotsupp),
	    cmocka_unit_test(hashes_match_published_vectors),
	    cmocka_unit_test(running_hash_equals_hash_of_the_whole),
	    cmocka_unit_test(different_digests_differ),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
