/* SPDX-License-Identifier: Apache-2.0 */
/* auth_memory — what logging in to one registry has taught us. Layer:
 * registry/, internal; no I/O.
 *
 *	challenge  what it wants to see, so that the next question brings it along
 *	refused    logins that are not shown again for AUTH_REFUSED_MS, since
 *	           registries lock accounts; another login is another matter
 *	denied     what a fresh token, or a login that is good elsewhere, did not
 *	           open, or the token server has no token for: no other token is
 *	           asked for, and nothing waited for, within AUTH_DENIED_MS
 *	good       the login that was accepted last. A registry that says 401 to it
 *	           may only mean that it may not read this repository; only
 *	           AUTH_STRIKES_MAX such answers without a good one in between
 *	           make it a refused one
 *
 *	held       what the token server has asked us not to come back for too soon: of
 *	           this realm, service, scope and login, and of no other. One that is
 *	           out of order is held as a whole, under its realm
 *	newer      the identity token that a token server gave in exchange for the
 *	           configured one, which may be good no more
 *
 * What is asked of the catalog teaches little of repositories: Harbor wants a
 * password there, and tokens elsewhere.
 *
 * Threads: any.
 */
#pragma once

#include "base/digest.h"
#include "base/err.h"
#include "base/lock.h"
#include "registry/address.h"
#include "registry/challenge.h"
#include "registry/credentials.h"

#define AUTH_REFUSED_MS    (5 * 60 * 1000)
#define AUTH_REFUSED_COUNT 8
#define AUTH_DENIED_MS     10000
#define AUTH_DENIED_COUNT  32
#define AUTH_STRIKES_MAX   5
#define AUTH_HELD_COUNT    32

struct auth_verdict {
	struct digest id;
	int64_t until_ms;
	int code; /* of held */
	char why[ERR_TEXT_MAX];
};

struct auth_wanted {
	struct challenge challenge;
	enum address_class peer;
};

struct auth_memory {
	struct lock lock;
	/* guarded by lock */
	struct auth_wanted repository, catalog;
	struct auth_verdict refused[AUTH_REFUSED_COUNT];
	struct auth_verdict denied[AUTH_DENIED_COUNT];
	struct auth_verdict held[AUTH_HELD_COUNT];
	unsigned refused_next, denied_next, held_next;
	struct digest good;
	int64_t good_until_ms;
	unsigned strikes;
	struct digest newer_of;
	char *newer;
};

void auth_memory_init(struct auth_memory *m);
void auth_memory_release(struct auth_memory *m);

/* ch has a scheme that we know; peer: how far away the registry is. */
void auth_memory_learn(struct auth_memory *m, bool catalog, const struct challenge *ch,
		       enum address_class peer);
/* The challenge without what belonged to another question; no scheme: none yet. */
enum address_class auth_memory_recall(struct auth_memory *m, bool catalog, struct challenge *ret);

/* The token server that this challenge names cannot be had: the registry may have another
 * by now. */
void auth_memory_forget(struct auth_memory *m, const struct challenge *ch);

void auth_memory_refuse(struct auth_memory *m, const struct digest *id, const char *why);
/* err: why. */
bool auth_memory_is_refused(struct auth_memory *m, const struct digest *id, struct err *err);
void auth_memory_deny(struct auth_memory *m, const struct digest *key, const char *why);
bool auth_memory_is_denied(struct auth_memory *m, const struct digest *key, struct err *err);

void auth_memory_hold(struct auth_memory *m, const struct digest *key, int code, int64_t ms,
		      const char *why);
/* 0, or the code that it is held with. */
int auth_memory_is_held(struct auth_memory *m, const struct digest *key, struct err *err);

void auth_memory_accept(struct auth_memory *m, const struct digest *id);
/* The registry said 401 to this login. Whether the login itself is to blame. */
bool auth_memory_strike(struct auth_memory *m, const struct digest *id);

/* In place of the login of this id; NULL: none any more. */
void auth_memory_renew(struct auth_memory *m, const struct digest *id, const char *secret);
/* Whether there is one; *ret is set then. */
bool auth_memory_newer(struct auth_memory *m, const struct credential *c, struct credential *ret);
