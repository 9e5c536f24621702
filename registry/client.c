/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "registry/client_impl.h"
#include "registry/endpoint_files.h"
#include "registry/host_name.h"
#include "registry/retry.h"

#define HUB      "docker.io"
#define HUB_HOST "registry-1.docker.io"
#define PROBE_MS 500

static bool is_hub(const char *host)
{
	return strcmp(host, HUB) == 0 || strcmp(host, "index.docker.io") == 0;
}

/* The registry itself, where its name says. */
static void set_own_address(struct client *c, const struct source_spec *spec)
{
	snprintf(c->host, sizeof(c->host), "%s", is_hub(spec->host) ? HUB_HOST : spec->host);
	c->port = spec->port;
	c->https = spec->https;
	c->http_too = spec->http;
	c->api = "/v2";
	host_name_write(spec, c->title);
}

/* Whom a mirror is asked for, as containerd says it ("ns=ghcr.io"). */
static void set_namespace(struct client *c, const struct source_spec *spec)
{
	static const char hex[] = "0123456789ABCDEF";
	unsigned port = spec->port ? spec->port : c->https ? 443 : 80;
	char text[URL_ORIGIN_MAX];
	char *out = c->ns;

	if (strcmp(c->host, spec->host) == 0 && c->port == port)
		return;
	if (is_hub(spec->host) && strcmp(c->host, HUB_HOST) == 0)
		return;
	if (is_hub(spec->host))
		snprintf(text, sizeof(text), "%s", HUB);
	else
		host_name_write(spec, text);
	out += sprintf(out, "ns=");
	for (const char *s = text; *s; s++) {
		if (strchr("-._~", *s) || (*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'z')) {
			*out++ = *s;
			continue;
		}
		*out++ = '%';
		*out++ = hex[(unsigned char)*s >> 4];
		*out++ = hex[(unsigned char)*s & 15];
	}
	*out = '\0';
}

static void set_address(struct client *c, const struct source_spec *spec)
{
	const struct endpoint *e = c->endpoint;

	if (e->url.text) {
		/* Written as the Hub's name it means the Hub's API all the same. */
		snprintf(c->host, sizeof(c->host), "%s",
			 is_hub(e->url.host) ? HUB_HOST : e->url.host);
		c->port = e->own_port ? 0 : e->url.port;
		c->https = e->url.https;
		c->http_too = !e->url.https || e->insecure;
		c->api = e->api;
		url_authority(&e->url, c->title);
		if (e->by_namespace)
			set_namespace(c, spec);
	} else {
		set_own_address(c, spec);
		c->http_too |= e->insecure;
	}
	atomic_init(&c->scheme, !c->http_too ? CLIENT_HTTPS
				: !c->https  ? CLIENT_HTTP
					     : CLIENT_SCHEME_UNKNOWN);
}

static void set_tuning(struct client *c, const struct client_tuning *t)
{
	c->tuning = *t;
	if (!c->tuning.retry_base_ms)
		c->tuning.retry_base_ms = RETRY_BASE_MS;
	if (!c->tuning.down_ms)
		c->tuning.down_ms = c->mirror ? CLIENT_MIRROR_DOWN_MS : SOURCE_DOWN_MS;
	if (!c->tuning.skew_ms)
		c->tuning.skew_ms = AUTH_SKEW_MS;
	if (!c->tuning.probe_ms)
		c->tuning.probe_ms = PROBE_MS;
}

static int set_http(struct client *c, const struct client_options *o, struct err *err)
{
	const struct endpoint *e = o->endpoint;
	struct http_options ho = {.ca_file = o->ca_file,
				  .unverified = e->skip_verify || e->insecure,
				  .home = {.host = c->host,
					   .port = c->port,
					   .https = c->https,
					   .http = c->http_too,
					   .headers = &e->headers},
				  .proxy = o->proxy,
				  .allowed = c->public_only ? ADDRESS_PUBLIC : 0,
				  .tuning = c->tuning.http};
	int r = 0;

	if (e->ca.n > 0)
		r = endpoint_pem(e, o->ca_file, &c->pem, err);
	if (r < 0)
		return r;
	ho.ca_pem = c->pem;
	if (e->pair_count > 0) {
		ho.home.cert = e->pairs[0].cert;
		ho.home.key = e->pairs[0].key;
	}
	r = http_new(&ho, &c->http);
	return r < 0 ? err_set(err, r, "out of memory") : 0;
}

static int set_auth(struct client *c, const struct client_options *o, struct err *err)
{
	struct auth_options ao = {.http = c->http,
				  .host = c->title,
				  .auth_file = o->auth_file,
				  .helpers = o->helpers,
				  .retry_base_ms = c->tuning.retry_base_ms,
				  .skew_ms = c->tuning.skew_ms};
	int r = auth_new(&ao, &c->auth);

	return r < 0 ? err_set(err, r, "out of memory") : 0;
}

int client_new(const struct client_options *o, struct client **ret, struct err *err)
{
	struct client *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_set(err, -ENOMEM, "out of memory");
	c->endpoint = o->endpoint;
	c->mirror = o->mirror;
	set_tuning(c, &o->tuning);
	health_init(&c->health, c->tuning.down_ms);
	warnings_init(&c->warnings);
	set_address(c, o->spec);
	c->public_only = o->public_only && !c->endpoint->url.text;
	r = set_http(c, o, err);
	if (r == 0)
		r = set_auth(c, o, err);
	if (r < 0) {
		client_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void client_free(struct client *c)
{
	if (!c)
		return;
	auth_free(c->auth);
	http_free(c->http);
	health_release(&c->health);
	warnings_release(&c->warnings);
	free(c->pem);
	free(c);
}

void answer_release(struct answer *a)
{
	const struct client *from = a->from;
	unsigned number = a->number;

	http_end(a->x);
	url_release(&a->url);
	free(a->body);
	free(a->digest);
	free(a->content_range);
	free(a->link);
	free(a->etag);
	*a = (struct answer){.from = from, .number = number};
}

/* How one try ended. */
struct outcome {
	int code;
	struct err why;
	bool retry;      /* another try may end better */
	bool blame;      /* the host is not well */
	bool words;      /* it said so itself, and did not merely fall silent */
	unsigned tries;  /* how many are worth it */
	bool no_token;   /* the host is well, but its token server is not */
	int64_t gate_ms; /* not 0: for how long it must not be asked */
};

static void judge_fault(enum http_fault fault, bool foreign, struct outcome *o)
{
	o->tries = RETRY_ATTEMPTS;
	o->blame = !foreign;
	switch (fault) {
	case HTTP_FAULT_RESOLVE:
	case HTTP_FAULT_CONNECT:
		o->retry = o->words = true;
		o->tries = RETRY_CONNECT_ATTEMPTS;
		break;
	case HTTP_FAULT_TLS:
	case HTTP_FAULT_CUT:
		o->retry = o->words = true;
		break;
	case HTTP_FAULT_CONNECT_SLOW:
	case HTTP_FAULT_TLS_SLOW:
	case HTTP_FAULT_SILENT:
		o->retry = true;
		break;
	case HTTP_FAULT_CERTIFICATE:
	case HTTP_FAULT_PROXY:
		o->words = true;
		break;
	case HTTP_FAULT_NONE:
	case HTTP_FAULT_CALL:
	case HTTP_FAULT_ADDRESS:
	case HTTP_FAULT_SLOW:
	case HTTP_FAULT_PROTOCOL:
	case HTTP_FAULT_LOCAL:
		o->blame = false;
		break;
	}
}

/* The registry is not to blame: auth_memory.h keeps from the token server whoever needs a
 * token, and who has one goes on. */
static void judge_token_server(const struct try_end *end, struct outcome *o)
{
	o->words = o->code != -ETIMEDOUT;
	o->no_token = end->answered && (o->code == -EHOSTUNREACH || o->code == -ETIMEDOUT);
}

/* Statuses with which storage says that a signed URL is no longer good. */
static bool is_stale_url(const struct question *q, const struct answer *a)
{
	return a->foreign && strcmp(q->method, "GET") == 0 &&
	       (a->status == 400 || a->status == 401 || a->status == 403 || a->status == 404 ||
		a->status == 410 || a->status == 416);
}

static void judge_status(const struct question *q, const struct answer *a, struct outcome *o)
{
	*o = (struct outcome){.tries = RETRY_ATTEMPTS};
	if (!retry_status(a->status) || (a->status == 500 && q->plain_500))
		return;
	o->retry = o->words = true;
	o->blame = !a->foreign;
	o->code = client_refusal(q, a, &o->why);
}

/* A host that has asked us to wait is not asked before. */
static int wait_held(struct client *c, struct call *call, struct err *err)
{
	int64_t until_ms = health_held_until(&c->health);

	if (until_ms <= clock_ms())
		return 0;
	if (until_ms >= call->deadline_ms)
		return err_set(err, -EBUSY, "%s: asked us to wait for longer than we may",
			       c->title);
	return park_sleep(call, until_ms, err);
}

/* Before try number `attempt` + 1. 0, or -errno if there is to be none. */
static int wait_retry(struct client *c, unsigned attempt, const struct answer *a,
		      int64_t retry_after_ms, struct call *call)
{
	int64_t wait_ms = retry_backoff_ms(attempt, c->tuning.retry_base_ms);

	if (retry_after_ms > wait_ms)
		wait_ms = retry_after_ms;
	if (wait_ms > RETRY_AFTER_MAX_MS || wait_ms >= call->deadline_ms - clock_ms())
		return -ETIMEDOUT;
	if (a->status == 429 && !a->foreign)
		health_hold(&c->health, clock_ms() + wait_ms);
	return park_sleep(call, clock_ms() + wait_ms, NULL);
}

/* For how long a host must not be asked that says when to come again, and later than
 * this question can wait. 0: it says nothing of the kind. */
static int64_t gate_ms(const struct client *c, const struct answer *a, const struct try_end *end)
{
	bool asked = !a->foreign && (a->status == 429 || a->status == 503);
	int64_t ms = end->retry_after_ms;

	if (!asked || end->token_server || ms <= c->tuning.down_ms)
		return 0;
	int64_t most = asked && a->status == 503 ? RETRY_GATE_DOWN_MS : RETRY_GATE_MAX_MS;
	return ms < most ? ms : most;
}

/* The tries of one question. On failure *o says how it ended. */
static void ask_until(struct client *c, const struct question *q, bool trial, struct call *call,
		      struct answer *ret, struct outcome *o)
{
	struct outcome last = {0}; /* in which the host said something */
	bool resolved_again = false;

	for (unsigned attempt = 1;; attempt++) {
		struct try_end end;

		*o = (struct outcome){0};
		o->code = wait_held(c, call, &o->why);
		if (o->code < 0) {
			o->blame = o->code == -EBUSY;
			break;
		}
		o->code = client_try(c, q, call, ret, &end, &o->why);
		if (o->code < 0 && end.token_server)
			judge_token_server(&end, o);
		else if (o->code < 0)
			judge_fault(end.fault, ret->foreign, o);
		else
			judge_status(q, ret, o);
		if (o->code == 0 && is_stale_url(q, ret) && !resolved_again) {
			resolved_again = true;
			answer_release(ret);
			continue;
		}
		if (o->code == 0) {
			call_say(call, 0, "");
			return;
		}
		if (o->words) {
			last = *o;
			call_say(call, o->code, o->why.text);
		}
		if (!o->retry || trial || c->mirror || attempt >= o->tries ||
		    wait_retry(c, attempt, ret, end.retry_after_ms, call) < 0) {
			o->gate_ms = gate_ms(c, ret, &end);
			break;
		}
		answer_release(ret);
	}
	/* Silence after a word leaves that word standing. */
	if (o->code == -ETIMEDOUT && last.code < 0)
		*o = last;
}

static void note_answer(struct client *c, const struct question *q, const struct answer *a)
{
	struct err why;

	if (a->foreign || (a->status != 401 && a->status != 403)) {
		health_good(&c->health);
		return;
	}
	(void)client_refusal(q, a, &why);
	health_refused(&c->health, why.text);
}

int client_ask(struct client *c, const struct question *q, struct call *call, struct answer *ret,
	       struct err *err)
{
	struct outcome o = {0};
	bool trial = false;
	int r;

	*ret = (struct answer){.from = c};
	r = call_check(call, err);
	if (r == 0)
		r = health_enter(&c->health, &trial, err);
	if (r < 0)
		return r;
	ask_until(c, q, trial, call, ret, &o);
	if (call_check(call, NULL) == -ECANCELED && o.code < 0) {
		o.code = err_set(&o.why, -ECANCELED, "given up");
		o.blame = o.no_token = false;
	}
	if (q->in_passing && o.code == -ETIMEDOUT)
		o.blame = o.no_token = false;
	if (o.code == 0)
		note_answer(c, q, ret);
	else if (o.blame && o.gate_ms > 0)
		health_gate(&c->health, o.code, o.why.text, clock_ms() + o.gate_ms);
	else if (o.blame)
		health_failed(&c->health, o.code, o.why.text);
	else if (o.no_token)
		health_no_token(&c->health, o.code, o.why.text);
	else
		health_leave(&c->health, trial);
	return o.code < 0 ? err_set(err, o.code, "%s", o.why.text) : 0;
}

int client_refusal(const struct question *q, const struct answer *a, struct err *err)
{
	char where[URL_ORIGIN_MAX];
	struct registry_error said;

	errors_parse(a->body ? a->body : "", a->body_len, &said);
	url_authority(&a->url, where);
	/* It has moved, and its login is for the place where it was. */
	bool moved = a->foreign && (a->status == 401 || a->status == 403) &&
		     strncmp(a->url.target, "/v2/", 4) == 0;
	return err_set(
	    err, errors_errno(a->status, said.code, a->foreign), "%s: %s %.*s: %d%s%s%s%s%s%s%s%s",
	    a->foreign ? where : a->from->title, q->method, url_path_len(&a->url), a->url.target,
	    a->status, said.code[0] ? " " : "", said.code, said.message[0] ? ": " : "",
	    said.message, moved ? "; " : "", moved ? a->from->title : "",
	    moved ? " sends us there, where its login is not shown: mount that registry by its own "
		    "name, "
		  : "",
	    moved ? where : "");
}

/* What is behind a path in a name or target: NULL if it is not below it. */
static const char *below(const char *s, const char *path)
{
	size_t n = strlen(path);

	if (n == 0)
		return s;
	if (strncmp(s, path, n) != 0)
		return NULL;
	return s[n] == '/' ? s + n + 1 : s[n] == '\0' ? s + n : NULL;
}

int client_repository(const struct client *c, const char *repo, char ret[REPOSITORY_MAX])
{
	const struct endpoint *e = c->endpoint;
	const char *base = e->repo_base ? e->repo_base : "";
	const char *rest = *repo ? below(repo, e->repo_prefix ? e->repo_prefix : "") : NULL;
	int n;

	if (!rest)
		n = snprintf(ret, REPOSITORY_MAX, "%s", repo);
	else
		n = snprintf(ret, REPOSITORY_MAX, "%s%s%s", base, *base && *rest ? "/" : "", rest);
	return n >= REPOSITORY_MAX ? -ENAMETOOLONG : 0;
}

char *client_target(const struct client *c, const struct url *u)
{
	const struct endpoint *e = c->endpoint;
	const char *prefix = e->repo_prefix ? e->repo_prefix : "";
	const char *rest = below(u->target, c->api);
	const char *repo;
	char *target;

	if (!rest)
		return strdup(u->target);
	rest += *rest == '/';
	repo = below(rest, e->repo_base ? e->repo_base : "");
	if (!repo || *rest == '_' || !e->repo_prefix)
		return asprintf(&target, "/v2/%s", rest) < 0 ? NULL : target;
	return asprintf(&target, "/v2/%s%s%s", prefix, *prefix ? "/" : "", repo) < 0 ? NULL
										     : target;
}
