/* SPDX-License-Identifier: Apache-2.0 */
/* token — Bearer tokens: what a token server answers (Docker's token and
 * OAuth2 specs), and a cache of them. Layer: registry/, internal; no I/O of
 * its own.
 *
 * However many ask for one token, it is fetched once: the others wait for the
 * first, and share its failure, unless that was only its own call's end.
 *
 * Threads: the cache from any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/call.h"
#include "base/digest.h"
#include "base/err.h"

#define TOKEN_BODY_MAX    (128u << 10) /* a token server's answer: bytes */
#define TOKEN_MAX         (64u << 10)
#define TOKEN_LIFE_MIN_S  60 /* also where the server does not say */
#define TOKEN_LIFE_MAX_S  (24 * 3600)
#define TOKEN_CACHE_COUNT 512

struct token {
	char *text; /* owned */
	int64_t life_ms;
	char *refresh; /* owned: the next identity token, or NULL */
};

void token_release(struct token *t); /* wipes it */
/* -EACCES: no token in it, or one that cannot be sent. -EPROTO: not JSON. */
NODISCARD int token_parse(const char *body, size_t len, struct token *ret, struct err *err);
/* For how long to use a token that is said to live this long: a little less. */
int64_t token_use_ms(int64_t life_ms);

struct token_cache;
typedef int (*token_fetch_fn)(void *ctx, struct call *call, struct token *ret, struct err *err);

NODISCARD int token_cache_new(struct token_cache **ret);
void token_cache_free(struct token_cache *c); /* NULL is fine */
/* The token of this key, new; fetched if there is none. *ret_fresh: it was fetched
 * since it was asked for, by whomever. */
NODISCARD int token_cache_get(struct token_cache *c, const struct digest *key, token_fetch_fn fetch,
			      void *ctx, struct call *call, char **ret, bool *ret_fresh,
			      struct err *err);
/* The registry refused it: forgotten, if it is still the one that we have. */
void token_cache_drop(struct token_cache *c, const struct digest *key, const char *text);
