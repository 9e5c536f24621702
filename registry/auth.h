/* SPDX-License-Identifier: Apache-2.0 */
/* auth — logging in to one registry: none, Basic, or Bearer with a token
 * server (RFC 9110 §11, Docker's token spec). Layer: registry/, internal.
 *
 * Calling sequence for a question, on one thread:
 *	auth_begin, then auth_answered for each answer of the registry until that
 *	is 0 or less; at last auth_end
 * The question is sent at most AUTH_SENDS_MAX times, with at most
 * AUTH_FETCHES_MAX tokens. What was refused is remembered: auth_memory.h.
 *
 * A token server is asked only where it is as far away as the registry, and
 * over https unless the registry itself is not.
 *
 * Threads: any. Both BLOCK on the network, on files, and on the credential
 * helper that keeps a login.
 */
#pragma once

#include "registry/credentials.h"
#include "registry/http.h"

#define AUTH_SENDS_MAX   3
#define AUTH_FETCHES_MAX 2
#define AUTH_HOLD_MS     5000 /* without a Retry-After of the token server */
#define AUTH_SKEW_MS     1000 /* a token may be refused for being from the future */

struct auth;

struct auth_options {
	struct http *http;           /* borrowed for life */
	const char *host;            /* as credentials name it: "ghcr.io", "127.0.0.1:5000" */
	const char *auth_file;       /* NULL: the usual places */
	const struct names *helpers; /* of registries.conf, borrowed; NULL: none */
	int64_t retry_base_ms;
	int64_t skew_ms;
};

/* One question's. */
struct auth_round {
	const char *repo;       /* "" for the catalog; borrowed */
	const char *scope;      /* "repository:NAME:pull"; borrowed */
	char *header;           /* "Authorization: …" to send, or NULL */
	int64_t retry_after_ms; /* for how long the token server is not to be asked; -1: not told */
	/* auth.c's own */
	char *token;
	char *scopes;        /* that token was asked for */
	struct digest key;   /* of what is asked for, with which login */
	struct digest shown; /* the password that was sent */
	char *password;      /* itself */
	bool fresh;          /* token was fetched since the question was asked */
	bool bearer;         /* a configured token was sent */
	bool waited;
	bool renewed; /* a refused login was looked for again */
	unsigned sends, fetches;
};

NODISCARD int auth_new(const struct auth_options *o, struct auth **ret);
void auth_free(struct auth *a); /* NULL is fine */

/* Fills in r->header with what the registry is known to want. May ask a token
 * server. Neither its refusal nor its absence is a failure here, nor that it limits us:
 * the registry has the last word, and may name another, or want no token any more.
 * -EACCES never; -ETIMEDOUT, -ECANCELED: the call's. -ENOMEM. */
NODISCARD int auth_begin(struct auth *a, const struct url *registry, struct auth_round *r,
			 struct call *call, struct err *err);
/* The registry, not whom it redirected to, answered with this status. challenge:
 * its WWW-Authenticate, or NULL. peer: how far away it is. 1: send again, with
 * r->header. 0: its answer stands. -EACCES where the token server, a file of
 * credentials or a helper is why; -EHOSTUNREACH and the like of the token
 * server; -ETIMEDOUT, -ECANCELED. */
NODISCARD int auth_answered(struct auth *a, const struct url *registry, struct auth_round *r,
			    int status, const char *challenge, enum address_class peer,
			    struct call *call, struct err *err);
/* Makes what was shown unreadable in an answer: some quote it in an error. */
void auth_hide(const struct auth_round *r, char *body, size_t len);
void auth_end(struct auth_round *r);
/* The id of the login that is there for a repository, or "" of the catalog; unset where
 * there is none. Errors as credentials_find. */
NODISCARD int auth_login_id(struct auth *a, const char *repo, struct call *call, struct digest *ret,
			    struct err *err);
/* credentials_warning, credentials_headers; credentials_mention, of any host. */
bool auth_warning(struct auth *a, char ret[WARNING_TEXT_MAX]);
NODISCARD int auth_headers(struct auth *a, struct names *ret);
bool auth_mentions(struct auth *a, const char *host);
