/* SPDX-License-Identifier: Apache-2.0 */
/* The client through a proxy, which is the scripted server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/unit/registry/http_server.h"

#define MANIFEST "{\"schemaVersion\":2}"
#define NOWHERE  "registry.invalid" /* no resolver knows it, but the proxy does */

static void setenv_proxy(const char *variable, unsigned port)
{
	char url[100];

	snprintf(url, sizeof(url), "http://me:s3cret@127.0.0.1:%u", port);
	setenv(variable, url, 1);
}

static void proxied_open(struct rig *r, script_fn script, void *ctx, const char *spec,
			 const char *none)
{
	const struct client_tuning t = {.retry_base_ms = 1, .skew_ms = 1};
	struct source_options o = {.spec = spec, .timeout_ms = 20000};
	struct source_spec parsed = {0};

	*r = (struct rig){.server = server_start(script, ctx)};
	setenv("DOCKER_CONFIG", "/nonexistent", 1);
	setenv("HOME", "/nonexistent", 1);
	unsetenv("http_proxy");
	unsetenv("https_proxy");
	unsetenv("no_proxy");
	setenv_proxy("HTTP_PROXY", server_port(r->server));
	setenv_proxy("HTTPS_PROXY", server_port(r->server));
	setenv("NO_PROXY", none, 1);
	assert_int_equal(reference_parse_source(spec, &parsed, &r->err), 0);
	assert_int_equal(http_source_open_tuned(&o, &parsed, &t, &r->source, &r->err), 0);
	/* It was captured. */
	unsetenv("HTTP_PROXY");
	unsetenv("HTTPS_PROXY");
	unsetenv("NO_PROXY");
	call_init(&r->call, clock_ms() + 20000);
}

static int ask(struct rig *r)
{
	struct document d = {0};
	int code = source_document(r->source, "a/b", "v1", &r->call, &d, &r->err);

	document_release(&d);
	return code;
}

static void give(void *ctx, struct connection *c, const struct seen *q)
{
	(void)ctx;
	(void)q;
	reply_text(c, 200, "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n",
		   MANIFEST);
}

static void plain_http_is_asked_of_the_proxy(void **state)
{
	struct seen q;
	struct rig r;

	(void)state;
	proxied_open(&r, give, NULL, "http://" NOWHERE ":81", "");
	assert_int_equal(ask(&r), 0);
	q = server_seen(r.server, 0);
	assert_string_equal(q.target, "http://" NOWHERE ":81/v2/a/b/manifests/v1");
	assert_string_equal(seen_field(&q, "Proxy-Authorization"), "Basic bWU6czNjcmV0");
	rig_close(&r);
}

static void who_is_listed_is_asked_directly(void **state)
{
	struct rig r;

	(void)state;
	proxied_open(&r, give, NULL, "http://" NOWHERE, "x,.invalid");
	assert_int_equal(ask(&r), -EHOSTUNREACH);
	assert_int_equal(server_count(r.server), 0);
	rig_close(&r);
}

static void want_login(void *ctx, struct connection *c, const struct seen *q)
{
	(void)ctx;
	(void)q;
	reply_text(c, 407, "Proxy-Authenticate: Basic realm=\"x\"\r\n", "who are you?");
}

/* By CONNECT, or by its own answer to a plain request. */
static void the_proxys_login_is_not_the_registrys(void **state)
{
	static const char *const specs[] = {"https://" NOWHERE, "http://" NOWHERE};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
		char name[64];
		struct rig r;

		proxied_open(&r, want_login, NULL, specs[i], "");
		assert_int_equal(ask(&r), -EPROTO);
		snprintf(name, sizeof(name), "the proxy 127.0.0.1:%u wants a login (407)",
			 server_port(r.server));
		assert_non_null(strstr(r.err.text, name));
		assert_null(strstr(r.err.text, "s3cret"));
		assert_int_equal(server_count(r.server), 1);
		rig_close(&r);
	}
}

static void refuse_way(void *ctx, struct connection *c, const struct seen *q)
{
	(void)q;
	reply_text(c, *(const int *)ctx, "WWW-Authenticate: Basic realm=\"x\"\r\n", "no");
}

static void a_proxy_that_makes_no_way(void **state)
{
	int status = 502;
	struct seen q;
	struct rig r;

	(void)state;
	proxied_open(&r, refuse_way, &status, "https://" NOWHERE, "");
	assert_int_equal(ask(&r), -EHOSTUNREACH);
	assert_non_null(strstr(r.err.text, ": 502"));
	q = server_seen(r.server, 0);
	assert_string_equal(q.method, "CONNECT");
	assert_string_equal(q.target, NOWHERE ":443");
	assert_null(seen_field(&q, "Accept"));
	rig_close(&r);
	status = 403;
	proxied_open(&r, refuse_way, &status, "https://" NOWHERE, "");
	assert_int_equal(ask(&r), -EPROTO);
	assert_int_equal(server_count(r.server), 1);
	rig_close(&r);
}

static void send_elsewhere(void *ctx, struct connection *c, const struct seen *q)
{
	char fields[200];

	snprintf(fields, sizeof(fields), "Location: %s\r\n", (const char *)ctx);
	if (strstr(q->target, "/v2/"))
		reply_text(c, 307, fields, "");
	else
		give(NULL, c, q);
}

/* A name behind the proxy counts as public: it sends us to names, which the
 * proxy looks up, and to no address that is not public. */
static void where_a_redirect_through_the_proxy_leads(void **state)
{
	static const struct {
		const char *target;
		int code;
	} cases[] = {
	    {"http://storage.invalid/x", 0},   {"http://8.8.8.8/x", 0},
	    {"http://10.0.0.1/x", -EACCES},    {"http://169.254.169.254/x", -EACCES},
	    {"http://127.0.0.1:9/x", -EACCES}, {"http://0.0.0.0/x", -EACCES},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char target[64];
		struct rig r;

		snprintf(target, sizeof(target), "%s", cases[i].target);
		proxied_open(&r, send_elsewhere, target, "http://" NOWHERE, "");
		assert_int_equal(ask(&r), cases[i].code);
		assert_int_equal(server_count(r.server), cases[i].code ? 1 : 2);
		rig_close(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plain_http_is_asked_of_the_proxy),
	    cmocka_unit_test(who_is_listed_is_asked_directly),
	    cmocka_unit_test(the_proxys_login_is_not_the_registrys),
	    cmocka_unit_test(a_proxy_that_makes_no_way),
	    cmocka_unit_test(where_a_redirect_through_the_proxy_leads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
