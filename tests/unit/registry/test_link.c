/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "registry/link.h"

static void next_is(const char *field, const char *want)
{
	char *got = NULL;
	int r = link_next(field, strlen(field), &got);

	if (!want) {
		assert_int_equal(r, 0);
		assert_null(got);
		return;
	}
	assert_int_equal(r, 1);
	assert_string_equal(got, want);
	free(got);
}

static void the_forms_that_are_sent(void **state)
{
	(void)state;
	next_is("</v2/x/tags/list?n=2&last=b>; rel=\"next\"", "/v2/x/tags/list?n=2&last=b");
	next_is("<a>; rel=\"prev\" , <b>; rel=\"next\"", "b");
	next_is("<a>; rel=next", "a");
	next_is("<a>;REL=\"Last NEXT\"", "a");
	next_is("<a,b;c>; title=\"x, <q>; rel=next\"; rel=\"next\"", "a,b;c");
	next_is("<?n=2&last=b>; rel=\"next\"", "?n=2&last=b");
	next_is("<a>; foo; rel=next", "a");
}

static void no_next(void **state)
{
	static const char *const fields[] = {"",
					     "<",
					     "<a",
					     "a; rel=next",
					     "<a>",
					     "<a>; rel=prev",
					     "<a>; rel=prev; rel=next",
					     "<a>; rev=next",
					     "<a>; rel=\"nextish\"",
					     "<a>; rel",
					     "<a>;;;=\"",
					     "<>, <"};

	(void)state;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		next_is(fields[i], NULL);
}

static void resolves_to(const char *page, const char *target, const char *want)
{
	struct url base = {0}, got = {0};

	assert_int_equal(url_parse(page, &base), 0);
	if (want) {
		assert_int_equal(link_resolve(&base, target, &got), 0);
		assert_string_equal(got.text, want);
	} else {
		assert_int_equal(link_resolve(&base, target, &got), -EINVAL);
	}
	url_release(&base);
	url_release(&got);
}

static void our_own_origin_stays(void **state)
{
	static const char page[] = "http://127.0.0.1:5000/v2/x/tags/list?n=2";

	(void)state;
	resolves_to(page, "/v2/x/tags/list?last=b", "http://127.0.0.1:5000/v2/x/tags/list?last=b");
	resolves_to(page, "?n=2&last=b", "http://127.0.0.1:5000/v2/x/tags/list?n=2&last=b");
	resolves_to(page, "list?last=b", "http://127.0.0.1:5000/v2/x/tags/list?last=b");
	resolves_to(page, "https://evil.example/v2/y?z", "http://127.0.0.1:5000/v2/y?z");
	resolves_to(page, "//evil.example:1/v2/y", "http://127.0.0.1:5000/v2/y");
	resolves_to(page, "/v2/x?last=a b", "http://127.0.0.1:5000/v2/x?last=a+b");
	resolves_to(page, "ftp://x/y", NULL);
	resolves_to(page, "http://u:p@x/y", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_forms_that_are_sent),
	    cmocka_unit_test(no_next),
	    cmocka_unit_test(our_own_origin_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
