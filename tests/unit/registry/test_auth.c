/* SPDX-License-Identifier: Apache-2.0 */
/* Logging in as a whole, against a registry and token server in one: how often
 * is what asked, and with what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "registry/auth_memory.h"
#include "tests/unit/registry/http_server.h"

#define SECRET "topsecret"
#define LOGIN  "Basic bWU6dG9wc2VjcmV0" /* me:topsecret */

/* What the registry wants, and what its token server gives. */
struct script {
	struct server *server;
	const char *good;      /* the token that opens; "": none does */
	const char *challenge; /* "%s" is the token server's address */
	const char *weak;      /* the challenge to another token, or NULL */
	int status;            /* for another token; 0: 401 */
	bool mute;             /* … and without a challenge */
	int token_status;      /* 0: 200 */
	const char *token_body;
	bool numbered; /* tokens are t1, t2, … */
	unsigned tokens;
};

static void send_challenge(const struct script *s, struct connection *c, int status,
			   const char *form)
{
	char realm[64], value[400], fields[512];

	snprintf(realm, sizeof(realm), "http://127.0.0.1:%u/token", server_port(s->server));
	snprintf(value, sizeof(value), "%s", form);
	char *at = strstr(value, "REALM");

	if (at)
		snprintf(value, sizeof(value), "%.*s%s%s", (int)(at - value), form, realm,
			 form + (at - value) + 5);
	snprintf(fields, sizeof(fields), "WWW-Authenticate: %s\r\n", value);
	reply_text(c, status, fields,
		   "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"no\"}]}");
}

static void serve(void *ctx, struct connection *c, const struct seen *q)
{
	struct script *s = ctx;
	const char *shown = seen_field(q, "Authorization");
	char body[64], want[64];

	if (strncmp(q->target, "/token", 6) == 0) {
		snprintf(body, sizeof(body), "{\"token\":\"t%u\"}", s->numbered ? ++s->tokens : 1);
		reply_text(c, s->token_status ? s->token_status : 200, "",
			   s->token_body ? s->token_body : body);
		return;
	}
	snprintf(want, sizeof(want), "Bearer %s", s->good);
	if (shown && (strcmp(shown, want) == 0 || (!*s->good && strcmp(shown, LOGIN) == 0)))
		reply_text(c, 200, "", "{\"tags\":[\"v1\"],\"repositories\":[\"a\"]}");
	else if (shown && s->mute)
		reply_text(c, 401, "", "{}");
	else if (shown && s->weak)
		send_challenge(s, c, s->status ? s->status : 401, s->weak);
	else
		send_challenge(s, c, shown && s->status ? s->status : 401, s->challenge);
}

#define BEARER "Bearer realm=\"REALM\",service=\"s\",scope=\"repository:a/b:pull\""

static char auth_path[64];

static void open_rig(struct rig *r, struct script *s, const char *auths)
{
	int fd;

	snprintf(auth_path, sizeof(auth_path), "/tmp/test-auth-XXXXXX");
	fd = mkstemp(auth_path);
	assert_true(fd >= 0);
	rig_open(r, serve, s, "http://", "", auth_path, NULL);
	s->server = r->server;
	dprintf(fd, "{\"auths\":{\"127.0.0.1:%u\":%s}}", server_port(r->server),
		*auths ? auths : "{}");
	close(fd);
}

static void close_rig(struct rig *r)
{
	rig_close(r);
	unlink(auth_path);
}

static int ask(struct rig *r)
{
	struct names tags = {0};
	int code = source_tags(r->source, "a/b", false, &r->call, &tags, NULL, &r->err);

	names_release(&tags);
	assert_null(strstr(r->err.text, SECRET));
	return code;
}

static void counts(struct rig *r, size_t sends, size_t fetches)
{
	assert_int_equal(server_count_of(r->server, NULL, "/tags/"), sends);
	assert_int_equal(server_count_of(r->server, NULL, "/token"), fetches);
}

static void one_token_and_no_challenge_twice(void **state)
{
	struct script s = {.good = "t1", .challenge = BEARER};
	struct rig r;

	(void)state;
	open_rig(&r, &s, "");
	assert_int_equal(ask(&r), 0);
	counts(&r, 2, 1);
	assert_int_equal(ask(&r), 0);
	counts(&r, 3, 1);
	close_rig(&r);
}

static void a_token_that_never_opens(void **state)
{
	struct script s = {.good = "none", .challenge = BEARER, .numbered = true};
	struct rig r;

	(void)state;
	open_rig(&r, &s, "");
	assert_int_equal(ask(&r), -EACCES);
	counts(&r, 3, 1); /* none, the token, and a moment later the token again */
	/* Known for a while: neither waited for nor fetched anew. */
	assert_int_equal(ask(&r), -EACCES);
	assert_int_equal(ask(&r), -EACCES);
	counts(&r, 5, 1);
	assert_non_null(strstr(r.err.text, "401 UNAUTHORIZED"));
	close_rig(&r);
}

static void a_token_that_is_too_weak(void **state)
{
	struct script s = {.good = "t2",
			   .challenge = BEARER,
			   .weak =
			       "Bearer realm=\"REALM\",service=\"s\","
			       "scope=\"repository:a/b:pull,push\",error=\"insufficient_scope\"",
			   .numbered = true};
	struct seen q;
	struct rig r;

	(void)state;
	open_rig(&r, &s, "");
	assert_int_equal(ask(&r), 0);
	counts(&r, 3, 2);
	q = server_seen(r.server, 3);
	assert_non_null(strstr(q.target, "scope=repository%3Aa%2Fb%3Apull%2Cpush"));
	/* And that is kept. */
	assert_int_equal(ask(&r), 0);
	counts(&r, 4, 2);
	close_rig(&r);
}

static void a_token_that_stays_too_weak(void **state)
{
	struct script s = {.good = "none",
			   .challenge = BEARER,
			   .weak = "Bearer realm=\"REALM\",service=\"s\","
				   "scope=\"repository:a/b:pull\",error=\"insufficient_scope\"",
			   .numbered = true};
	struct rig r;

	(void)state;
	open_rig(&r, &s, "");
	assert_int_equal(ask(&r), -EACCES);
	counts(&r, 2, 1);
	assert_int_equal(ask(&r), -EACCES);
	counts(&r, 3, 1);
	close_rig(&r);
}

static void an_old_token_is_renewed_once(void **state)
{
	static const int statuses[] = {401, 403};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
		struct script s = {
		    .good = "t1", .challenge = BEARER, .status = statuses[i], .numbered = true};
		struct rig r;

		open_rig(&r, &s, "");
		assert_int_equal(ask(&r), 0);
		s.good = "t2";
		assert_int_equal(ask(&r), 0);
		counts(&r, 4, 2);
		s.good = "none";
		assert_int_equal(ask(&r), -EACCES);
		assert_int_equal(server_count_of(r.server, NULL, "/token"), 3);
		assert_int_equal(ask(&r), -EACCES);
		assert_int_equal(server_count_of(r.server, NULL, "/token"), 3);
		close_rig(&r);
	}
}

/* It says nothing of a token that is new, nor of a password. */
static void a_401_that_asks_for_nothing(void **state)
{
	struct script s = {.good = "t1", .challenge = BEARER, .mute = true, .numbered = true};
	struct script basic = {.good = "none", .challenge = "Basic realm=\"x\"", .mute = true};
	struct rig r;

	(void)state;
	open_rig(&r, &s, "");
	assert_int_equal(ask(&r), 0);
	s.good = "t2";
	assert_int_equal(ask(&r), 0);
	counts(&r, 4, 2);
	s.good = "none";
	assert_int_equal(ask(&r), -EACCES);
	assert_int_equal(ask(&r), -EACCES);
	counts(&r, 7, 3);
	close_rig(&r);
	open_rig(&r, &basic, "{\"username\":\"me\",\"password\":\"" SECRET "\"}");
	assert_int_equal(ask(&r), -EACCES);
	assert_int_equal(ask(&r), -EACCES);
	counts(&r, 3, 0);
	basic.good = "";
	assert_int_equal(ask(&r), 0);
	close_rig(&r);
}

static void what_is_asked_for(void **state)
{
	static const char other[] =
	    "Bearer realm=\"REALM\",service=\"s\",scope=\"repository:up/b:pull "
	    "registry:catalog:* repository:a/b:pull,push\"";
	struct script s = {.good = "t1", .challenge = other};
	struct names repos = {0};
	struct seen q;
	struct rig r;

	(void)state;
	open_rig(&r, &s, "");
	assert_int_equal(ask(&r), 0);
	q = server_seen(r.server, 1);
	assert_non_null(
	    strstr(q.target, "&scope=repository%3Aa%2Fb%3Apull&scope=repository%3Aup%2Fb%3Apull"));
	assert_null(strstr(q.target, "catalog"));
	assert_null(strstr(q.target, "push"));
	assert_int_equal(source_catalog(r.source, &r.call, &repos, NULL, &r.err), 0);
	names_release(&repos);
	q = server_seen(r.server, 3);
	assert_non_null(strstr(q.target, "&scope=registry%3Acatalog%3A%2A"));
	assert_null(strstr(q.target, "repository"));
	close_rig(&r);
}

static void a_password_goes_to_the_token_server(void **state)
{
	struct script s = {.good = "t1", .challenge = "Basic realm=\"x\", " BEARER};
	struct seen q;
	struct rig r;

	(void)state;
	open_rig(&r, &s, "{\"username\":\"me\",\"password\":\"" SECRET "\"}");
	assert_int_equal(ask(&r), 0);
	counts(&r, 2, 1);
	q = server_seen(r.server, 1);
	assert_string_equal(seen_field(&q, "Authorization"), LOGIN);
	assert_non_null(strstr(q.target, "account=me"));
	q = server_seen(r.server, 2);
	assert_string_equal(seen_field(&q, "Authorization"), "Bearer t1");
	close_rig(&r);
}

static void a_wrong_password_is_shown_once(void **state)
{
	struct script s = {.good = "t1",
			   .challenge = BEARER,
			   .token_status = 401,
			   .token_body = "{\"details\":\"incorrect password\"}"};
	struct rig r;

	(void)state;
	open_rig(&r, &s, "{\"username\":\"me\",\"password\":\"" SECRET "\"}");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ask(&r), -EACCES);
		assert_non_null(strstr(r.err.text, "401 incorrect password"));
	}
	counts(&r, 3, 1);
	close_rig(&r);
}

static void a_token_server_that_denies(void **state)
{
	struct script s = {.good = "t1",
			   .challenge = BEARER,
			   .token_status = 403,
			   .token_body =
			       "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no such\"}]}"};
	struct rig r;

	(void)state;
	open_rig(&r, &s, "");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ask(&r), -EACCES);
		assert_non_null(strstr(r.err.text, "403 DENIED: no such"));
	}
	counts(&r, 3, 1);
	close_rig(&r);
}

static void basic_to_a_token_is_no_question(void **state)
{
	struct script s = {.good = "none", .challenge = BEARER, .weak = "Basic realm=\"harbor\""};
	struct rig r;

	(void)state;
	open_rig(&r, &s, "{\"username\":\"me\",\"password\":\"" SECRET "\"}");
	assert_int_equal(ask(&r), -EACCES);
	assert_int_equal(ask(&r), -EACCES);
	counts(&r, 3 + 1, 1);
	for (size_t i = 0; i < server_count(r.server); i++) {
		struct seen q = server_seen(r.server, i);
		const char *shown = seen_field(&q, "Authorization");

		assert_true(strstr(q.target, "/token") || !shown ||
			    strncmp(shown, "Basic", 5) != 0);
	}
	close_rig(&r);
}

static void basic_at_once_when_it_is_known(void **state)
{
	struct script s = {.good = "", .challenge = "Negotiate YII=, Basic realm=\"x\""};
	struct rig r;

	(void)state;
	open_rig(&r, &s, "{\"username\":\"me\",\"password\":\"" SECRET "\"}");
	assert_int_equal(ask(&r), 0);
	assert_int_equal(ask(&r), 0);
	counts(&r, 3, 0);
	close_rig(&r);
}

static void negotiate_alone_is_nothing_for_us(void **state)
{
	struct script s = {.good = "", .challenge = "Negotiate"};
	struct rig r;

	(void)state;
	open_rig(&r, &s, "{\"username\":\"me\",\"password\":\"" SECRET "\"}");
	assert_int_equal(ask(&r), -EACCES);
	counts(&r, 1, 0);
	close_rig(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_token_and_no_challenge_twice),
	    cmocka_unit_test(a_token_that_never_opens),
	    cmocka_unit_test(a_token_that_is_too_weak),
	    cmocka_unit_test(a_token_that_stays_too_weak),
	    cmocka_unit_test(an_old_token_is_renewed_once),
	    cmocka_unit_test(a_401_that_asks_for_nothing),
	    cmocka_unit_test(what_is_asked_for),
	    cmocka_unit_test(a_password_goes_to_the_token_server),
	    cmocka_unit_test(a_wrong_password_is_shown_once),
	    cmocka_unit_test(a_token_server_that_denies),
	    cmocka_unit_test(basic_to_a_token_is_no_question),
	    cmocka_unit_test(basic_at_once_when_it_is_known),
	    cmocka_unit_test(negotiate_alone_is_nothing_for_us),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
