/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/token_fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "registry/errors.h"
#include "registry/park.h"
#include "registry/retry.h"

#define CLIENT_ID "wasmocifs"

/* Adds "key=value" to a query or form, with '&' or as `first` says. */
static int add(char **s, const char *first, const char *key, const char *value, size_t len)
{
	char *escaped = curl_easy_escape(NULL, value, (int)len);
	char *more;
	int n;

	if (!escaped)
		return -ENOMEM;
	n = asprintf(&more, "%s%s%s=%s", *s, first, key, escaped);
	explicit_bzero(escaped, strlen(escaped));
	curl_free(escaped);
	if (n < 0)
		return -ENOMEM;
	explicit_bzero(*s, strlen(*s));
	free(*s);
	*s = more;
	return 0;
}

static int add_text(char **s, const char *key, const char *value)
{
	return *value ? add(s, "&", key, value, strlen(value)) : 0;
}

static int add_scopes(char **s, const char *scopes)
{
	int r = 0;

	while (r == 0 && *scopes) {
		size_t n = strcspn(scopes, " ");

		if (n > 0)
			r = add(s, "&", "scope", scopes, n);
		scopes += n;
		scopes += strspn(scopes, " ");
	}
	return r;
}

static int query_url(const struct token_question *q, struct url *ret)
{
	AUTO_FREE char *target = strdup(q->realm->target);
	const char *first = strchr(q->realm->target, '?') ? "&" : "?";
	int r = target ? 0 : -ENOMEM;

	/* client_id is of no use to anybody here, and gives the rest its '&'. */
	if (r == 0)
		r = add(&target, first, "client_id", CLIENT_ID, strlen(CLIENT_ID));
	if (r == 0)
		r = add_text(&target, "service", q->service);
	if (r == 0)
		r = add_scopes(&target, q->scopes);
	if (r == 0 && q->credential->kind == CREDENTIAL_PASSWORD)
		r = add_text(&target, "account", q->credential->user);
	if (r == 0)
		r = url_make(q->realm->https, q->realm->host, q->realm->port, target, ret);
	return r;
}

static int refresh_form(const struct token_question *q, char **ret)
{
	char *form = strdup("grant_type=refresh_token");
	int r = form ? 0 : -ENOMEM;

	if (r == 0)
		r = add_text(&form, "client_id", CLIENT_ID);
	if (r == 0)
		r = add_text(&form, "service", q->service);
	if (r == 0)
		r = add_text(&form, "scope", q->scopes);
	if (r == 0)
		r = add_text(&form, "refresh_token", q->credential->secret);
	if (r < 0)
		free(form);
	else
		*ret = form;
	return r;
}

struct answer {
	int status;
	char *body;
	size_t len;
	int64_t retry_after_ms; /* -1: not told */
};

static int send_once(const struct token_question *q, const struct transport_request *t,
		     struct call *call, struct answer *ret, enum http_fault *fault, struct err *err)
{
	struct transport_reply reply;
	int r = transport_send(q->http, t, call, &reply, err);

	ret->retry_after_ms = -1;
	*fault = reply.fault;
	if (r == 0) {
		ret->status = http_status(reply.x);
		r = http_retry_after(reply.x, &ret->retry_after_ms);
		if (r == 0)
			r = transport_body(reply.x, TOKEN_BODY_MAX, ret->status != 200, call,
					   &ret->body, &ret->len, err);
		if (r == -EFBIG) /* limits that a user is told of are those of content */
			r = -EPROTO;
		*fault = http_fault(reply.x);
	}
	transport_release(&reply);
	return r;
}

static bool worth_a_retry(enum http_fault fault)
{
	return fault == HTTP_FAULT_RESOLVE || fault == HTTP_FAULT_CONNECT ||
	       fault == HTTP_FAULT_TLS || fault == HTTP_FAULT_CUT || fault == HTTP_FAULT_SILENT;
}

/* One way of asking, with retries. 0 with any status that stands. */
static int send_retried(const struct token_question *q, const struct transport_request *t,
			struct call *call, struct answer *ret, struct err *err)
{
	for (unsigned attempt = 1;; attempt++) {
		enum http_fault fault;
		int64_t wait_ms = retry_backoff_ms(attempt, q->retry_base_ms);
		int r = send_once(q, t, call, ret, &fault, err);

		if (r == 0 && !retry_status(ret->status))
			return 0;
		if (r < 0 && !worth_a_retry(fault))
			return r;
		if (r == 0 && ret->retry_after_ms > wait_ms)
			wait_ms = ret->retry_after_ms;
		if (attempt >= RETRY_CONNECT_ATTEMPTS || wait_ms > RETRY_AFTER_MAX_MS ||
		    wait_ms > call->deadline_ms - clock_ms())
			return r;
		free(ret->body);
		*ret = (struct answer){0};
		r = park_sleep(call, clock_ms() + wait_ms, err);
		if (r < 0)
			return r;
	}
}

static int send_get(const struct token_question *q, struct call *call, struct answer *ret,
		    struct err *err)
{
	AUTO_FREE char *basic = NULL, *line = NULL;
	const char *own[2] = {NULL, NULL};
	static const char *const common[] = {"Accept: application/json", NULL};
	struct url url = {0};
	struct transport_request t = {
	    .method = "GET", .url = &url, .headers = common, .own = own, .allowed = q->allowed};
	int r = query_url(q, &url);

	if (r == 0 && q->credential->kind != CREDENTIAL_NONE) {
		r = credential_basic(q->credential, &basic);
		if (r == 0 && asprintf(&line, "Authorization: %s", basic) < 0) {
			line = NULL;
			r = -ENOMEM;
		}
		own[0] = line;
	}
	if (r < 0)
		err_set(err, r, "out of memory");
	else
		r = send_retried(q, &t, call, ret, err);
	if (basic)
		explicit_bzero(basic, strlen(basic));
	if (line)
		explicit_bzero(line, strlen(line));
	url_release(&url);
	return r;
}

static int send_post(const struct token_question *q, struct call *call, struct answer *ret,
		     struct err *err)
{
	static const char *const common[] = {"Accept: application/json", NULL};
	char *form = NULL;
	struct transport_request t = {
	    .method = "POST", .url = q->realm, .headers = common, .allowed = q->allowed};
	int r = refresh_form(q, &form);

	if (r < 0)
		return err_set(err, r, "out of memory");
	t.form = form;
	r = send_retried(q, &t, call, ret, err);
	explicit_bzero(form, strlen(form));
	free(form);
	return r;
}

static int ask(const struct token_question *q, struct call *call, struct answer *a, struct err *err)
{
	int r;

	if (q->credential->kind != CREDENTIAL_IDENTITY)
		return send_get(q, call, a, err);
	r = send_post(q, call, a, err);
	/* What servers that know no POST say to it. */
	if (r == 0 && (a->status == 400 || a->status == 401 || a->status == 404 ||
		       a->status == 405 || (a->status >= 300 && a->status < 400))) {
		free(a->body);
		*a = (struct answer){0};
		return send_get(q, call, a, err);
	}
	return r;
}

int token_fetch(const struct token_question *q, struct call *call, struct token *ret,
		bool *ret_refused, struct err *err)
{
	char authority[URL_ORIGIN_MAX];
	struct registry_error said;
	struct answer a = {0};
	int r = ask(q, call, &a, err);

	*ret_refused = false;
	url_authority(q->realm, authority);
	if (r == 0 && a.status == 200) {
		r = token_parse(a.body, a.len, ret, err);
	} else if (r == 0) {
		if (a.body && q->credential->secret)
			errors_hide(a.body, a.len, q->credential->secret);
		errors_parse(a.body, a.len, &said);
		r = errors_errno(a.status, said.code, false);
		if (r == -ENOENT || (r == -EPROTO && a.status < 500))
			r = -EACCES;
		err_set(err, r, "%d %s%s%s", a.status, said.code, said.code[0] ? ": " : "",
			said.message);
		if (q->retry_after_ms && (a.status == 429 || a.status == 503))
			*q->retry_after_ms = a.retry_after_ms;
		*ret_refused = a.status == 401 && q->credential->kind != CREDENTIAL_NONE;
	}
	if (a.body)
		explicit_bzero(a.body, a.len);
	free(a.body);
	return r < 0 ? err_wrap(err, r, "token server %s", authority) : 0;
}
