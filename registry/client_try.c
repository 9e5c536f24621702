/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "registry/client_impl.h"
#include "registry/header_field.h"

/* Of `own` lines: Authorization, If-None-Match, and what a file sets. */
#define OWN_MAX (2 + HEADER_FIELDS_MAX)

struct attempt {
	struct client *c;
	const struct question *q;
	struct url base; /* of the registry, with the scheme of this try */
	struct auth_round round;
	struct names headers; /* of docker's configuration, for the registry itself */
	struct transport_reply reply;
	enum http_fault fault;
	bool token_server; /* it is what failed */
};

/* ---- one request ---- */

/* The question's target at this host. A page's link may be anything. New; NULL: no
 * memory. */
static char *own_target(const struct client *c, const struct question *q, const char *repo)
{
	/* It is for the API of registries, and an anonymous question is none of these. */
	const char *ns = q->anonymous ? "" : c->ns;
	const char *more = ns[0] ? (strchr(q->target, '?') ? "&" : "?") : "";
	bool ours = strncmp(q->target, "/v2/", 4) == 0;
	const char *rest = q->target + (ours ? 3 : 0);
	size_t n = strlen(q->repo);
	char *own;
	int len;

	if (ours && n > 0 && strncmp(rest + 1, q->repo, n) == 0 && rest[n + 1] == '/')
		len = asprintf(&own, "%s/%s%s%s%s", c->api, repo, rest + 1 + n, more, ns);
	else
		len = asprintf(&own, "%s%s%s%s", ours ? c->api : "", rest, more, ns);
	return len < 0 ? NULL : own;
}

static int send_by(struct attempt *t, bool https, int64_t connect_ms, struct call *call,
		   struct err *err)
{
	const struct question *q = t->q;
	char range[64], accept[512], match[192], if_range[192];
	const char *common[4] = {accept, NULL, NULL, NULL};
	const char *own[OWN_MAX + 1] = {NULL};
	struct transport_request tr = {.method = q->method,
				       .url = &t->base,
				       .lane = q->body_max || !strcmp(q->method, "HEAD")
						   ? HTTP_QUESTION
					       : q->quick ? HTTP_QUICK
							  : HTTP_TRANSFER,
				       .headers = common,
				       .own = own,
				       .connect_ms = connect_ms};
	AUTO_FREE char *target = own_target(t->c, q, t->round.repo);
	size_t n = 0;
	int r;

	url_release(&t->base);
	r = target ? url_make(https, t->c->host, t->c->port, target, &t->base) : -ENOMEM;
	if (r < 0)
		return err_set(err, r, "out of memory");
	snprintf(accept, sizeof(accept), "Accept: %s", q->accept);
	if (q->ranged) {
		snprintf(range, sizeof(range), "Range: bytes=%llu-%llu",
			 (unsigned long long)q->first, (unsigned long long)q->last);
		common[1] = range;
	}
	if (q->ranged && q->if_range) {
		snprintf(if_range, sizeof(if_range), "If-Range: %s", q->if_range);
		common[2] = if_range;
	}
	if (t->round.header)
		own[n++] = t->round.header;
	if (q->if_none_match) {
		snprintf(match, sizeof(match), "If-None-Match: %s", q->if_none_match);
		own[n++] = match;
	}
	for (size_t i = 0; i < t->headers.n && n < OWN_MAX; i++)
		own[n++] = t->headers.v[i];
	transport_release(&t->reply);
	r = transport_send(t->c->http, &tr, call, &t->reply, err);
	t->fault = t->reply.fault;
	return r;
}

/* What is configured is for the connection alone; libcurl counts TLS, which is two
 * more trips, with it. */
static int64_t dial_ms(const struct client *c, bool https)
{
	return c->endpoint->dial_ms * (https ? 3 : 1);
}

/* Who spoke plain HTTP may speak TLS by now: then the next try finds out anew. (Servers of
 * TLS say 400 to http.) Never the other way: a login that was shown over TLS stays there. */
static void reconsider(struct attempt *t, int r)
{
	struct client *c = t->c;
	bool odd = t->fault == HTTP_FAULT_TLS || t->fault == HTTP_FAULT_CUT ||
		   t->fault == HTTP_FAULT_PROTOCOL;

	if (!c->https || atomic_load(&c->scheme) != CLIENT_HTTP || t->reply.foreign)
		return;
	if ((r < 0 && odd) || (r == 0 && http_status(t->reply.x) == 400))
		atomic_store(&c->scheme, CLIENT_SCHEME_UNKNOWN);
}

/* Where both schemes are allowed, https goes first, and nothing but its absence
 * leads to http: nobody listens, or what listens speaks no TLS. Once one of
 * them has answered it stays; but see reconsider(). */
static int send_any(struct attempt *t, struct call *call, struct err *err)
{
	struct client *c = t->c;
	int scheme = atomic_load(&c->scheme);
	bool slow;
	int r;

	if (scheme != CLIENT_SCHEME_UNKNOWN) {
		r = send_by(t, scheme == CLIENT_HTTPS, dial_ms(c, scheme == CLIENT_HTTPS), call,
			    err);
		reconsider(t, r);
		return r;
	}
	r = send_by(t, true, c->endpoint->insecure ? 0 : c->tuning.probe_ms, call, err);
	if (r == 0)
		atomic_store(&c->scheme, CLIENT_HTTPS);
	if (r == 0 || t->reply.foreign)
		return r;
	/* libcurl does not always tell a slow handshake from a slow connection; on
	 * loopback the latter is none. */
	slow = t->fault == HTTP_FAULT_TLS_SLOW || t->fault == HTTP_FAULT_CONNECT_SLOW;
	if (t->fault != HTTP_FAULT_TLS && t->fault != HTTP_FAULT_CONNECT && !slow)
		return r;
	r = send_by(t, false, dial_ms(c, false), call, err);
	/* A server of TLS that was merely slow answers http with 400. */
	if (r == 0 && !(slow && http_status(t->reply.x) == 400))
		atomic_store(&c->scheme, CLIENT_HTTP);
	return r;
}

/* ---- logging in ---- */

static int registry_url(struct attempt *t, struct err *err)
{
	bool https = atomic_load(&t->c->scheme) != CLIENT_HTTP;
	int r = url_make(https, t->c->host, t->c->port, "/v2/", &t->base);

	return r < 0 ? err_set(err, r, "out of memory") : 0;
}

/* 1: again, with another header. */
static int login(struct attempt *t, struct call *call, struct err *err)
{
	AUTO_FREE char *challenge = NULL;
	int r = http_field(t->reply.x, "WWW-Authenticate", &challenge);

	if (r < 0)
		return err_set(err, r, "out of memory");
	r = auth_answered(t->c->auth, &t->base, &t->round, http_status(t->reply.x), challenge,
			  http_peer(t->reply.x), call, err);
	if (r < 0)
		t->token_server = true;
	if (r > 0)
		transport_drain(t->reply.x, call);
	return r;
}

/* A login counts at the next try, here too; and so does its end. */
static void admit(struct client *c)
{
	bool admitted;

	if (!c->public_only)
		return;
	admitted = auth_mentions(c->auth, c->title);
	http_allow(c->http, admitted ? ADDRESS_ANY : ADDRESS_PUBLIC);
	atomic_store(&c->admitted, admitted);
}

static int send_logged_in(struct attempt *t, struct call *call, struct err *err)
{
	int r = registry_url(t, err);

	admit(t->c);

	if (r == 0 && t->q->anonymous)
		return send_any(t, call, err);
	if (r == 0) {
		r = auth_begin(t->c->auth, &t->base, &t->round, call, err);
		t->token_server = r < 0;
	}
	while (r == 0) {
		r = send_any(t, call, err);
		if (r < 0 || t->reply.foreign)
			return r;
		r = login(t, call, err);
		if (r <= 0)
			return r;
		r = 0;
	}
	return r;
}

/* ---- the answer ---- */

static void take_media_type(const char *s, char out[MEDIA_TYPE_MAX])
{
	size_t n = strcspn(s, ";");

	while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'))
		n--;
	if (n >= MEDIA_TYPE_MAX)
		n = 0;
	memcpy(out, s, n);
	out[n] = '\0';
}

static int take_fields(struct attempt *t, struct answer *a, int64_t *retry_after)
{
	struct http_exchange *x = t->reply.x;
	AUTO_FREE char *type = NULL, *encoding = NULL, *challenge = NULL, *warning = NULL;
	int r = http_field(x, "Docker-Content-Digest", &a->digest);

	if (r == 0)
		r = http_field(x, "Content-Range", &a->content_range);
	if (r == 0)
		r = http_field(x, "Link", &a->link);
	if (r == 0)
		r = http_field(x, "ETag", &a->etag);
	if (r == 0)
		r = http_field(x, "Content-Type", &type);
	if (r == 0)
		r = http_field(x, "Content-Encoding", &encoding);
	if (r == 0)
		r = http_retry_after(x, retry_after);
	if (r == 0)
		r = http_field(x, "WWW-Authenticate", &challenge);
	if (r == 0 && !t->reply.foreign)
		r = http_field(x, "Warning", &warning);
	if (r < 0)
		return r;
	if (warning)
		warnings_note(&t->c->warnings, warning);
	a->status = http_status(x);
	a->challenged = challenge && *challenge;
	a->content_length = http_content_length(x);
	a->encoded = encoding && *encoding && strcasecmp(encoding, "identity") != 0;
	if (type)
		take_media_type(type, a->media_type);
	return 0;
}

static int take_answer(struct attempt *t, struct call *call, struct answer *a, int64_t *retry_after,
		       struct err *err)
{
	bool head = strcmp(t->q->method, "HEAD") == 0;
	bool good;
	int r = take_fields(t, a, retry_after);

	if (r < 0)
		return err_set(err, r, "out of memory");
	good = a->status >= 200 && a->status < 300;
	if (!good || head || t->q->body_max) {
		r = transport_body(t->reply.x, good ? t->q->body_max : ERRORS_BODY_MAX,
				   !good || head, call, &a->body, &a->body_len, err);
		t->fault = http_fault(t->reply.x);
		/* Errors are shown to people. */
		if (!good && a->body)
			auth_hide(&t->round, a->body, a->body_len);
		/* Of an error the status is what counts. */
		if (r < 0 && !good && r != -ECANCELED && r != -ENOMEM)
			r = 0;
		return r;
	}
	a->x = t->reply.x;
	t->reply.x = NULL;
	return 0;
}

/* Not so a redirect that is not followed: that was an answer. */
static bool is_kept_out(const struct attempt *t)
{
	bool answered = t->reply.x && http_status(t->reply.x) != 0;

	return t->c->public_only && !atomic_load(&t->c->admitted) &&
	       t->fault == HTTP_FAULT_ADDRESS && !answered && !t->reply.foreign && !t->token_server;
}

int client_kept_out(const char *title, struct err *err)
{
	return err_set(err, -EACCES,
		       "%s: its address is not a public one, and nothing names that host; if it is "
		       "to be reached, log in there or mount with --allow-host %s",
		       title, title);
}

/* Says which request it was; a token server has its own words. */
static int explain(const struct attempt *t, int code, struct err *err)
{
	char where[URL_ORIGIN_MAX] = "";

	if (is_kept_out(t))
		return client_kept_out(t->c->title, err);
	if (t->token_server)
		return err_wrap(err, code, "%s", t->c->title);
	if (t->reply.foreign) {
		url_authority(&t->reply.url, where);
		return err_wrap(err, code, "%s: %s %.*s: from %s", t->c->title, t->q->method,
				(int)strcspn(t->q->target, "?"), t->q->target, where);
	}
	return err_wrap(err, code, "%s: %s %.*s", t->c->title, t->q->method,
			(int)strcspn(t->q->target, "?"), t->q->target);
}

int client_try(struct client *c, const struct question *q, struct call *call, struct answer *ret,
	       struct try_end *end, struct err *err)
{
	char repo[REPOSITORY_MAX], scope[REPOSITORY_MAX + 32];
	struct attempt t = {
	    .c = c, .q = q, .round = {.repo = repo, .scope = scope, .retry_after_ms = -1}};
	int r = client_repository(c, q->repo, repo);

	*end = (struct try_end){.retry_after_ms = -1};
	if (r < 0)
		return err_set(err, r, "%s: %s: too long a name there", c->title, q->repo);
	if (repo[0])
		snprintf(scope, sizeof(scope), "repository:%s:pull", repo);
	else
		snprintf(scope, sizeof(scope), "registry:catalog:*");
	/* Mirrors have headers of their own, in hosts.toml. */
	r = c->mirror || q->anonymous ? 0 : auth_headers(c->auth, &t.headers);
	if (r == 0)
		r = send_logged_in(&t, call, err);
	ret->foreign = t.reply.foreign;
	if (r == 0)
		r = take_answer(&t, call, ret, &end->retry_after_ms, err);
	if (r < 0)
		r = explain(&t, r, err);
	end->token_server = ret->login = t.token_server;
	if (t.token_server)
		end->retry_after_ms = t.round.retry_after_ms;
	end->answered = t.round.sends > 0;
	end->fault = t.fault;
	ret->url = t.reply.url;
	t.reply.url = (struct url){0};
	transport_release(&t.reply);
	url_release(&t.base);
	auth_end(&t.round);
	names_release(&t.headers);
	return r;
}
