/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/transport.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "registry/header_field.h"

#define HEADERS_MAX (8 + HEADER_FIELDS_MAX)
#define DRAIN_MAX   (64u << 10) /* read, to keep the connection; more is cut off */
#define DRAIN_MS    200         /* about what another connection costs */

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static int send_one(struct http *http, const struct transport_request *q, unsigned allowed,
		    struct call *call, struct transport_reply *r, struct err *err)
{
	const char *lines[HEADERS_MAX + 1];
	struct http_request hq = {.method = q->method,
				  .url = &r->url,
				  .headers = lines,
				  .body = q->form,
				  .lane = q->lane,
				  .allowed = allowed,
				  .connect_ms = q->connect_ms};
	size_t n = 0;
	int code;

	for (const char *const *h = q->headers; h && *h && n < HEADERS_MAX; h++)
		lines[n++] = *h;
	for (const char *const *h = q->own; h && *h && !r->foreign && n < HEADERS_MAX; h++)
		lines[n++] = *h;
	lines[n] = NULL;
	code = http_start(http, &hq, &r->x, err);
	if (code < 0) {
		r->fault = HTTP_FAULT_LOCAL;
		return code;
	}
	code = http_headers(r->x, call, err);
	if (code < 0)
		r->fault = http_fault(r->x);
	return code;
}

/* Where to, checked against what may be said before a connection is made. */
static int next_url(const struct transport_request *q, struct transport_reply *r, struct url *ret,
		    struct err *err)
{
	AUTO_FREE char *location = NULL;
	int code;

	r->fault = HTTP_FAULT_PROTOCOL;
	code = http_field(r->x, "Location", &location);
	if (code < 0)
		return err_set(err, code, "out of memory");
	if (!location)
		return err_set(err, -EPROTO, "a redirect (%d) without a target", http_status(r->x));
	code = url_resolve(&r->url, location, ret);
	if (code == -EINVAL)
		return err_set(err, -EPROTO, "a redirect to what is no http or https URL");
	if (code < 0)
		return err_set(err, code, "out of memory");
	if (q->url->https && !ret->https) {
		code = err_set(err, -EACCES, "a redirect from https to http (%s), not followed",
			       ret->host);
		url_release(ret);
		r->fault = HTTP_FAULT_ADDRESS;
	}
	return code;
}

void transport_drain(struct http_exchange *x, struct call *call)
{
	int64_t deadline_ms = call->deadline_ms, soon_ms = clock_ms() + DRAIN_MS;
	size_t left = DRAIN_MAX;
	const void *data;
	int64_t n;

	if (http_content_length(x) > DRAIN_MAX)
		return;
	if (soon_ms < deadline_ms)
		call->deadline_ms = soon_ms;
	while ((n = http_read(x, call, &data, NULL)) > 0 && (size_t)n <= left)
		left -= (size_t)n;
	call->deadline_ms = deadline_ms;
}

/* Turns r to the target of its redirect. */
static int follow(const struct transport_request *q, struct call *call, struct transport_reply *r,
		  unsigned *allowed, struct err *err)
{
	struct url next = {0};
	int code = next_url(q, r, &next, err);

	if (code < 0)
		return code;
	/* Without a length it may well last until the connection ends. */
	if (http_content_length(r->x) >= 0)
		transport_drain(r->x, call);
	*allowed &= address_reachable_from(http_peer(r->x));
	http_end(r->x);
	r->x = NULL;
	url_release(&r->url);
	r->url = next;
	r->foreign = !url_same_origin(q->url, &r->url);
	return 0;
}

int transport_send(struct http *http, const struct transport_request *q, struct call *call,
		   struct transport_reply *ret, struct err *err)
{
	unsigned reachable = ADDRESS_ANY;
	int code;

	*ret = (struct transport_reply){0};
	code = url_make(q->url->https, q->url->host, q->url->port, q->url->target, &ret->url);
	if (code < 0) {
		ret->fault = HTTP_FAULT_LOCAL;
		return err_set(err, code, "out of memory");
	}
	for (int hop = 0;; hop++) {
		unsigned allowed = ret->foreign ? reachable : q->allowed;

		code = send_one(http, q, allowed, call, ret, err);
		if (code == 0 && (!is_redirect(http_status(ret->x)) || q->form))
			return 0;
		if (code == 0 && hop == TRANSPORT_HOPS_MAX) {
			ret->fault = HTTP_FAULT_PROTOCOL;
			code = err_set(err, -EPROTO, "more than %d redirects", TRANSPORT_HOPS_MAX);
		}
		if (code == 0)
			code = follow(q, call, ret, &reachable, err);
		if (code < 0) {
			http_end(ret->x);
			ret->x = NULL;
			return code;
		}
	}
}

void transport_release(struct transport_reply *r)
{
	http_end(r->x);
	r->x = NULL;
	url_release(&r->url);
}

static int append(char **buf, size_t *len, size_t *room, const void *data, size_t n)
{
	if (*len + n + 1 > *room) {
		size_t want = (*len + n + 1) * 2;
		char *more = realloc(*buf, want);

		if (!more)
			return -ENOMEM;
		*buf = more;
		*room = want;
	}
	memcpy(*buf + *len, data, n);
	*len += n;
	(*buf)[*len] = '\0';
	return 0;
}

int transport_body(struct http_exchange *x, size_t max, bool cut, struct call *call, char **ret,
		   size_t *ret_len, struct err *err)
{
	AUTO_FREE char *buf = NULL;
	size_t len = 0, room = 0;
	const void *data;
	int64_t n;

	if (!cut && http_content_length(x) > (int64_t)max)
		return err_set(err, -EFBIG, "an answer of %lld bytes, more than %zu",
			       (long long)http_content_length(x), max);
	if (append(&buf, &len, &room, "", 0) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	while ((n = http_read(x, call, &data, err)) > 0) {
		size_t take = (size_t)n;

		if (take > max - len && !cut)
			return err_set(err, -EFBIG, "an answer of more than %zu bytes", max);
		if (take > max - len)
			take = max - len;
		if (append(&buf, &len, &room, data, take) < 0)
			return err_set(err, -ENOMEM, "out of memory");
		if (len == max && cut)
			break;
	}
	if (n < 0)
		return (int)n;
	*ret = steal_ptr(&buf);
	*ret_len = len;
	return 0;
}
