/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "registry/listing.h"
#include "registry/reference.h"

static int parse(const char *body, size_t max, struct names *names, struct listing_page *page)
{
	return listing_parse(body, strlen(body), "tags", reference_is_tag, max, names, page, NULL);
}

static void odd_entries_are_passed_over(void **state)
{
	struct names names = {0};
	struct listing_page page;

	(void)state;
	assert_int_equal(parse("{\"name\":\"x\",\"tags\":[\"v1\",null,\"\",\"../x\",7,"
			       "\"sha256:aa\",{\"a\":1},\"b\\nc\",\"v2\",\".hidden\"]}",
			       100, &names, &page),
			 0);
	assert_int_equal(names.n, 2);
	assert_string_equal(names.v[0], "v1");
	assert_string_equal(names.v[1], "v2");
	assert_int_equal(page.entries, 10);
	assert_string_equal(page.last, "v2");
	names_release(&names);
}

static void empty_pages(void **state)
{
	static const char *const bodies[] = {"{}", "{\"tags\":null}", "{\"tags\":[]}"};
	struct names names = {0};
	struct listing_page page;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(parse(bodies[i], 100, &names, &page), 0);
		assert_int_equal(page.entries, 0);
		assert_string_equal(page.last, "");
	}
	assert_int_equal(names.n, 0);
}

static void what_is_no_page(void **state)
{
	static const char *const bodies[] = {"", "<html>", "[]", "{\"tags\":\"v1\"}",
					     "{\"tags\":["};
	struct names names = {0};
	struct listing_page page;

	(void)state;
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(parse(bodies[i], 100, &names, &page), -EPROTO);
	assert_int_equal(parse("{\"tags\":[\"a\",\"b\",\"c\"]}", 2, &names, &page), -EFBIG);
	names_release(&names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(odd_entries_are_passed_over),
	    cmocka_unit_test(empty_pages),
	    cmocka_unit_test(what_is_no_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
