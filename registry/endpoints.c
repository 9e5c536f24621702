/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/endpoints.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "registry/host_name.h"

_Static_assert(ENDPOINTS_MAX <= 32, "a set of endpoints is 32 bits");

/* host_name_of_origin reads it. */
static void set_names(struct endpoints *e, const struct source_spec *spec)
{
	const struct endpoint_list *l = &e->groups.v[0].list;
	const struct endpoint *last = &l->v[l->n - 1];
	unsigned port = spec->port ? spec->port : spec->https ? 443 : 80;
	struct source_spec bare = *spec;
	char host[URL_ORIGIN_MAX];
	const char *kind;

	host_name_write(spec, e->title);
	bare.port = 0;
	host_name_write(&bare, host);
	if (last->url.text ? !last->url.https : !spec->https)
		kind = "http";
	else if (!last->url.text && spec->http)
		kind = "loopback";
	else
		kind = last->skip_verify || last->insecure ? "unverified" : "https";
	snprintf(e->origin, sizeof(e->origin), "%s:%s:%u", kind, host, port);
}

static int make_set(struct client_options *o, const struct endpoint_list *l,
		    struct endpoint_set *set, struct err *err)
{
	set->v = calloc(l->n, sizeof(struct client *));
	if (!set->v)
		return err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < l->n; i++) {
		int r;

		o->endpoint = &l->v[i];
		o->mirror = i + 1 < l->n;
		r = client_new(o, &set->v[i], err);
		if (r < 0)
			return r;
		set->n++;
	}
	return 0;
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
	host_name_write(o->spec, host);
	if (strcmp(host, "index.docker.io") == 0)
		snprintf(host, sizeof(host), "docker.io");
	r = endpoint_files_load(o->roots, host, &e->groups, err);
	co.helpers = &e->groups.helpers;
	if (r == 0) {
		set_names(e, o->spec);
		co.public_only = o->public_only && !e->groups.named;
		e->near = co.public_only && !host_name_is_public(o->spec->host);
		e->sets = calloc(e->groups.n, sizeof(*e->sets));
		r = e->sets ? 0 : err_set(err, -ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < e->groups.n && r == 0; i++)
		r = make_set(&co, &e->groups.v[i].list, &e->sets[i], err);
	if (r < 0) {
		endpoints_free(e);
		return r;
	}
	e->several = e->groups.n > 1 || e->sets[0].n > 1;
	*ret = e;
	return 0;
}

void endpoints_free(struct endpoints *e)
{
	if (!e)
		return;
	for (size_t i = 0; e->sets && i < e->groups.n; i++) {
		for (size_t j = 0; j < e->sets[i].n; j++)
			client_free(e->sets[i].v[j]);
		free(e->sets[i].v);
	}
	free(e->sets);
	endpoint_groups_release(&e->groups);
	free(e);
}

static struct client *origin(const struct endpoints *e)
{
	return e->sets[0].v[e->sets[0].n - 1];
}

const struct client *endpoints_origin(const struct endpoints *e)
{
	return origin(e);
}

/* The number of the group with the longest path that the repository is below. */
static size_t group_of(const struct endpoints *e, const char *repo)
{
	size_t best = 0, best_len = 0;

	for (size_t i = 1; i < e->groups.n; i++) {
		const char *path = e->groups.v[i].path;
		size_t len = strlen(path);

		if (len > best_len && strncmp(repo, path, len) == 0 &&
		    (repo[len] == '\0' || repo[len] == '/')) {
			best = i;
			best_len = len;
		}
	}
	return best;
}

uint32_t endpoints_mirrors_of(const struct endpoints *e, const char *repo)
{
	const struct endpoint_set *set = &e->sets[group_of(e, repo)];
	uint32_t mirrors = 0;

	for (unsigned i = 0; i < set->n; i++)
		if (set->v[i]->mirror)
			mirrors |= 1u << i;
	return mirrors;
}

void endpoints_distrust(struct endpoints *e, const char *repo, uint32_t mirrors)
{
	const struct endpoint_set *set = &e->sets[group_of(e, repo)];

	for (unsigned i = 0; i < set->n; i++)
		if (set->v[i]->mirror && mirrors & 1u << i)
			atomic_store(&set->v[i]->distrust_until_ms,
				     clock_ms() + ENDPOINTS_DISTRUST_MS);
}

bool endpoints_are_trusted(const struct endpoints *e, const char *repo)
{
	const struct endpoint_set *set = &e->sets[group_of(e, repo)];

	for (size_t i = 0; i < set->n; i++) {
		const struct client *c = set->v[i];

		if (c->endpoint->skip_verify || c->endpoint->insecure ||
		    (c->http_too && !reference_is_loopback(c->host)))
			return false;
	}
	return true;
}

static bool is_distrusted(struct client *c)
{
	return clock_ms() < atomic_load(&c->distrust_until_ms);
}

/* ---- asking ---- */

/* The host that got furthest so far: one that answered with a refusal, rather
 * than with "not found", rather than one that failed. */
enum got { NOBODY, FAILED, LACKED, REFUSED };

struct furthest {
	enum got how;
	int code;
	struct err why;
};

static bool may_ask(struct client *c, unsigned i, const struct question *q)
{
	if (q->skip & 1u << i || (q->need && !(c->endpoint->capabilities & q->need)))
		return false;
	return !c->mirror || (q->need && !is_distrusted(c));
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
	enum got how = r < 0 ? FAILED : a->status == 404 ? LACKED : REFUSED;
	int code = r < 0 ? r : client_refusal(q, a, &said);

	if (how <= f->how)
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
	size_t group = group_of(e, q->repo);
	const struct endpoint_set *set = &e->sets[group];
	struct furthest f = {.how = NOBODY};
	struct err why = {""};
	int r = 0;

	*ret = (struct answer){.from = set->v[set->n - 1], .number = (unsigned)set->n - 1};
	if (e->groups.v[group].blocked)
		return err_set(err, -EACCES, "%s/%s: blocked by %s", e->title, q->repo,
			       e->groups.v[group].blocked);
	/* Nor may a mirror be asked to go there for us. */
	if (e->near && !auth_mentions(origin(e)->auth, e->title))
		return client_kept_out(e->title, err);
	for (unsigned i = 0; i < set->n; i++) {
		struct client *c = set->v[i];

		if (!may_ask(c, i, q))
			continue;
		r = c->mirror ? ask_mirror(c, q, call, ret, &why)
			      : client_ask(c, q, call, ret, &why);
		ret->number = i;
		if (r == 0 && (!c->mirror || is_good(q, ret)))
			return 0;
		if (!c->mirror)
			break;
		if (call_check(call, NULL) < 0)
			return r < 0 ? err_set(err, r, "%s", why.text) : call_check(call, err);
		note(&f, q, ret, r, &why);
		answer_release(ret);
		r = 0;
	}
	ret->from = set->v[set->n - 1];
	ret->number = (unsigned)set->n - 1;
	return give_up(e, &f, r, &why, err);
}

/* ---- health ---- */

int endpoints_down(struct endpoints *e, struct err *err)
{
	for (size_t i = 0; i < e->groups.n; i++)
		for (size_t j = 0; j < e->sets[i].n; j++) {
			struct client *c = e->sets[i].v[j];

			if (c != origin(e) && !is_distrusted(c) &&
			    health_down(&c->health, NULL) == 0)
				return 0;
		}
	return health_down(&origin(e)->health, err);
}

static void health_of(struct client *c, struct source_health *ret)
{
	int64_t left_ms = atomic_load(&c->distrust_until_ms) - clock_ms();

	health_get(&c->health, ret);
	ret->distrusted_ms = left_ms > 0 ? left_ms : 0;
	ret->requests = http_requests(c->http);
	ret->bytes = http_bytes(c->http);
}

void endpoints_health(struct endpoints *e, struct source_health *ret)
{
	struct source_health one;

	health_of(origin(e), ret);
	for (size_t i = 0; i < e->groups.n; i++)
		for (size_t j = 0; j < e->sets[i].n; j++) {
			if (e->sets[i].v[j] == origin(e))
				continue;
			health_of(e->sets[i].v[j], &one);
			ret->requests += one.requests;
			ret->bytes += one.bytes;
		}
}

size_t endpoints_mirrors(struct endpoints *e, struct source_mirror *ret, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < e->groups.n; i++)
		for (size_t j = 0; j < e->sets[i].n; j++) {
			struct client *c = e->sets[i].v[j];

			if (!c->mirror)
				continue;
			if (n < max) {
				snprintf(ret[n].host, sizeof(ret[n].host), "%s", c->title);
				health_of(c, &ret[n].health);
			}
			n++;
		}
	return n;
}

void endpoints_requests(struct endpoints *e, size_t host, struct source_requests *ret)
{
	size_t n = 0;

	if (host == 0)
		http_outcomes(origin(e)->http, ret);
	for (size_t i = 0; i < e->groups.n; i++)
		for (size_t j = 0; j < e->sets[i].n; j++) {
			if (e->sets[i].v[j]->mirror && ++n == host)
				http_outcomes(e->sets[i].v[j]->http, ret);
		}
}

bool endpoints_warning(struct endpoints *e, char ret[SOURCE_WARNING_MAX])
{
	char text[WARNING_TEXT_MAX];

	for (size_t i = 0; i < e->groups.n; i++)
		for (size_t j = 0; j < e->sets[i].n; j++) {
			struct client *c = e->sets[i].v[j];

			if (!warnings_take(&c->warnings, text) && !auth_warning(c->auth, text))
				continue;
			snprintf(ret, SOURCE_WARNING_MAX, "%s: %s", c->title, text);
			return true;
		}
	return false;
}
