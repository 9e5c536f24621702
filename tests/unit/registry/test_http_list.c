/* SPDX-License-Identifier: Apache-2.0 */
/* Listings as registries cut them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/listing.h"
#include "tests/unit/registry/http_server.h"

#define LIST "/v2/x/tags/list"

/* One answer to each target; the first that the target begins with counts. */
struct page {
	const char *target;
	int status;
	const char *fields, *body;
};

struct book {
	const struct page *pages;
	size_t n;
};

static void turn_pages(void *ctx, struct connection *c, const struct seen *q)
{
	const struct book *book = ctx;

	for (size_t i = 0; i < book->n; i++) {
		const struct page *p = &book->pages[i];

		if (strncmp(q->target, p->target, strlen(p->target)) == 0) {
			reply_text(c, p->status, p->fields, p->body);
			return;
		}
	}
	reply_text(c, 500, "", "nobody should ask for this");
}

struct result {
	int code;
	bool whole;
	char joined[512];
	size_t n, requests;
	char text[ERR_TEXT_MAX];
	char asked[4][200]; /* the first targets */
};

static void finish(struct rig *r, int code, struct names *names, struct result *ret)
{
	ret->code = code;
	ret->n = names->n;
	ret->requests = server_count(r->server);
	memcpy(ret->text, r->err.text, sizeof(ret->text));
	for (size_t i = 0; i < ret->requests && i < ARRAY_LEN(ret->asked); i++) {
		struct seen q = server_seen(r->server, i);

		memcpy(ret->asked[i], q.target, sizeof(ret->asked[i]) - 1);
	}
	for (size_t i = 0; i < names->n && i < 20; i++) {
		strncat(ret->joined, i ? " " : "", sizeof(ret->joined) - strlen(ret->joined) - 1);
		strncat(ret->joined, names->v[i], sizeof(ret->joined) - strlen(ret->joined) - 1);
	}
	names_release(names);
	rig_close(r);
}

static void list_with(script_fn script, void *ctx, struct result *ret)
{
	struct names names = {0};
	struct rig r;
	int code;

	*ret = (struct result){0};
	rig_open(&r, script, ctx, "http://", "", NULL, NULL);
	code = source_tags(r.source, "x", false, &r.call, &names, &ret->whole, &r.err);
	finish(&r, code, &names, ret);
}

static void list(const struct page *pages, size_t n, struct result *ret)
{
	struct book book = {pages, n};

	list_with(turn_pages, &book, ret);
}

/* The second page is at `link`, and is asked for as `want`. */
static void second_page_at(const char *link, const char *want)
{
	char field[600];
	struct result got;

	snprintf(field, sizeof(field), "Link: %s\r\n", link);
	const struct page pages[] = {
	    {want, 200, "", "{\"tags\":[\"c\",\"a\",\"b\"]}"},
	    {LIST "?n=1000", 200, field, "{\"tags\":[\"b\",\"d\"]}"},
	};
	list(pages, 2, &got);
	if (got.code != 0 || strcmp(got.joined, "a b c d") != 0)
		fail_msg("%s: %d, '%s' %s", link, got.code, got.joined, got.text);
	assert_true(got.whole);
	assert_int_equal(got.requests, 2);
	assert_string_equal(got.asked[0], LIST "?n=1000");
	assert_string_equal(got.asked[1], want);
}

static void every_form_of_a_link_is_followed(void **state)
{
	(void)state;
	second_page_at("<" LIST "?n=1000&last=d>; rel=\"next\"", LIST "?n=1000&last=d");
	second_page_at("<" LIST "?last=d>;rel=next", LIST "?last=d");
	second_page_at("<" LIST "?last=d>; title=\"a, <b>; rel=prev\"; REL=\"Next last\"",
		       LIST "?last=d");
	second_page_at("<" LIST "?p=a,b;c>; rel=\"next\"", LIST "?p=a,b;c");
	second_page_at("<?n=2&last=d>; rel=\"next\"", LIST "?n=2&last=d");
	second_page_at("<list?last=d>; rel=\"next\"", LIST "?last=d");
	second_page_at("<https://elsewhere.invalid" LIST "?last=d>; rel=\"next\"", LIST "?last=d");
	second_page_at("<//elsewhere.invalid:1" LIST "?last=d>; rel=\"next\"", LIST "?last=d");
	second_page_at("<" LIST "?n=1>; rel=\"prev\" , <" LIST "?last=d>; rel=\"next\"",
		       LIST "?last=d");
	second_page_at("<" LIST "?n=1>; rel=\"prev\"\r\nLink: <" LIST "?last=d>; rel=\"next\"",
		       LIST "?last=d");
	second_page_at("<" LIST "?next_page=gAAAA%3D%3D&orderby=>; rel=\"next\"",
		       LIST "?next_page=gAAAA%3D%3D&orderby=");
}

static void a_link_to_nowhere_is_none(void **state)
{
	static const char *const links[] = {"<ftp://x/y>; rel=next", "<http://u:p@x/y>; rel=next",
					    "<" LIST, "<" LIST "?last=d>; rel=\"nextish\""};
	char field[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(links); i++) {
		struct result got;

		snprintf(field, sizeof(field), "Link: %s\r\n", links[i]);
		const struct page page = {LIST, 200, field, "{\"tags\":[\"b\",\"d\"]}"};
		list(&page, 1, &got);
		assert_int_equal(got.code, 0);
		assert_string_equal(got.joined, "b d");
		assert_int_equal(got.requests, 1);
	}
}

static void where_n_is_refused_it_is_left_out(void **state)
{
	static const int statuses[] = {400, 405};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
		const struct page pages[] = {
		    {LIST "?last=b", 200, "", "{\"tags\":[\"c\"]}"},
		    {LIST "?page=2", 400, "", ""},
		    {LIST "?n=", statuses[i], "",
		     "{\"errors\":[{\"code\":\"PAGINATION_NUMBER_INVALID\"}]}"},
		    {LIST, 200, "Link: <?page=2>; rel=next\r\n", "{\"tags\":[\"a\",\"b\"]}"},
		};
		struct result got;

		list(pages, 4, &got);
		assert_int_equal(got.code, 0);
		assert_string_equal(got.joined, "a b c");
		assert_string_equal(got.asked[1], LIST);
		assert_string_equal(got.asked[3], LIST "?last=b");
		assert_int_equal(got.requests, 4);
		assert_true(got.whole);
	}
}

static void other_refusals_are_errors(void **state)
{
	static const struct {
		int status, code;
		size_t requests;
		const char *body;
	} v[] = {{400, -EPROTO, 2, "{}"},
		 {403, -EACCES, 1, "{}"},
		 {404, -ENOENT, 1, "{\"errors\":[{\"code\":\"NAME_UNKNOWN\"}]}"},
		 {404, -EPROTO, 1, "404 page not found"}, /* lists nothing, whatever there is */
		 {404, -EPROTO, 1, "{\"errors\":[{\"code\":\"PAGE_NOT_FOUND\"}]}"},
		 {406, -EPROTO, 1, "{}"},
		 {418, -EPROTO, 1, "{}"},
		 {500, -EHOSTUNREACH, 5, "{}"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		const struct page page = {LIST, v[i].status, "", v[i].body};
		struct result got;

		list(&page, 1, &got);
		assert_int_equal(got.code, v[i].code);
		assert_int_equal(got.n, 0);
		assert_int_equal(got.requests, v[i].requests);
		assert_non_null(strstr(got.text, "GET " LIST ": "));
	}
}

static void a_link_that_is_refused_is_probed_once(void **state)
{
	const struct page pages[] = {
	    {LIST "?bad", 400, "", "{}"},
	    {LIST "?n=1000&last=b", 404, "", "{}"},
	    {LIST, 200, "Link: <?bad>; rel=next\r\n", "{\"tags\":[\"a\",\"b\"]}"},
	};
	const struct page rescued[] = {
	    pages[0],
	    {LIST "?n=1000&last=b", 200, "", "{\"tags\":[\"c\"]}"},
	    pages[2],
	};
	const struct page ignored[] = {pages[0], pages[2]}; /* `last` changes nothing */
	struct result got;

	(void)state;
	list(pages, 3, &got);
	assert_int_equal(got.code, 0);
	assert_string_equal(got.joined, "a b");
	assert_false(got.whole);
	assert_int_equal(got.requests, 3);
	list(rescued, 3, &got);
	assert_int_equal(got.code, 0);
	assert_string_equal(got.joined, "a b c");
	assert_true(got.whole);
	list(ignored, 2, &got);
	assert_int_equal(got.code, 0);
	assert_string_equal(got.joined, "a b");
	assert_false(got.whole);
	assert_int_equal(got.requests, 3);
}

static void an_error_on_a_later_page_is_no_end(void **state)
{
	static const struct {
		int status, code;
	} v[] = {{401, -EACCES}, {403, -EACCES}, {503, -EHOSTUNREACH}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		const struct page pages[] = {
		    {LIST "?last=b", v[i].status, "", ""},
		    {LIST, 200, "Link: <?last=b>; rel=next\r\n", "{\"tags\":[\"a\",\"b\"]}"},
		};
		struct result got;

		list(pages, 2, &got);
		assert_int_equal(got.code, v[i].code);
		assert_int_equal(got.n, 0);
	}
}

static void circles_end(void **state)
{
	const struct page pages[] = {
	    {LIST "?p=1", 200, "Link: <?p=2>; rel=next\r\n", "{\"tags\":[\"b\"]}"},
	    {LIST "?p=2", 200, "Link: <?p=3>; rel=next\r\n", "{\"tags\":[\"c\"]}"},
	    {LIST "?p=3", 200, "Link: <?p=1>; rel=next\r\n", "{\"tags\":[\"d\"]}"},
	    {LIST, 200, "Link: <?p=1>; rel=next\r\n", "{\"tags\":[\"a\"]}"},
	};
	const struct page itself = {LIST, 200, "Link: <?n=1000>; rel=next\r\n",
				    "{\"tags\":[\"a\"]}"};
	struct result got;

	(void)state;
	list(pages, 4, &got);
	assert_int_equal(got.code, 0);
	assert_string_equal(got.joined, "a b c d");
	assert_false(got.whole);
	assert_in_range(got.requests, 4, 12);
	list(&itself, 1, &got);
	assert_int_equal(got.code, 0);
	assert_string_equal(got.joined, "a");
	assert_false(got.whole);
	assert_int_equal(got.requests, 1);
}

static void empty_pages_are_no_end(void **state)
{
	const struct page pages[] = {
	    {LIST "?p=2", 200, "Link: <?p=3>; rel=next\r\n", "{\"tags\":[]}"},
	    {LIST "?p=3", 200, "Link: <?p=4>; rel=next\r\n", "{\"tags\":[]}"},
	    {LIST "?p=4", 200, "", "{\"tags\":[\"z\"]}"},
	    {LIST, 200, "Link: <?p=2>; rel=next\r\n", "{\"tags\":[\"a\"]}"},
	};
	struct result got;

	(void)state;
	list(pages, 4, &got);
	assert_int_equal(got.code, 0);
	assert_string_equal(got.joined, "a z");
	assert_true(got.whole);
}

/* What a registry without end gives on its pages, of which each links to another. */
static void serve_endless(void *ctx, struct connection *c, const struct seen *q)
{
	const char *names = ctx, *page = strstr(q->target, "p=");
	unsigned number = page ? (unsigned)strtoul(page + 2, NULL, 10) : 0;
	char fields[100], body[100];

	snprintf(fields, sizeof(fields), "Link: <?p=%u>; rel=next\r\n", number + 1);
	if (strcmp(names, "new") == 0)
		snprintf(body, sizeof(body), "{\"tags\":[\"t%05u\"]}", number);
	else
		snprintf(body, sizeof(body), "{\"tags\":[%s]}", number == 0 ? "\"a\"" : names);
	reply_text(c, 200, fields, body);
}

static void pages_without_end(void **state)
{
	static const struct {
		const char *names;
		size_t n, least, most; /* requests */
	} v[] = {{"", 1, 32, 100}, {"\"a\"", 1, 32, 100}, {"new", 10000, 10000, 10000}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct result got;

		list_with(serve_endless, (void *)(uintptr_t)v[i].names, &got);
		assert_int_equal(got.code, 0);
		assert_int_equal(got.n, v[i].n);
		assert_false(got.whole);
		assert_in_range(got.requests, v[i].least, v[i].most);
	}
}

static void odd_bodies(void **state)
{
	static const struct {
		const char *fields, *body, *want;
		int code;
	} v[] = {
	    {"", "{\"tags\":null}", "", 0},
	    {"", "{\"tags\":[]}", "", 0},
	    {"", "{}", "", 0},
	    {"Content-Type: text/plain\r\n", "{\"tags\":[\"a\"]}", "a", 0},
	    {"", "{\"tags\":[\"a\",null,\"\",\"../x\",\"sha256:aa\",\"b\\u0000c\",\"d\\ne\"]}", "a",
	     0},
	    {"Content-Type: text/html\r\n", "<html>", "", -EPROTO},
	    {"", "{\"tags\":\"a\"}", "", -EPROTO},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		const struct page page = {LIST, 200, v[i].fields, v[i].body};
		struct result got;

		list(&page, 1, &got);
		assert_int_equal(got.code, v[i].code);
		assert_string_equal(got.joined, v[i].want);
		assert_int_equal(got.requests, 1);
	}
}

/* Artifactory refuses a listing that is asked for with the types of manifests. */
static void picky(void *ctx, struct connection *c, const struct seen *q)
{
	const char *accept = seen_field(q, "Accept");

	(void)ctx;
	if (strstr(accept, "manifest"))
		reply_text(c, 406, "", "");
	else
		reply_text(c, 200, "", "{\"tags\":[\"a\"]}");
}

static void a_listing_is_asked_for_as_json(void **state)
{
	struct result got;

	(void)state;
	list_with(picky, NULL, &got);
	assert_int_equal(got.code, 0);
	assert_string_equal(got.joined, "a");
}

/* ---- many ---- */

struct shelf {
	unsigned total;
	bool links;
	size_t padding; /* bytes in each name */
};

/* Pages of 1000 names, in descending order. */
static void serve_shelf(void *ctx, struct connection *c, const struct seen *q)
{
	const struct shelf *s = ctx;
	const char *last = strstr(q->target, "last=t");
	unsigned at = last ? (unsigned)strtoul(last + 6, NULL, 10) : s->total;
	unsigned end = at > 1000 ? at - 1000 : 0;
	char fields[100] = "";
	char *body = malloc(1000 * (16 + s->padding) + 32);
	size_t n;

	assert_non_null(body);
	n = (size_t)sprintf(body, "{\"tags\":[");
	for (unsigned i = at; i > end; i--)
		n += (size_t)sprintf(body + n, "%s\"t%0*u\"", i < at ? "," : "", (int)s->padding,
				     i - 1);
	n += (size_t)sprintf(body + n, "]}");
	if (s->links && end > 0)
		snprintf(fields, sizeof(fields), "Link: <?n=1000&last=t%0*u>; rel=\"next\"\r\n",
			 (int)s->padding, end);
	reply(c, 200, fields, body, n);
	free(body);
}

static void two_hundred_pages(void **state)
{
	struct shelf shelf = {200000, true, 6};
	struct names names = {0};
	bool whole = false;
	struct rig r;

	(void)state;
	rig_open(&r, serve_shelf, &shelf, "http://", "", NULL, NULL);
	assert_int_equal(source_tags(r.source, "x", false, &r.call, &names, &whole, &r.err), 0);
	assert_true(whole);
	assert_int_equal(names.n, 200000);
	for (size_t i = 0; i < names.n; i++)
		assert_int_equal(strtoul(names.v[i] + 1, NULL, 10), i);
	assert_int_equal(server_count(r.server), 200);
	assert_int_equal(server_connections(r.server), 1);
	names_release(&names);
	assert_int_equal(source_tags(r.source, "x", true, &r.call, &names, &whole, &r.err), 0);
	assert_false(whole);
	assert_int_equal(names.n, 1000);
	assert_int_equal(server_count(r.server), 201);
	names_release(&names);
	rig_close(&r);
}

/* Exactly as many as were asked for, and no Link: perhaps it has more. */
static void old_server(void *ctx, struct connection *c, const struct seen *q)
{
	struct shelf shelf = {1000, false, 4};
	const char *how = ctx;

	if (!strstr(q->target, "last="))
		serve_shelf(&shelf, c, q);
	else if (strcmp(how, "refuses") == 0)
		reply_text(c, 404, "", "{}");
	else if (strcmp(how, "ignores") == 0)
		serve_shelf(&shelf, c, &(struct seen){.target = "first"});
	else
		reply_text(c, 200, "",
			   strstr(q->target, "last=t0000") ? "{\"tags\":[\"z\"]}" : "{}");
}

static void exactly_what_was_asked_for_is_probed_once(void **state)
{
	static const struct {
		const char *how;
		size_t names;
	} v[] = {{"refuses", 1000}, {"ignores", 1000}, {"has more", 1001}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct result got;

		list_with(old_server, (void *)(uintptr_t)v[i].how, &got);
		assert_int_equal(got.code, 0);
		assert_int_equal(got.n, v[i].names);
		assert_int_equal(got.requests, 2);
		assert_string_equal(got.asked[1], LIST "?n=1000&last=t0000");
		assert_true(got.whole);
	}
}

static void a_page_beyond_the_limit(void **state)
{
	struct shelf shelf = {1000, false, LISTING_PAGE_MAX / 1000};
	struct result got;

	(void)state;
	list_with(serve_shelf, &shelf, &got);
	assert_int_equal(got.code, -EFBIG);
	assert_int_equal(got.requests, 1);
}

/* ---- repositories ---- */

static void the_catalog_has_the_same_pages(void **state)
{
	const struct page pages[] = {
	    {"/v2/_catalog?last=b", 200, "", "{\"repositories\":[\"ns/x\",\"a/b/c\",\"A/B\",7]}"},
	    {"/v2/_catalog", 200, "Link: </v2/_catalog?last=b>; rel=next\r\n",
	     "{\"repositories\":[\"a\",\"a/b\",\"../etc\",null]}"},
	};
	struct book book = {pages, 2};
	struct result got = {0};
	struct names names = {0};
	struct rig r;
	int code;

	(void)state;
	rig_open(&r, turn_pages, &book, "http://", "", NULL, NULL);
	code = source_catalog(r.source, &r.call, &names, &got.whole, &r.err);
	finish(&r, code, &names, &got);
	assert_int_equal(got.code, 0);
	assert_string_equal(got.joined, "a a/b a/b/c ns/x");
	assert_true(got.whole);
	assert_string_equal(got.asked[0], "/v2/_catalog?n=1000");
}

static void a_catalog_that_is_refused_is_not_asked_again(void **state)
{
	static const struct {
		int status, code;
		size_t requests;
		const char *body;
	} v[] = {{401, -EACCES, 1, "{}"},    {403, -EACCES, 1, "{}"}, {404, -ENOENT, 1, "{}"},
		 {405, -ENOENT, 2, "{}"},    {400, -ENOENT, 2, "{}"}, {501, -ENOENT, 1, "{}"},
		 {200, -ENOENT, 1, "<html>"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		const struct page page = {"/v2/_catalog", v[i].status, "", v[i].body};
		struct book book = {&page, 1};
		struct names names = {0};
		struct rig r;

		rig_open(&r, turn_pages, &book, "http://", "", NULL, NULL);
		for (int again = 0; again < 2; again++)
			assert_int_equal(source_catalog(r.source, &r.call, &names, NULL, &r.err),
					 v[i].code);
		assert_non_null(strstr(r.err.text, "/v2/_catalog"));
		assert_int_equal(server_count(r.server), v[i].requests);
		rig_close(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_form_of_a_link_is_followed),
	    cmocka_unit_test(a_link_to_nowhere_is_none),
	    cmocka_unit_test(where_n_is_refused_it_is_left_out),
	    cmocka_unit_test(other_refusals_are_errors),
	    cmocka_unit_test(a_link_that_is_refused_is_probed_once),
	    cmocka_unit_test(an_error_on_a_later_page_is_no_end),
	    cmocka_unit_test(circles_end),
	    cmocka_unit_test(empty_pages_are_no_end),
	    cmocka_unit_test(pages_without_end),
	    cmocka_unit_test(odd_bodies),
	    cmocka_unit_test(a_listing_is_asked_for_as_json),
	    cmocka_unit_test(two_hundred_pages),
	    cmocka_unit_test(exactly_what_was_asked_for_is_probed_once),
	    cmocka_unit_test(a_page_beyond_the_limit),
	    cmocka_unit_test(the_catalog_has_the_same_pages),
	    cmocka_unit_test(a_catalog_that_is_refused_is_not_asked_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
