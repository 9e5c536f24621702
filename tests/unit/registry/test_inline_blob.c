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

#include "registry/inline_blob.h"

#define EMPTY              "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
#define HELLO              "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define DESC(digest, more) "{\"mediaType\":\"a/b\",\"digest\":\"" digest "\"," more "}"

struct taken {
	size_t n;
	int code;
	char all[4096];
};

static int take(void *ctx, const struct digest *d, const void *data, size_t len)
{
	struct taken *t = ctx;
	struct digest is;

	assert_int_equal(digest_of((enum digest_alg)d->alg, data, len, &is), 0);
	assert_true(digest_equal(&is, d));
	t->n++;
	strncat(t->all, data, len);
	return t->code;
}

static int each(const char *s, struct taken *t)
{
	*t = (struct taken){.code = t->code};
	return inline_blob_each(s, strlen(s), take, t);
}

static void what_a_manifest_carries(void **state)
{
	struct taken t = {0};

	(void)state;
	assert_int_equal(
	    each("{\"config\":" DESC(EMPTY, "\"size\":2,\"data\":\"e30=\"") ",\"layers\":[" DESC(
		     HELLO, "\"size\":5,\"data\":\"aGVsbG8=\"") "," DESC(HELLO, "\"size\":5") "]}",
		 &t),
	    0);
	assert_int_equal(t.n, 2);
	assert_string_equal(t.all, "{}hello");
	assert_int_equal(
	    each("{\"manifests\":[" DESC(HELLO, "\"size\":5,\"data\":\"aGVsbG8=\"") "]}", &t), 0);
	assert_string_equal(t.all, "hello");
	t.code = -EIO;
	assert_int_equal(
	    each("{\"layers\":[" DESC(HELLO, "\"size\":5,\"data\":\"aGVsbG8=\"") "]}", &t), -EIO);
	assert_int_equal(t.n, 1);
}

static void what_is_not_right_is_passed_over(void **state)
{
	static const char *const v[] = {
	    DESC(HELLO, "\"size\":5,\"data\":\"aGVsbG9\""),
	    DESC(HELLO, "\"size\":5,\"data\":\"aGVsbG8\""),
	    DESC(HELLO, "\"size\":5,\"data\":\"aGVsbG8=\\n\""),
	    DESC(HELLO, "\"size\":5,\"data\":\" aGVsbG8\""),
	    DESC(HELLO, "\"size\":5,\"data\":\"aGVs!G8=\""),
	    DESC(HELLO, "\"size\":5,\"data\":\"aGVsbG8h\""),
	    DESC(HELLO, "\"size\":5,\"data\":\"\""),
	    DESC(HELLO, "\"size\":5,\"data\":\"a\\u0000VsbG8=\""),
	    DESC(HELLO, "\"size\":4,\"data\":\"aGVsbG8=\""),
	    DESC(HELLO, "\"size\":6,\"data\":\"aGVsbG8=\""),
	    DESC(HELLO, "\"size\":-1,\"data\":\"aGVsbG8=\""),
	    DESC(HELLO, "\"size\":5.0,\"data\":\"aGVsbG8=\""),
	    DESC(HELLO, "\"size\":9007199254740992,\"data\":\"aGVsbG8=\""),
	    DESC(HELLO, "\"data\":\"aGVsbG8=\""),
	    DESC(HELLO, "\"size\":5,\"data\":[\"aGVsbG8=\"]"),
	    DESC(EMPTY, "\"size\":5,\"data\":\"aGVsbG8=\""),
	    DESC("sha256:xyz", "\"size\":5,\"data\":\"aGVsbG8=\""),
	    DESC("blake3:0123456789", "\"size\":5,\"data\":\"aGVsbG8=\""),
	    "{\"size\":5,\"data\":\"aGVsbG8=\"}",
	    "\"data\"",
	    "null",
	};
	struct taken t = {0};
	char text[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		snprintf(text, sizeof(text), "{\"config\":%s,\"layers\":[%s],\"manifests\":%s}",
			 v[i], v[i], v[i]);
		if (each(text, &t) != 0 || t.n != 0)
			fail_msg("%s was taken", v[i]);
	}
	assert_int_equal(each("{\"data\":\"aGVsbG8=\"", &t), 0);
	assert_int_equal(each("[\"data\"]", &t), 0);
	assert_int_equal(t.n, 0);
}

static void so_many_and_no_more(void **state)
{
	static const char one[] = DESC(HELLO, "\"size\":5,\"data\":\"aGVsbG8=\"");
	struct taken t = {0};
	size_t room = (INLINE_BLOBS_MAX + 10) * (sizeof(one) + 1) + 64;
	char *s = malloc(room);
	size_t n;

	(void)state;
	assert_non_null(s);
	n = (size_t)snprintf(s, room, "{\"layers\":[%s", one);
	for (int i = 0; i < INLINE_BLOBS_MAX + 5; i++)
		n += (size_t)snprintf(s + n, room - n, ",%s", one);
	snprintf(s + n, room - n, "]}");
	assert_int_equal(each(s, &t), 0);
	assert_int_equal(t.n, INLINE_BLOBS_MAX);
	free(s);
}

static void what_everybody_knows(void **state)
{
	static const char *const bytes[] = {"{}", ""};
	static const enum digest_alg algs[] = {DIGEST_SHA256, DIGEST_SHA512};
	struct digest d;
	size_t len;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		const char *b = bytes[i % 2];

		assert_int_equal(digest_of(algs[i / 2], b, strlen(b), &d), 0);
		assert_string_equal(inline_blob_known(&d, &len), b);
		assert_int_equal(len, strlen(b));
	}
	assert_int_equal(digest_of(DIGEST_SHA256, "hello", 5, &d), 0);
	assert_null(inline_blob_known(&d, &len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_a_manifest_carries),
	    cmocka_unit_test(what_is_not_right_is_passed_over),
	    cmocka_unit_test(so_many_and_no_more),
	    cmocka_unit_test(what_everybody_knows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
