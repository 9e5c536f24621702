/* SPDX-License-Identifier: Apache-2.0 */
/* client_impl — what client.c (retries) and client_try.c (one try) share.
 * Layer: registry/, internal to these two. */
#pragma once

#include "registry/client.h"
#include "registry/errors.h"
#include "registry/park.h"

struct try_end {
	enum http_fault fault;  /* on failure */
	bool token_server;      /* which has been retried already, is what failed */
	bool answered;          /* the registry itself has, before that */
	int64_t retry_after_ms; /* -1: not told */
};

/* Asks once: logs in as far as it takes, follows redirects, reads the body
 * unless it is to be streamed. 0 with any status. On failure ret->foreign says
 * whether it was the registry. */
NODISCARD int client_try(struct client *c, const struct question *q, struct call *call,
			 struct answer *ret, struct try_end *end, struct err *err);
