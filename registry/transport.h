/* SPDX-License-Identifier: Apache-2.0 */
/* transport — a request and the redirects that it meets. Layer: registry/,
 * internal. Knows no registry, no retries and no credentials but where they
 * may go.
 *
 * Redirects are followed here, never by libcurl: what is `own` goes to the
 * origin (scheme, host, port) of the first URL only, https is never left, and
 * nobody is sent to an address nearer than his own (registry/address.h).
 */
#pragma once

#include <stdbool.h>

#include "registry/http.h"

#define TRANSPORT_HOPS_MAX 10

struct transport_request {
	const char *method;
	const struct url *url;
	enum http_lane lane;
	const char *const *headers; /* to every hop; NULL-terminated */
	const char *const *own;     /* to the first origin only; NULL-terminated; may be NULL */
	const char *form;           /* body of a POST, which follows no redirect */
	unsigned allowed;           /* classes of addresses for the first hop; 0: any */
	int64_t connect_ms;         /* 0: HTTP_CONNECT_MS */
};

struct transport_reply {
	struct http_exchange *x; /* its header fields are in; NULL on failure */
	struct url url;          /* who answered, or failed to */
	bool foreign;            /* another origin than the first */
	enum http_fault fault;   /* on failure */
};

/* 0 with any status that is not a redirect. -EPROTO: a redirect without a
 * target, or too many; -EACCES: to where it must not lead; else the errno of
 * registry/http.h. Always transport_release(ret). */
NODISCARD int transport_send(struct http *http, const struct transport_request *q,
			     struct call *call, struct transport_reply *ret, struct err *err);
void transport_release(struct transport_reply *r);

/* Reads what is left of a body that says nothing, so that the connection can be used
 * again. Only what is there soon: more, or later, costs the connection instead. */
void transport_drain(struct http_exchange *x, struct call *call);

/* All of a body that is not longer than max: new and NUL-terminated. With
 * `cut`, a longer one is cut instead. -EFBIG; else as http_read. */
NODISCARD int transport_body(struct http_exchange *x, size_t max, bool cut, struct call *call,
			     char **ret, size_t *ret_len, struct err *err);
