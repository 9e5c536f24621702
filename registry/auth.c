/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/auth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "registry/auth_memory.h"
#include "registry/errors.h"
#include "registry/park.h"
#include "registry/retry.h"
#include "registry/token.h"
#include "registry/token_fetch.h"

struct auth {
	struct auth_options o;
	char *host;
	struct credentials *credentials;
	struct token_cache *tokens;
	struct auth_memory memory;
};

int auth_new(const struct auth_options *o, struct auth **ret)
{
	struct auth *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	a->o = *o;
	auth_memory_init(&a->memory);
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
	auth_memory_release(&a->memory);
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
	wipe(&r->password);
}

void auth_hide(const struct auth_round *r, char *body, size_t len)
{
	const char *value = r->header ? strrchr(r->header, ' ') : NULL;

	if (value)
		errors_hide(body, len, value + 1);
	if (r->password)
		errors_hide(body, len, r->password);
}

bool auth_warning(struct auth *a, char ret[WARNING_TEXT_MAX])
{
	return credentials_warning(a->credentials, ret);
}

int auth_headers(struct auth *a, struct names *ret)
{
	return credentials_headers(a->credentials, ret);
}

int auth_login_id(struct auth *a, const char *repo, struct call *call, struct digest *ret,
		  struct err *err)
{
	struct credential c = {0};
	int code = credentials_find(a->credentials, a->o.helpers, a->host, repo, call, &c, err);

	if (code < 0)
		return code;
	*ret = code > 0 ? c.id : (struct digest){0};
	credential_release(&c);
	return 0;
}

bool auth_mentions(struct auth *a, const char *host)
{
	return credentials_mention(a->credentials, host);
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
	wipe(&r->password);
	r->password = strdup(c->secret);
	if (!r->password)
		code = -ENOMEM;
	if (code == 0)
		r->shown = c->id;
	return code;
}

static int use_bearer(struct auth_round *r, const struct credential *c)
{
	r->bearer = true;
	return set_header(r, "Bearer ", c->secret);
}

/* ---- tokens ---- */

/* Of what a question is about, and who asks it: tokens are kept under it. */
static int set_key(struct auth_round *r, const struct challenge *ch, const struct credential *c)
{
	AUTO_FREE char *all = NULL;
	char id[DIGEST_STRING_MAX] = "";
	int n;

	if (digest_is_set(&c->id))
		digest_string(&c->id, id);
	n = asprintf(&all, "%s\n%s\n%s\n%s", ch->realm, ch->service, r->scope, id);
	return n < 0 ? -ENOMEM : digest_of(DIGEST_SHA256, all, (size_t)n, &r->key);
}

/* Both name the same thing: equal up to the last ':', behind which stand the
 * actions. */
static bool same_resource(const char *a, size_t a_len, const char *b)
{
	const char *end_a = memrchr(a, ':', a_len), *end_b = strrchr(b, ':');

	return end_a && end_b && end_a - a == end_b - b && strncmp(a, b, (size_t)(end_a - a)) == 0;
}

/* "repository:…", "repository(plugin):…" or "registry:…". A token for the catalog
 * is asked for alone: some servers refuse all of a question for a part of it. */
static bool same_type(const char *a, const char *b)
{
	size_t n = strcspn(a, "(:");

	return n > 0 && n == strcspn(b, "(:") && strncmp(a, b, n) == 0;
}

static bool is_weak(const struct challenge *ch)
{
	return strcasecmp(ch->error, "insufficient_scope") == 0;
}

/* Adds those scopes of a challenge that are of our type, and not about `own`. */
static int add_scopes(char **all, const char *own, const char *scopes)
{
	for (const char *s = scopes; *s; s += strspn(s, " ")) {
		size_t n = strcspn(s, " ");
		char *more;

		if (same_type(s, own) && !same_resource(s, n, own)) {
			if (asprintf(&more, "%s %.*s", *all, (int)n, s) < 0)
				return -ENOMEM;
			free(*all);
			*all = more;
		}
		s += n;
	}
	return 0;
}

/* What to ask for: our own scope first, since some servers look no further;
 * then the registry's, if it is about something else. What the registry said
 * to a token that was too weak goes alone. */
static int scopes_for(const struct challenge *ch, const struct auth_round *r, char **ret)
{
	bool theirs = is_weak(ch) && same_type(ch->scope, r->scope);

	*ret = strdup(theirs ? ch->scope : r->scope);
	if (!*ret)
		return -ENOMEM;
	return theirs ? 0 : add_scopes(ret, r->scope, ch->scope);
}

struct fetch {
	struct auth *auth;
	struct digest key;
	struct digest server; /* of its realm */
	struct token_question q;
};

/* With the newest identity token there is: some servers take each once only. */
static int fetch_newest(const struct fetch *f, struct call *call, struct token *ret,
			bool *ret_refused, struct err *err)
{
	struct auth_memory *m = &f->auth->memory;
	const struct credential *c = f->q.credential;
	struct token_question q = f->q;
	struct credential newer = {0};
	int code = 0;

	*ret_refused = true;
	if (auth_memory_newer(m, c, &newer)) {
		q.credential = &newer;
		code = token_fetch(&q, call, ret, ret_refused, err);
		credential_release(&newer);
		*ret_refused = code == -EACCES;
		if (*ret_refused)
			auth_memory_renew(m, &c->id, NULL);
	}
	if (*ret_refused)
		code = token_fetch(&f->q, call, ret, ret_refused, err);
	if (code == 0 && c->kind == CREDENTIAL_IDENTITY && ret->refresh)
		auth_memory_renew(m, &c->id, ret->refresh);
	return code;
}

/* A token server that limits requests does so for whoever asks for this; one that is out
 * of order has no token for anybody, and may be well before it thinks. Neither is the
 * registry's: tokens that there are stay good. */
static void hold(struct fetch *f, int code, const struct err *err)
{
	bool busy = code == -EBUSY;
	int64_t most = busy ? RETRY_GATE_MAX_MS : RETRY_GATE_DOWN_MS;
	int64_t ms = *f->q.retry_after_ms;

	if (!busy && code != -EHOSTUNREACH && code != -ETIMEDOUT)
		return;
	if (ms < AUTH_HOLD_MS)
		ms = AUTH_HOLD_MS;
	auth_memory_hold(&f->auth->memory, busy ? &f->key : &f->server, code, ms < most ? ms : most,
			 err->text);
}

static int is_held(struct fetch *f, struct err *err)
{
	int code = auth_memory_is_held(&f->auth->memory, &f->key, err);

	return code ? code : auth_memory_is_held(&f->auth->memory, &f->server, err);
}

/* Of however many ask for one token, it is one who does. */
static int fetch(void *ctx, struct call *call, struct token *ret, struct err *err)
{
	struct fetch *f = ctx;
	struct auth *a = f->auth;
	const struct credential *c = f->q.credential;
	bool refused;
	int code = is_held(f, err);

	if (code < 0)
		return code;
	code = fetch_newest(f, call, ret, &refused, err);
	if (code == 0 && c->kind != CREDENTIAL_NONE)
		auth_memory_accept(&a->memory, &c->id);
	if (refused) {
		auth_memory_refuse(&a->memory, &c->id, err->text);
		credentials_refused(a->credentials, &c->id);
	} else if (code == -EACCES) {
		auth_memory_deny(&a->memory, &f->key, err->text);
	} else if (code < 0) {
		hold(f, code, err);
	}
	return code;
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

/* Under r->key, which is set. */
static int use_token(struct auth *a, const struct url *registry, struct auth_round *r,
		     const struct challenge *ch, enum address_class peer,
		     const struct credential *c, struct call *call, struct err *err)
{
	struct url realm = {0};
	struct fetch f = {.auth = a, .key = r->key};
	int code = judge_realm(registry, ch->realm, &realm, err);

	if (code < 0)
		return code;
	wipe(&r->token);
	wipe(&r->scopes);
	code = digest_of(DIGEST_SHA256, ch->realm, strlen(ch->realm), &f.server);
	if (code == 0)
		code = scopes_for(ch, r, &r->scopes);
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
					      .retry_base_ms = a->o.retry_base_ms,
					      .retry_after_ms = &r->retry_after_ms};
		code =
		    token_cache_get(a->tokens, &r->key, fetch, &f, call, &r->token, &r->fresh, err);
	}
	url_release(&realm);
	r->fetches += r->fresh;
	if (code < 0) {
		r->fresh = false;
		return code;
	}
	code = set_header(r, "Bearer ", r->token);
	return code < 0 ? err_set(err, code, "out of memory") : 0;
}

/* ---- before the first answer ---- */

/* 0 with ret->kind NONE where there is none. */
static int find_credential(struct auth *a, const struct auth_round *r, struct call *call,
			   struct credential *ret, struct err *err)
{
	struct err why = {""};
	int code = credentials_find(a->credentials, a->o.helpers, a->host, r->repo, call, ret, err);

	if (code <= 0)
		return code;
	if (auth_memory_is_refused(&a->memory, &ret->id, &why)) {
		credential_release(ret);
		return err_set(err, -EACCES,
			       "the credentials for %s were refused, log in again: %s", a->host,
			       why.text);
	}
	return 0;
}

static bool is_catalog(const struct auth_round *r)
{
	return r->repo[0] == '\0';
}

static int begin_with(struct auth *a, const struct url *registry, struct auth_round *r,
		      const struct challenge *ch, enum address_class peer,
		      const struct credential *c, struct call *call, struct err *err)
{
	struct err why = {""};

	if (set_key(r, ch, c) < 0)
		return -ENOMEM;
	if (!ch->bearer)
		return c->kind == CREDENTIAL_PASSWORD ? use_basic(r, c) : 0;
	if (c->kind == CREDENTIAL_BEARER)
		return use_bearer(r, c);
	/* There is no token to be had, and it is said why. */
	if (auth_memory_is_denied(&a->memory, &r->key, &why) && why.text[0])
		return 0;
	return use_token(a, registry, r, ch, peer, c, call, err);
}

int auth_begin(struct auth *a, const struct url *registry, struct auth_round *r, struct call *call,
	       struct err *err)
{
	struct credential c = {0};
	struct challenge ch;
	enum address_class peer = auth_memory_recall(&a->memory, is_catalog(r), &ch);
	int code;

	if (!ch.bearer && !ch.basic)
		return 0;
	code = find_credential(a, r, call, &c, err);
	if (code == 0)
		code = begin_with(a, registry, r, &ch, peer, &c, call, err);
	credential_release(&c);
	if (code == -ENOMEM)
		return err_set(err, code, "out of memory");
	if (code == -EACCES || code == 0)
		return 0;
	if (call_check(call, NULL) < 0)
		return code;
	if (code != -EBUSY && ch.bearer)
		auth_memory_forget(&a->memory, &ch);
	/* What was remembered may be true no more. The registry is asked without, and what it
	 * wants now is done in auth_answered, which will say it. */
	return 0;
}

/* ---- answers ---- */

/* Another token would be just as weak. */
static bool is_hopeless(const struct challenge *ch, const struct auth_round *r)
{
	AUTO_FREE char *scopes = NULL;

	if (r->fetches >= AUTH_FETCHES_MAX || r->waited)
		return true;
	return is_weak(ch) && r->fresh &&
	       (scopes_for(ch, r, &scopes) < 0 || strcmp(scopes, r->scopes) == 0);
}

/* The 401 stands, whatever was sent. */
static void blame(struct auth *a, const struct auth_round *r)
{
	if (r->token && r->fresh) {
		auth_memory_deny(&a->memory, &r->key, "");
	} else if (digest_is_set(&r->shown) && !auth_memory_is_denied(&a->memory, &r->key, NULL)) {
		if (!auth_memory_strike(&a->memory, &r->shown)) {
			auth_memory_deny(&a->memory, &r->key, "");
			return;
		}
		auth_memory_refuse(&a->memory, &r->shown, "the registry said 401 to them");
		credentials_refused(a->credentials, &r->shown);
	}
}

static int answer_bearer(struct auth *a, const struct url *registry, struct auth_round *r,
			 const struct challenge *ch, enum address_class peer,
			 const struct credential *c, struct call *call, struct err *err)
{
	struct digest old = r->key;
	struct err why = {""};
	int code;

	if (c->kind == CREDENTIAL_BEARER) {
		if (r->bearer)
			return 0;
		code = use_bearer(r, c);
		return code < 0 ? err_set(err, code, "out of memory") : 1;
	}
	if (set_key(r, ch, c) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	/* Another realm or service: what was shown was for the one before. */
	if (r->token && !digest_equal(&old, &r->key))
		r->fresh = false;
	if (r->token && r->fresh && !is_weak(ch) && !r->waited) {
		r->waited = true;
		code = park_sleep(call, clock_ms() + a->o.skew_ms, err);
		return code < 0 ? code : 1;
	}
	if (is_hopeless(ch, r)) {
		blame(a, r);
		return 0;
	}
	if (auth_memory_is_denied(&a->memory, &r->key, &why) && (why.text[0] || r->token))
		return why.text[0] ? err_set(err, -EACCES, "%s", why.text) : 0;
	if (r->token && digest_equal(&old, &r->key))
		token_cache_drop(a->tokens, &old, r->token);
	code = use_token(a, registry, r, ch, peer, c, call, err);
	return code < 0 ? code : 1;
}

static int answer_basic(struct auth *a, struct auth_round *r, const struct challenge *ch,
			const struct credential *c, struct err *err)
{
	int code;

	if (c->kind != CREDENTIAL_PASSWORD)
		return 0;
	if (digest_equal(&r->shown, &c->id)) {
		blame(a, r);
		return 0;
	}
	code = set_key(r, ch, c);
	if (code == 0)
		code = use_basic(r, c);
	return code < 0 ? err_set(err, code, "out of memory") : 1;
}

static int answer(struct auth *a, const struct url *registry, struct auth_round *r,
		  const struct challenge *ch, enum address_class peer, const struct credential *c,
		  struct call *call, struct err *err)
{
	if (ch->bearer)
		return answer_bearer(a, registry, r, ch, peer, c, call, err);
	return ch->basic ? answer_basic(a, r, ch, c, err) : 0;
}

/* What the registry wants. One that shows Basic to a token that it does not like
 * (Harbor) still wants a token: the password is not for it. For its catalog it does
 * want the password. */
static enum address_class learn(struct auth *a, const struct url *registry,
				const struct auth_round *r, const char *challenge,
				enum address_class peer, struct challenge *ret)
{
	bool catalog = is_catalog(r);
	struct url realm = {0};

	*ret = (struct challenge){0};
	if (challenge)
		challenge_parse(challenge, strlen(challenge), ret);
	/* A token server that must not be asked gives way to a password. */
	if (ret->bearer && ret->basic && judge_realm(registry, ret->realm, &realm, NULL) == -EACCES)
		ret->bearer = false;
	url_release(&realm);
	if ((!ret->bearer && !ret->basic) || (!ret->bearer && r->token && !catalog))
		return auth_memory_recall(&a->memory, catalog, ret);
	auth_memory_learn(&a->memory, catalog, ret, peer);
	return peer;
}

/* Whether a helper, or a file, has another login by now than the one in *c, which was just
 * turned down: passwords that helpers hand out expire (ECR's after 12 hours). It takes its
 * place. */
static bool has_another(struct auth *a, struct auth_round *r, struct call *call,
			struct credential *c)
{
	struct credential newer = {0};

	if (r->renewed || !digest_equal(&r->shown, &c->id))
		return false;
	r->renewed = true;
	credentials_refused(a->credentials, &c->id);
	if (find_credential(a, r, call, &newer, NULL) < 0 || newer.kind != CREDENTIAL_PASSWORD ||
	    digest_equal(&newer.id, &c->id)) {
		credential_release(&newer);
		return false;
	}
	credential_release(c);
	*c = newer;
	return true;
}

static int unauthorized(struct auth *a, const struct url *registry, struct auth_round *r,
			const struct challenge *ch, enum address_class peer, struct call *call,
			struct err *err)
{
	struct credential c = {0};
	int code;

	if (r->sends >= AUTH_SENDS_MAX) {
		blame(a, r);
		return 0;
	}
	code = find_credential(a, r, call, &c, err);
	if (code < 0)
		return code;
	if (!ch->bearer)
		(void)has_another(a, r, call, &c);
	code = answer(a, registry, r, ch, peer, &c, call, err);
	/* Refused just now: its helper, or the file, may have another one already. */
	if (code <= 0 && !r->renewed && c.kind != CREDENTIAL_NONE &&
	    auth_memory_is_refused(&a->memory, &c.id, NULL)) {
		r->renewed = true;
		credential_release(&c);
		if (find_credential(a, r, call, &c, NULL) == 0)
			code = answer(a, registry, r, ch, peer, &c, call, err);
	}
	credential_release(&c);
	return code;
}

/* 403 to a password: perhaps it has expired, and its helper has another. */
static int forbidden_basic(struct auth *a, struct auth_round *r, struct call *call, struct err *err)
{
	struct credential c = {0};
	int code = 0;

	if (r->sends >= AUTH_SENDS_MAX || find_credential(a, r, call, &c, NULL) < 0)
		return 0;
	if (c.kind == CREDENTIAL_PASSWORD && has_another(a, r, call, &c)) {
		code = use_basic(r, &c);
		code = code < 0 ? err_set(err, code, "out of memory") : 1;
	}
	credential_release(&c);
	return code;
}

/* A token that was good may be one whose rights were taken away, or that were given
 * since: one new token will tell. */
static int forbidden(struct auth *a, const struct url *registry, struct auth_round *r,
		     struct call *call, struct err *err)
{
	struct credential c = {0};
	struct challenge ch;
	enum address_class peer = auth_memory_recall(&a->memory, is_catalog(r), &ch);
	int code;

	if (!r->token)
		return digest_is_set(&r->shown) ? forbidden_basic(a, r, call, err) : 0;
	if (auth_memory_is_denied(&a->memory, &r->key, NULL))
		return 0;
	if (r->fresh || r->sends >= AUTH_SENDS_MAX || !ch.bearer) {
		auth_memory_deny(&a->memory, &r->key, "");
		return 0;
	}
	code = find_credential(a, r, call, &c, err);
	if (code == 0) {
		token_cache_drop(a->tokens, &r->key, r->token);
		code = set_key(r, &ch, &c);
	}
	if (code == 0 && c.kind == CREDENTIAL_BEARER)
		code = use_bearer(r, &c);
	else if (code == 0)
		code = use_token(a, registry, r, &ch, peer, &c, call, err);
	credential_release(&c);
	if (code == -EACCES)
		return 0; /* the 403 says more */
	if (code == -ENOMEM)
		return err_set(err, code, "out of memory");
	return code < 0 ? code : 1;
}

int auth_answered(struct auth *a, const struct url *registry, struct auth_round *r, int status,
		  const char *challenge, enum address_class peer, struct call *call,
		  struct err *err)
{
	struct challenge ch;
	bool asks;

	if (status < 400 && digest_is_set(&r->shown))
		auth_memory_accept(&a->memory, &r->shown);
	if (status != 401 && status != 403)
		return 0;
	r->sends++;
	/* A 401 that asks for nothing is no word about a password (Harbor 2.7 says it of
	 * its referrers to everybody), and no more about a token than a 403 is. */
	asks = challenge && *challenge;
	if (status == 403 || (!asks && r->token))
		return forbidden(a, registry, r, call, err);
	if (!asks && digest_is_set(&r->shown))
		return 0;
	peer = learn(a, registry, r, challenge, peer, &ch);
	return unauthorized(a, registry, r, &ch, peer, call, err);
}
