/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/token.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "registry/json_util.h"
#include "registry/park.h"

void token_release(struct token *t)
{
	if (t->text)
		explicit_bzero(t->text, strlen(t->text));
	if (t->refresh)
		explicit_bzero(t->refresh, strlen(t->refresh));
	free(t->text);
	free(t->refresh);
	*t = (struct token){0};
}

/* What may stand in a header field without changing it. */
static bool is_sendable(const char *s)
{
	size_t n = 0;

	for (; s[n]; n++)
		if ((unsigned char)s[n] < 0x21 || (unsigned char)s[n] > 0x7e || n >= TOKEN_MAX)
			return false;
	return n > 0;
}

/* As a number of any form, or as text; the clock of the server (issued_at) is
 * not ours, and is not looked at. */
static int64_t life_of(const json_t *expires_in)
{
	double s = json_number_value(expires_in);

	if (json_is_string(expires_in))
		s = strtod(json_string_value(expires_in), NULL);
	if (!(s > TOKEN_LIFE_MIN_S))
		return (int64_t)TOKEN_LIFE_MIN_S * 1000;
	if (s > TOKEN_LIFE_MAX_S)
		return (int64_t)TOKEN_LIFE_MAX_S * 1000;
	return (int64_t)s * 1000;
}

int token_parse(const char *body, size_t len, struct token *ret, struct err *err)
{
	AUTO_JSON json_t *root = NULL;
	const char *s, *next;
	size_t n;
	char *text;
	/* Not in jansson's words: they quote what they do not like. */
	int r = json_util_parse(body, len, "", &root, NULL);

	if (r < 0)
		return err_set(err, r, "its answer is not a JSON object");
	s = json_string_value(json_object_get(root, "access_token"));
	if (!s || !*s)
		s = json_string_value(json_object_get(root, "token"));
	n = s ? strlen(s) : 0;
	while (n > 0 && strchr("\r\n", s[n - 1]))
		n--;
	text = s ? strndup(s, n) : NULL;
	if (s && !text)
		return err_set(err, -ENOMEM, "out of memory");
	if (!text || !is_sendable(text)) {
		free(text);
		return err_set(err, -EACCES, "the token server gave no usable token");
	}
	*ret =
	    (struct token){.text = text, .life_ms = life_of(json_object_get(root, "expires_in"))};
	next = json_string_value(json_object_get(root, "refresh_token"));
	if (next && is_sendable(next))
		ret->refresh = strdup(next); /* without it, the old one is used on */
	return 0;
}

int64_t token_use_ms(int64_t life_ms)
{
	int64_t margin_ms = life_ms / 10;

	return life_ms - (margin_ms > 5000 ? margin_ms : 5000);
}

struct entry {
	struct entry *next;
	struct digest key;
	unsigned refs; /* threads that are using it */
	char *text;    /* NULL: none */
	int64_t until_ms;
	bool fetching;
	uint64_t rounds; /* fetches that have ended */
	int code;        /* of the last one */
	char why[ERR_TEXT_MAX];
};

struct token_cache {
	struct lock lock;
	struct cond ended; /* a fetch has */
	/* guarded by lock */
	struct entry *entries; /* the one used last comes first */
	size_t count;
};

int token_cache_new(struct token_cache **ret)
{
	struct token_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	lock_init(&c->lock);
	cond_init(&c->ended);
	*ret = c;
	return 0;
}

static void forget(struct entry *e)
{
	if (e->text)
		explicit_bzero(e->text, strlen(e->text));
	free(e->text);
	e->text = NULL;
}

void token_cache_free(struct token_cache *c)
{
	if (!c)
		return;
	while (c->entries) {
		struct entry *e = c->entries;

		c->entries = e->next;
		forget(e);
		free(e);
	}
	cond_release(&c->ended);
	lock_release(&c->lock);
	free(c);
}

static void drop_oldest(struct token_cache *c) REQUIRES(c->lock)
{
	struct entry **at, **victim = NULL;

	for (at = &c->entries; *at; at = &(*at)->next)
		if ((*at)->refs == 0)
			victim = at;
	if (victim) {
		struct entry *e = *victim;

		*victim = e->next;
		c->count--;
		forget(e);
		free(e);
	}
}

/* The entry of this key, first in the list; a new one if `make`. */
static struct entry *find(struct token_cache *c, const struct digest *key, bool make)
    REQUIRES(c->lock)
{
	struct entry **at = &c->entries;
	struct entry *e;

	while (*at && !digest_equal(&(*at)->key, key))
		at = &(*at)->next;
	e = *at;
	if (e) {
		*at = e->next;
	} else {
		if (!make)
			return NULL;
		if (c->count >= TOKEN_CACHE_COUNT)
			drop_oldest(c);
		e = calloc(1, sizeof(*e));
		if (!e)
			return NULL;
		e->key = *key;
		c->count++;
	}
	e->next = c->entries;
	c->entries = e;
	return e;
}

struct round {
	const struct entry *entry;
	uint64_t rounds;
};

static bool has_ended(const void *ctx)
{
	const struct round *r = ctx;

	return r->entry->rounds != r->rounds;
}

/* This thread fetches; e->fetching is set. */
static int fetch_one(struct token_cache *c, struct entry *e, token_fetch_fn fetch, void *ctx,
		     struct call *call, char **ret, struct err *err)
{
	struct token t = {0};
	struct err why = {""};
	int r = fetch(ctx, call, &t, &why);

	if (r == 0) {
		*ret = strdup(t.text);
		if (!*ret)
			r = err_set(&why, -ENOMEM, "out of memory");
	}
	lock_take(&c->lock);
	forget(e);
	if (r == 0) {
		e->text = t.text;
		e->until_ms = clock_ms() + token_use_ms(t.life_ms);
		t.text = NULL;
	}
	e->code = r;
	memcpy(e->why, why.text, sizeof(e->why));
	e->fetching = false;
	e->rounds++;
	cond_broadcast(&c->ended);
	lock_drop(&c->lock);
	token_release(&t);
	return r < 0 ? err_set(err, r, "%s", why.text) : 0;
}

/* Another thread fetches. 1: look again. */
static int share(struct token_cache *c, struct entry *e, uint64_t rounds, struct call *call,
		 struct err *err)
{
	struct round round = {e, rounds};
	char why[ERR_TEXT_MAX];
	int code;
	int r = park(&c->lock, &c->ended, has_ended, &round, call, INT64_MAX, err);

	if (r < 0)
		return r;
	lock_take(&c->lock);
	code = e->code;
	memcpy(why, e->why, sizeof(why));
	lock_drop(&c->lock);
	if (code == 0 || code == -ECANCELED || code == -ETIMEDOUT)
		return 1;
	return err_set(err, code, "%s", why);
}

int token_cache_get(struct token_cache *c, const struct digest *key, token_fetch_fn fetch,
		    void *ctx, struct call *call, char **ret, bool *ret_fresh, struct err *err)
{
	struct entry *e;
	bool waited = false;
	int r = 1;

	*ret_fresh = false;
	lock_take(&c->lock);
	e = find(c, key, true);
	if (e)
		e->refs++;
	lock_drop(&c->lock);
	if (!e)
		return err_set(err, -ENOMEM, "out of memory");
	while (r == 1) {
		bool mine = false;
		char *text = NULL;
		uint64_t rounds;

		lock_take(&c->lock);
		rounds = e->rounds;
		if (e->text && clock_ms() < e->until_ms) {
			text = strdup(e->text);
			r = text ? 0 : -ENOMEM;
		} else if (!e->fetching) {
			e->fetching = true;
			mine = true;
		}
		lock_drop(&c->lock);
		if (r == -ENOMEM) {
			err_set(err, r, "out of memory");
		} else if (r == 0) {
			*ret = text;
			*ret_fresh = waited;
		} else if (mine) {
			*ret_fresh = true;
			r = fetch_one(c, e, fetch, ctx, call, ret, err);
		} else {
			r = share(c, e, rounds, call, err);
			waited = true;
		}
	}
	lock_take(&c->lock);
	e->refs--;
	lock_drop(&c->lock);
	return r;
}

void token_cache_drop(struct token_cache *c, const struct digest *key, const char *text)
{
	struct entry *e;

	lock_take(&c->lock);
	e = find(c, key, false);
	if (e && e->text && strcmp(e->text, text) == 0)
		forget(e);
	lock_drop(&c->lock);
}
