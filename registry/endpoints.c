/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/endpoints.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

_Static_assert(ENDPOINTS_MAX <= 32, "a set of endpoints is 32 bits");

static void set_names(struct endpoints *e, const struct source_spec *spec)
{
	const struct endpoint *last = &e->list.v[e->list.n - 1];
	unsigned port = spec->port ? spec->port : spec->https ? 443 : 80;
	struct source_spec bare = *spec;
	char host[URL_ORIGIN_MAX];
	const char *kind;

	client_name(spec, e->title);
	bare.port = 0;
	client_name(&bare, host);
	if (last->url.text ? !last->url.https : !spec->https)
		kind = "http";
	else if (!last->url.text && spec->http)
		kind = "loopback";
	else
		kind = last->skip_verify ? "unverified" : "https";
	snprintf(e->origin, sizeof(e->origin), "%s:%s:%u", kind, host, port);
}

int endpoints_new(const struct endpoints_options *o, struct endpoints **ret, struct err *err)
{
	struct endpoints *e = calloc(1, sizeof(*e));
	struct client_options co = {
	    .spec = o->spec, .auth_file = o->auth_file, .ca_file = o->ca_file, .proxy = o->proxy};
	char host[URL_ORIGIN_MAX];
	int r;

	if (!e)
		return err_set(err, -ENOMEM, "out of memory");
	if (o->tuning)
		co.tuning = *o->tuning;
	client_name(o->spec, host);
	r = endpoint_files_load(o->roots, host, &e->list, err);
	if (r == 0) {
		set_names(e, o->spec);
		e->v = calloc(e->list.n, sizeof(struct client *));
		r = e->v ? 0 : err_set(err, -ENOMEM, "out of memory");
	}
	while (r == 0 && e->n < e->list.n) {
		co.endpoint = &e->list.v[e->n];
		co.mirror = e->n + 1 < e->list.n;
		r = client_new(&co, &e->v[e->n], err);
		if (r == 0)
			e->n++;
	}
	if (r < 0) {
		endpoints_free(e);
		return r;
	}
	*ret = e;
	return 0;
}

void endpoints_free(struct endpoints *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->n; i++)
		client_free(e->v[i]);
	free(e->v);
	endpoint_list_release(&e->list);
	free(e);
}

const struct client *endpoints_origin(const struct endpoints *e)
{
	return e->v[e->n - 1];
}

bool endpoints_is_mirror(const struct endpoints *e, unsigned number)
{
	return number + 1 < e->n;
}

void endpoints_distrust(struct endpoints *e, uint32_t mirrors)
{
	for (unsigned i = 0; endpoints_is_mirror(e, i); i++)
		if (mirrors & 1u << i)
			atomic_store(&e->v[i]->distrust_until_ms,
				     clock_ms() + ENDPOINTS_DISTRUST_MS);
}

static bool is_distrusted(struct client *c)
{
	return clock_ms() < atomic_load(&c->distrust_until_ms);
}

/* ---- asking ---- */

/* The host that got furthest so far: one that answered with a refusal, rather
 * than with "not found", rather than one that failed. */
struct furthest {
	enum { NOBODY, FAILED, LACKED, REFUSED } how;
	int code;
	struct err why;
};

static bool may_ask(const struct endpoints *e, unsigned i, const struct question *q)
{
	struct client *c = e->v[i];

	if (q->skip & 1u << i || (q->need && !(c->endpoint->capabilities & q->need)))
		return false;
	return !endpoints_is_mirror(e, i) || (q->need && !is_distrusted(c));
}

static bool is_good(const struct question *q, const struct answer *a)
{
	return (a->status >= 200 && a->status < 300) || (a->status == 304 && q->if_none_match);
}

static int ask_mirror(struct client *c, const struct question *q, struct call *call,
		      struct answer *ret, struct err *err)
{
	int64_t deadline_ms = call->deadline_ms, now_ms = clock_ms();
	int r;

	if (deadline_ms > now_ms)
		call->deadline_ms = now_ms + (deadline_ms - now_ms) / 2;
	r = client_ask(c, q, call, ret, err);
	call->deadline_ms = deadline_ms;
	return r;
}

static void note(struct furthest *f, const struct question *q, const struct answer *a, int r,
		 const struct err *why)
{
	struct err said = {""};
	int how = r < 0 ? FAILED : a->status == 404 ? LACKED : REFUSED;
	int code = r < 0 ? r : client_refusal(q, a, &said);

	if (how <= (int)f->how)
		return;
	f->how = how;
	f->code = code;
	f->why = r < 0 ? *why : said;
}

/* All of them failed, the origin with r, if it was asked at all. What a mirror
 * does not have may be there all the same. */
static int give_up(const struct endpoints *e, const struct furthest *f, int r,
		   const struct err *why, struct err *err)
{
	if (f->how == NOBODY && r == 0)
		return err_set(err, -EACCES,
			       "%s: no host may be asked for that, says the configuration",
			       e->title);
	if (r == 0)
		return err_set(err, f->code == -ENOENT ? -EHOSTUNREACH : f->code, "%s",
			       f->why.text);
	if (f->how == NOBODY)
		return err_set(err, r, "%s", why->text);
	if (f->how == REFUSED && f->code != -ENOENT)
		r = f->code;
	return err_set(err, r, "%s; and %s", why->text, f->why.text);
}

int endpoints_ask(struct endpoints *e, const struct question *q, struct call *call,
		  struct answer *ret, struct err *err)
{
	struct furthest f = {.how = NOBODY};
	struct err why = {""};
	int r = 0;

	*ret = (struct answer){.from = endpoints_origin(e), .number = (unsigned)e->n - 1};
	for (unsigned i = 0; i < e->n; i++) {
		bool mirror = endpoints_is_mirror(e, i);

		if (!may_ask(e, i, q))
			continue;
		r = mirror ? ask_mirror(e->v[i], q, call, ret, &why)
			   : client_ask(e->v[i], q, call, ret, &why);
		ret->number = i;
		if (r == 0 && (!mirror || is_good(q, ret)))
			return 0;
		if (!mirror)
			break;
		if (call_check(call, NULL) < 0)
			return r < 0 ? err_set(err, r, "%s", why.text) : call_check(call, err);
		note(&f, q, ret, r, &why);
		answer_release(ret);
		r = 0;
	}
	ret->number = (unsigned)e->n - 1;
	return give_up(e, &f, r, &why, err);
}

/* ---- health ---- */

int endpoints_down(struct endpoints *e, struct err *err)
{
	for (unsigned i = 0; endpoints_is_mirror(e, i); i++)
		if (!is_distrusted(e->v[i]) && health_down(&e->v[i]->health, NULL) == 0)
			return 0;
	return health_down(&e->v[e->n - 1]->health, err);
}

void endpoints_health(struct endpoints *e, struct source_health *ret)
{
	health_get(&e->v[e->n - 1]->health, ret);
	ret->requests = 0;
	ret->bytes = 0;
	for (size_t i = 0; i < e->n; i++) {
		ret->requests += http_requests(e->v[i]->http);
		ret->bytes += http_bytes(e->v[i]->http);
	}
}
