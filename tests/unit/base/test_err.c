/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/err.h"

static void set_returns_the_code_and_keeps_the_words(void **state)
{
	(void)state;
	struct err err = {{0}};
	assert_int_equal(err_set(&err, -EPROTO, "%s: no digest", "host"), -EPROTO);
	assert_string_equal(err.text, "host: no digest");
	assert_int_equal(err_set(NULL, -EIO, "nobody reads %d", 1), -EIO);
	assert_int_equal(err_wrap(NULL, -EIO, "nobody"), -EIO);
	assert_int_equal(err_errno(NULL, -EIO, "nobody"), -EIO);
}

static void wrap_puts_context_before(void **state)
{
	(void)state;
	struct err err = {{0}};
	(void)err_set(&err, -EPROTO, "cause");
	assert_int_equal(err_wrap(&err, -EIO, "layer %d", 2), -EIO);
	assert_string_equal(err.text, "layer 2: cause");
}

static void errno_gives_the_reason(void **state)
{
	(void)state;
	struct err err = {{0}};
	assert_int_equal(err_errno(&err, -ENOENT, "/x"), -ENOENT);
	assert_string_equal(err.text, "/x: No such file or directory");
}

static void hostile_bytes_become_question_marks(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out;
	} cases[] = {
	    {"a\nb\rc\td\x7f", "a?b?c?d?"},
	    {"\x1b[31mred", "?[31mred"},
	    {"gr\xC3\xBC\xC3\x9F", "gr\xC3\xBC\xC3\x9F"},
	    {"\xE2\x82\xAC \xF0\x9F\x98\x80", "\xE2\x82\xAC \xF0\x9F\x98\x80"},
	    {"\xC2\x9B", "??"},           /* C1 control: CSI */
	    {"\xE2\x80\xAE.", "???."},    /* right-to-left override */
	    {"\xE2\x80\xA8", "???"},      /* line separator */
	    {"\xC0\xAF\xFF", "???"},      /* overlong, never valid */
	    {"\xED\xA0\x80", "???"},      /* surrogate */
	    {"\xF4\x90\x80\x80", "????"}, /* beyond U+10FFFF */
	    {"\xE2\x82", "??"},           /* cut */
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err;
		(void)err_set(&err, -EIO, "%s", cases[i].in);
		assert_string_equal(err.text, cases[i].out);
	}
}

static void long_text_is_cut(void **state)
{
	(void)state;
	char big[2 * ERR_TEXT_MAX];
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	struct err err;
	(void)err_set(&err, -EIO, "%s", big);
	assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
	(void)err_wrap(&err, -EIO, "context");
	assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
	assert_memory_equal(err.text, "context: xxx", 12);
	(void)err_errno(&err, -EIO, "%s", big);
	assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
	/* A sequence that the cut goes through does not stay half. */
	memset(big, 'x', ERR_TEXT_MAX - 2);
	memcpy(big + ERR_TEXT_MAX - 2, "\xE2\x82\xAC", 4);
	(void)err_set(&err, -EIO, "%s", big);
	assert_int_equal(err.text[ERR_TEXT_MAX - 2], '?');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(set_returns_the_code_and_keeps_the_words),
	    cmocka_unit_test(wrap_puts_context_before),
	    cmocka_unit_test(errno_gives_the_reason),
	    cmocka_unit_test(hostile_bytes_become_question_marks),
	    cmocka_unit_test(long_text_is_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
