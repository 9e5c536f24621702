/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/auth_memory.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

void auth_memory_init(struct auth_memory *m)
{
	*m = (struct auth_memory){0};
	lock_init(&m->lock);
}

static void forget_newer(struct auth_memory *m)
{
	if (m->newer)
		explicit_bzero(m->newer, strlen(m->newer));
	free(m->newer);
	m->newer = NULL;
}

void auth_memory_release(struct auth_memory *m)
{
	forget_newer(m);
	lock_release(&m->lock);
}

static bool is_set(const struct auth_wanted *w)
{
	return w->challenge.bearer || w->challenge.basic;
}

void auth_memory_learn(struct auth_memory *m, bool catalog, const struct challenge *ch,
		       enum address_class peer)
{
	struct auth_wanted w = {.challenge = *ch, .peer = peer};

	w.challenge.scope[0] = '\0';
	w.challenge.error[0] = '\0';
	lock_take(&m->lock);
	*(catalog ? &m->catalog : &m->repository) = w;
	lock_drop(&m->lock);
}

enum address_class auth_memory_recall(struct auth_memory *m, bool catalog, struct challenge *ret)
{
	struct auth_wanted w;

	lock_take(&m->lock);
	w = catalog ? m->catalog : m->repository;
	/* Token servers serve both. */
	if (!is_set(&w) && (catalog ? &m->repository : &m->catalog)->challenge.bearer)
		w = catalog ? m->repository : m->catalog;
	lock_drop(&m->lock);
	*ret = w.challenge;
	return w.peer;
}

static bool is_of(const struct auth_wanted *w, const struct challenge *ch)
{
	return w->challenge.bearer && strcmp(w->challenge.realm, ch->realm) == 0 &&
	       strcmp(w->challenge.service, ch->service) == 0;
}

void auth_memory_forget(struct auth_memory *m, const struct challenge *ch)
{
	lock_take(&m->lock);
	if (is_of(&m->repository, ch))
		m->repository = (struct auth_wanted){0};
	if (is_of(&m->catalog, ch))
		m->catalog = (struct auth_wanted){0};
	lock_drop(&m->lock);
}

/* In place of an older word about the same, or else of the oldest of all. */
static void note(struct auth_verdict *list, size_t count, unsigned *next, const struct digest *id,
		 int code, int64_t keep_ms, const char *why)
{
	struct auth_verdict *v = NULL;

	for (size_t i = 0; i < count; i++)
		if (digest_equal(&list[i].id, id))
			v = &list[i];
	if (!v)
		v = &list[(*next)++ % count];
	v->id = *id;
	v->code = code;
	v->until_ms = clock_ms() + keep_ms;
	snprintf(v->why, sizeof(v->why), "%s", why);
}

static const struct auth_verdict *look_up(const struct auth_verdict *list, size_t count,
					  const struct digest *id, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		if (list[i].until_ms <= clock_ms() || !digest_equal(&list[i].id, id))
			continue;
		(void)err_set(err, 0, "%s", list[i].why);
		return &list[i];
	}
	return NULL;
}

void auth_memory_refuse(struct auth_memory *m, const struct digest *id, const char *why)
{
	lock_take(&m->lock);
	note(m->refused, AUTH_REFUSED_COUNT, &m->refused_next, id, 0, AUTH_REFUSED_MS, why);
	lock_drop(&m->lock);
}

bool auth_memory_is_refused(struct auth_memory *m, const struct digest *id, struct err *err)
{
	bool found;

	lock_take(&m->lock);
	found = look_up(m->refused, AUTH_REFUSED_COUNT, id, err) != NULL;
	lock_drop(&m->lock);
	return found;
}

void auth_memory_deny(struct auth_memory *m, const struct digest *key, const char *why)
{
	lock_take(&m->lock);
	note(m->denied, AUTH_DENIED_COUNT, &m->denied_next, key, 0, AUTH_DENIED_MS, why);
	lock_drop(&m->lock);
}

bool auth_memory_is_denied(struct auth_memory *m, const struct digest *key, struct err *err)
{
	bool found;

	lock_take(&m->lock);
	found = look_up(m->denied, AUTH_DENIED_COUNT, key, err) != NULL;
	lock_drop(&m->lock);
	return found;
}

void auth_memory_hold(struct auth_memory *m, const struct digest *key, int code, int64_t ms,
		      const char *why)
{
	lock_take(&m->lock);
	note(m->held, AUTH_HELD_COUNT, &m->held_next, key, code, ms, why);
	lock_drop(&m->lock);
}

int auth_memory_is_held(struct auth_memory *m, const struct digest *key, struct err *err)
{
	const struct auth_verdict *v;
	int code;

	lock_take(&m->lock);
	v = look_up(m->held, AUTH_HELD_COUNT, key, err);
	code = v ? v->code : 0;
	lock_drop(&m->lock);
	return code;
}

void auth_memory_accept(struct auth_memory *m, const struct digest *id)
{
	lock_take(&m->lock);
	m->good = *id;
	m->good_until_ms = clock_ms() + AUTH_REFUSED_MS;
	m->strikes = 0;
	lock_drop(&m->lock);
}

bool auth_memory_strike(struct auth_memory *m, const struct digest *id)
{
	bool blamed = true;

	lock_take(&m->lock);
	if (digest_equal(&m->good, id) && clock_ms() < m->good_until_ms)
		blamed = ++m->strikes >= AUTH_STRIKES_MAX;
	lock_drop(&m->lock);
	return blamed;
}

void auth_memory_renew(struct auth_memory *m, const struct digest *id, const char *secret)
{
	lock_take(&m->lock);
	forget_newer(m);
	m->newer = secret ? strdup(secret) : NULL;
	m->newer_of = *id;
	lock_drop(&m->lock);
}

bool auth_memory_newer(struct auth_memory *m, const struct credential *c, struct credential *ret)
{
	bool found;

	lock_take(&m->lock);
	found = m->newer && digest_equal(&m->newer_of, &c->id) &&
		credential_make(c->kind, c->user, m->newer, ret) == 0;
	lock_drop(&m->lock);
	return found;
}
