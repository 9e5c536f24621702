/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/auth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/lock.h"
#include "registry/challenge.h"
#include "registry/park.h"
#include "registry/token.h"
#include "registry/token_fetch.h"

#define REFUSED_COUNT 8

struct refusal {
	struct digest id;
	int64_t until_ms;
};

struct auth {
	struct auth_options o;
	char *host;
	struct credentials *credentials;
	struct token_cache *tokens;

	struct lock lock;
	/* guarded by lock: the registry's last challenge */
	struct challenge last;
	enum address_class last_peer;
	struct refusal refused[REFUSED_COUNT];
	unsigned refused_next;
};

int auth_new(const struct auth_options *o, struct auth **ret)
{
	struct auth *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	a->o = *o;
	lock_init(&a->lock);
	a->host = strdup(o->host);
	r = a->host ? credentials_open(o->auth_file, &a->credentials) : -ENOMEM;
	if (r == 0)
		r = token_cache_new(&a->tokens);
	if (r < 0) {
		auth_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

void auth_free(struct auth *a)
{
	if (!a)
		return;
	credentials_free(a->credentials);
	token_cache_free(a->tokens);
	lock_release(&a->lock);
	free(a->host);
	free(a);
}

static void wipe(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	free(*s);
	*s = NULL;
}

void auth_end(struct auth_round *r)
{
	wipe(&r->header);
	wipe(&r->token);
	wipe(&r->scopes);
}

/* ---- what is remembered ---- */

static void remember(struct auth *a, const struct challenge *ch, enum address_class peer)
{
	lock_take(&a->lock);
	a->last = *ch;
	a->last_peer = peer;
	lock_drop(&a->lock);
}

static enum address_class recall(struct auth *a, struct challenge *ch)
{
	enum address_class peer;

	lock_take(&a->lock);
	*ch = a->last;
	peer = a->last_peer;
	lock_drop(&a->lock);
	ch->scope[0] = '\0'; /* that was another question's */
	ch->error[0] = '\0';
	return peer;
}

static void note_refused(struct auth *a, const struct credential *c)
{
	lock_take(&a->lock);
	a->refused[a->refused_next++ % REFUSED_COUNT] =
	    (struct refusal){.id = c->id, .until_ms = clock_ms() + AUTH_REFUSED_MS};
	lock_drop(&a->lock);
}

static bool was_refused(struct auth *a, const struct credential *c)
{
	bool found = false;

	lock_take(&a->lock);
	for (size_t i = 0; i < REFUSED_COUNT; i++)
		found |=
		    a->refused[i].until_ms > clock_ms() && digest_equal(&a->refused[i].id, &c->id);
	lock_drop(&a->lock);
	return found;
}

/* ---- headers ---- */

static int set_header(struct auth_round *r, const char *scheme, const char *value)
{
	wipe(&r->header);
	if (asprintf(&r->header, "Authorization: %s%s", scheme, value) < 0) {
		r->header = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int use_basic(struct auth_round *r, const struct credential *c)
{
	char *value = NULL;
	int code = credential_basic(c, &value);

	if (code == 0)
		code = set_header(r, "", value);
	wipe(&value);
	r->basic = code == 0;
	return code;
}

static int use_bearer(struct auth_round *r, const struct credential *c)
{
	r->bearer = true;
	return set_header(r, "Bearer ", c->secret);
}

/* ---- tokens ---- */

struct fetch {
	struct auth *auth;
	struct token_question q;
};

static int fetch(void *ctx, struct call *call, struct token *ret, struct err *err)
{
	struct fetch *f = ctx;
	bool refused;
	int code = token_fetch(&f->q, call, ret, &refused, err);

	if (refused)
		note_refused(f->auth, f->q.credential);
	return code;
}

static int token_key(const struct challenge *ch, const struct auth_round *r,
		     const struct credential *c, struct digest *ret)
{
	AUTO_FREE char *all = NULL;
	char id[DIGEST_STRING_MAX] = "";
	int n;

	if (digest_is_set(&c->id))
		digest_string(&c->id, id);
	n = asprintf(&all, "%s\n%s\n%s\n%s", ch->realm, ch->service, r->scope, id);
	return n < 0 ? -ENOMEM : digest_of(DIGEST_SHA256, all, (size_t)n, ret);
}

/* Both name the same thing: equal up to the last ':', behind which stand the
 * actions. */
static bool same_resource(const char *a, const char *b)
{
	const char *end_a = strrchr(a, ':'), *end_b = strrchr(b, ':');

	return end_a && end_b && end_a - a == end_b - b && strncmp(a, b, (size_t)(end_a - a)) == 0;
}

static bool is_weak(const struct challenge *ch)
{
	return strcasecmp(ch->error, "insufficient_scope") == 0;
}

/* What to ask for: our own scope first, since some servers look no further;
 * then the registry's, if it is about something else. What the registry said
 * to a token that was too weak goes alone. */
static int scopes_for(const struct challenge *ch, const struct auth_round *r, char **ret)
{
	bool theirs = ch->scope[0] && !same_resource(ch->scope, r->scope);
	int n;

	if (is_weak(ch) && ch->scope[0])
		n = asprintf(ret, "%s", ch->scope);
	else
		n = asprintf(ret, "%s%s%s", r->scope, theirs ? " " : "", theirs ? ch->scope : "");
	return n < 0 ? -ENOMEM : 0;
}

static int judge_realm(const struct url *registry, const char *realm, struct url *ret,
		       struct err *err)
{
	int code = url_resolve(registry, realm, ret);

	if (code == -EINVAL)
		return err_set(err, -EACCES, "its token server's address is no http or https URL");
	if (code < 0)
		return err_set(err, code, "out of memory");
	if (registry->https && !ret->https) {
		code = err_set(err, -EACCES, "token server %s must not be asked without TLS",
			       ret->host);
		url_release(ret);
	}
	return code;
}

static int use_token(struct auth *a, const struct url *registry, struct auth_round *r,
		     const struct challenge *ch, enum address_class peer,
		     const struct credential *c, struct call *call, struct err *err)
{
	struct url realm = {0};
	struct fetch f = {.auth = a};
	int code = judge_realm(registry, ch->realm, &realm, err);

	if (code < 0)
		return code;
	wipe(&r->token);
	wipe(&r->scopes);
	code = scopes_for(ch, r, &r->scopes);
	if (code == 0)
		code = token_key(ch, r, c, &r->key);
	if (code < 0) {
		err_set(err, code, "out of memory");
	} else {
		f.q = (struct token_question){.http = a->o.http,
					      .realm = &realm,
					      .allowed = url_same_origin(&realm, registry)
							     ? ADDRESS_ANY
							     : address_reachable_from(peer),
					      .service = ch->service,
					      .scopes = r->scopes,
					      .credential = c,
					      .retry_base_ms = a->o.retry_base_ms};
		code =
		    token_cache_get(a->tokens, &r->key, fetch, &f, call, &r->token, &r->fresh, err);
	}
	url_release(&realm);
	r->fetches += r->fresh;
	if (code < 0)
		return code;
	code = set_header(r, "Bearer ", r->token);
	return code < 0 ? err_set(err, code, "out of memory") : 0;
}

/* ---- a question's rounds ---- */

static int find_credential(struct auth *a, const struct auth_round *r, struct credential *ret,
			   struct err *err)
{
	int code = credentials_find(a->credentials, a->host, r->repo, ret, err);

	if (code <= 0)
		return code;
	if (was_refused(a, ret)) {
		credential_release(ret);
		return err_set(err, -EACCES, "the credentials for %s were refused", a->host);
	}
	return 0;
}

int auth_begin(struct auth *a, const struct url *registry, struct auth_round *r, struct call *call,
	       struct err *err)
{
	struct credential c = {0};
	struct challenge ch;
	enum address_class peer = recall(a, &ch);
	int code = 0;

	if (!ch.bearer && !ch.basic)
		return 0;
	if (find_credential(a, r, &c, NULL) < 0)
		return 0; /* auth_refused will say it */
	if (ch.bearer && c.kind == CREDENTIAL_BEARER)
		code = use_bearer(r, &c);
	else if (ch.bearer)
		code = use_token(a, registry, r, &ch, peer, &c, call, err);
	else if (c.kind == CREDENTIAL_PASSWORD)
		code = use_basic(r, &c);
	credential_release(&c);
	if (code == -ENOMEM)
		return err_set(err, code, "out of memory");
	return code == -EACCES ? 0 : code;
}

/* Another token would be just as weak. */
static bool is_hopeless(const struct challenge *ch, const struct auth_round *r)
{
	AUTO_FREE char *scopes = NULL;

	if (r->fetches >= AUTH_FETCHES_MAX || r->waited)
		return true;
	return is_weak(ch) && r->fresh &&
	       (scopes_for(ch, r, &scopes) < 0 || strcmp(scopes, r->scopes) == 0);
}

static int answer_bearer(struct auth *a, const struct url *registry, struct auth_round *r,
			 const struct challenge *ch, enum address_class peer,
			 const struct credential *c, struct call *call, struct err *err)
{
	int code;

	if (c->kind == CREDENTIAL_BEARER) {
		if (r->bearer)
			return 0;
		code = use_bearer(r, c);
		return code < 0 ? err_set(err, code, "out of memory") : 1;
	}
	if (r->token && r->fresh && !is_weak(ch) && !r->waited) {
		r->waited = true;
		code = park_sleep(call, clock_ms() + a->o.skew_ms, err);
		return code < 0 ? code : 1;
	}
	if (r->token)
		token_cache_drop(a->tokens, &r->key, r->token);
	if (is_hopeless(ch, r))
		return 0;
	code = use_token(a, registry, r, ch, peer, c, call, err);
	return code < 0 ? code : 1;
}

static int answer_basic(struct auth *a, struct auth_round *r, const struct credential *c,
			struct err *err)
{
	int code;

	if (c->kind != CREDENTIAL_PASSWORD)
		return 0;
	if (r->basic) {
		note_refused(a, c);
		return 0;
	}
	code = use_basic(r, c);
	return code < 0 ? err_set(err, code, "out of memory") : 1;
}

int auth_refused(struct auth *a, const struct url *registry, struct auth_round *r,
		 const char *challenge, enum address_class peer, struct call *call, struct err *err)
{
	struct credential c = {0};
	struct challenge ch = {0};
	int code;

	r->sends++;
	if (challenge)
		challenge_parse(challenge, strlen(challenge), &ch);
	if (ch.bearer || ch.basic)
		remember(a, &ch, peer);
	else
		peer = recall(a, &ch);
	if (r->sends >= AUTH_SENDS_MAX) {
		if (r->token)
			token_cache_drop(a->tokens, &r->key, r->token);
		return 0;
	}
	code = find_credential(a, r, &c, err);
	if (code < 0)
		return code;
	if (ch.bearer)
		code = answer_bearer(a, registry, r, &ch, peer, &c, call, err);
	else if (ch.basic && (challenge || !r->basic)) /* without one it is no word about us */
		code = answer_basic(a, r, &c, err);
	credential_release(&c);
	return code;
}
