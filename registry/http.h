/* SPDX-License-Identifier: Apache-2.0 */
/* http — one HTTP exchange at a time, as plain blocking calls. Layer:
 * registry/, internal. Knows neither registries, nor redirects, nor retries.
 *
 * One I/O thread owns a curl_multi, and with it all connections. It is started
 * by the first exchange, so that a source which was never asked costs nothing.
 * The callers' threads only wait for it, and never for longer than their call
 * lasts: a call that ends leaves its transfer behind, and the I/O thread takes
 * it down.
 *
 * Calling sequence for an exchange, on one thread:
 *	http_start → http_headers → http_read* → http_end
 * http_end at any time after a successful http_start; anything unread is then
 * cut off, with the connection.
 *
 * Bodies pass through a ring of HTTP_PIECES buffers; a reader that falls
 * behind stops the transfer, not the I/O thread. HTTP/1.1 only: on HTTP/2 a
 * stopped stream is buffered without bound by libcurl 7.88, and is slower.
 *
 * Each lane has so many exchanges at once against one origin, and the rest wait
 * their turn in the order they came: so a question, or a small blob, never waits
 * behind large ones.
 *
 * Through a proxy we see its address only, never that of who answers, and the
 * names are looked up by it. So what is judged then is the URL: an address in it
 * for what it is, a name as public, which is trusted to send us to public ones
 * only. What a name means in the proxy's network is the proxy's to allow.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/call.h"
#include "base/err.h"
#include "base/names.h"
#include "registry/address.h"
#include "registry/proxy.h"
#include "registry/url.h"

#define HTTP_PIECES        8
#define HTTP_PIECE_BYTES   (256u << 10)
#define HTTP_QUESTIONS_MAX 6
#define HTTP_QUICK_MAX     4
#define HTTP_TRANSFERS_MAX 6
#define HTTP_HOST_MAX      (HTTP_QUESTIONS_MAX + HTTP_QUICK_MAX + HTTP_TRANSFERS_MAX)
#define HTTP_HEADER_MAX    (64u << 10) /* of one response: bytes */
#define HTTP_CONNECT_MS    10000       /* name, TCP and TLS together */
#define HTTP_ANSWER_MS     30000       /* from the request to the first of the answer */

struct http;
struct http_exchange;

/* What tests may want otherwise; zeros are the defaults. */
struct http_tuning {
	int64_t answer_ms;
	int64_t slow_ms; /* SOURCE_SLOW_S */
	enum address_class (*classify)(const struct sockaddr *sa);
};

enum http_lane { HTTP_QUESTION, HTTP_QUICK, HTTP_TRANSFER };

/* How an exchange failed without an answer, or in the middle of one. */
enum http_fault {
	HTTP_FAULT_NONE,
	HTTP_FAULT_CALL,         /* the call ended, and the host is not to blame */
	HTTP_FAULT_RESOLVE,      /* no address */
	HTTP_FAULT_CONNECT,      /* refused, no route */
	HTTP_FAULT_CONNECT_SLOW, /* no TCP connection within the time */
	HTTP_FAULT_TLS,          /* no TLS: perhaps there is none on that side */
	HTTP_FAULT_TLS_SLOW,
	HTTP_FAULT_CERTIFICATE,
	HTTP_FAULT_ADDRESS, /* a class of addresses that was not allowed */
	HTTP_FAULT_PROXY,   /* the proxy refused, or wants a login */
	HTTP_FAULT_SILENT,  /* nothing for HTTP_ANSWER_MS, or to the call's deadline */
	HTTP_FAULT_CUT,     /* the connection ended too early */
	HTTP_FAULT_SLOW,    /* below SOURCE_SLOW_BYTES_S */
	HTTP_FAULT_PROTOCOL,
	HTTP_FAULT_LOCAL,
};

struct http_request {
	const char *method; /* "GET", "HEAD", "POST" */
	const struct url *url;
	const char *const *headers; /* "Name: value"; NULL-terminated */
	const char *body;           /* of a POST */
	enum http_lane lane;
	unsigned allowed;   /* classes of addresses, enum address_class; 0: any */
	int64_t connect_ms; /* 0: HTTP_CONNECT_MS */
};

/* The host that a struct http is for. What identifies us is shown to it alone, and
 * not to where it redirects, nor to a token server elsewhere. */
struct http_home {
	const char *host; /* NULL: there is none */
	unsigned port;    /* 0: the scheme's */
	bool https, http; /* what is spoken there */
	const char *cert; /* NULL, or a file to show to it; key NULL: in the same */
	const char *key;
	const struct names *headers; /* NULL, or lines for each request that has not its own */
};

/* All borrowed for the life of *ret. */
struct http_options {
	const char *ca_file; /* NULL, or certificates to trust beside the system's */
	const char *ca_pem;  /* the same as text, instead of ca_file */
	/* Also of the servers that the host sends us to: who could stand in for it
	 * could send us anywhere. */
	bool unverified;
	struct http_home home;
	const struct proxy *proxy; /* NULL: everything is asked directly */
	unsigned allowed;          /* classes of addresses that anybody is asked at; 0: any */
	struct http_tuning tuning; /* copied */
};

NODISCARD int http_new(const struct http_options *o, struct http **ret);
/* Every exchange has been ended. Waits for the I/O thread, which waits for
 * nobody. NULL is fine. */
void http_free(struct http *h);
/* From now on addresses of these classes, as http_options.allowed. */
void http_allow(struct http *h, unsigned allowed);
uint64_t http_requests(const struct http *h); /* sent so far */
uint64_t http_bytes(const struct http *h);    /* received in bodies so far */

struct source_requests;
void http_outcomes(const struct http *h, struct source_requests *ret);

/* Copies what it needs. Does not wait. -ENOMEM, -EIO. */
NODISCARD int http_start(struct http *h, const struct http_request *q, struct http_exchange **ret,
			 struct err *err);
/* How fast a body comes: by windows of time spent waiting for it, each of which ends as
 * soon as enough has come. Zeros at the start. */
struct http_pace {
	uint64_t bytes; /* since the window began */
	int64_t ms;     /* waited in it */
};

/* Waits for the status and all header fields. The errno goes with http_fault. */
NODISCARD int http_headers(struct http_exchange *x, struct call *call, struct err *err);
/* After http_headers: goes on with a window that other exchanges for the same bytes
 * began, so that what comes in many small pieces has no more time than what comes in
 * one. With `again` the wait for this answer counts too. *pace is used until http_end. */
void http_keep_pace(struct http_exchange *x, struct http_pace *pace, bool again);
/* The next of the body: *data has the returned number of bytes and stays until
 * the next http_read or http_end. 0: the body is whole, as far as HTTP tells. */
NODISCARD int64_t http_read(struct http_exchange *x, struct call *call, const void **data,
			    struct err *err);
void http_end(struct http_exchange *x); /* NULL is fine */

/* After a failure of http_headers or http_read. */
enum http_fault http_fault(const struct http_exchange *x);

/* After a successful http_headers. */
int http_status(const struct http_exchange *x);
/* The value of a field, new; several of one name are joined with ", ". *ret is
 * NULL where there is none. -ENOMEM. */
NODISCARD int http_field(const struct http_exchange *x, const char *name, char **ret);
/* What Retry-After says, as retry_after_ms; -1: nothing. -ENOMEM. */
NODISCARD int http_retry_after(const struct http_exchange *x, int64_t *ret_ms);
/* -1: not told. */
int64_t http_content_length(const struct http_exchange *x);
/* How far away who answered is; through a proxy, as the URL says. */
enum address_class http_peer(const struct http_exchange *x);
/* Whether this machine itself gives the answer: its own, and no proxy's on the way. */
bool http_is_of_this_machine(const struct http_exchange *x);
