/* SPDX-License-Identifier: Apache-2.0 */
/* token_fetch — asks a token server (Docker's token and OAuth2 specs). Layer:
 * registry/, internal. */
#pragma once

#include "registry/credentials.h"
#include "registry/token.h"
#include "registry/transport.h"

struct token_question {
	struct http *http;
	const struct url *realm;             /* already judged fit to be asked */
	unsigned allowed;                    /* classes of addresses; 0: any */
	const char *service;                 /* "" if none */
	const char *scopes;                  /* separated by blanks; "" if none */
	const struct credential *credential; /* kind NONE: an anonymous token */
	int64_t retry_base_ms;
	int64_t
	    *retry_after_ms; /* NULL, or set where it asks us to wait (429, 503); -1: not told */
};

/* Retried within the call's deadline. -EACCES: refused; *ret_refused (not NULL)
 * says whether it was the credential itself. -EHOSTUNREACH, -ETIMEDOUT, -EBUSY,
 * -EPROTO, -EFBIG, -ECANCELED, -ENOMEM. */
NODISCARD int token_fetch(const struct token_question *q, struct call *call, struct token *ret,
			  bool *ret_refused, struct err *err);
