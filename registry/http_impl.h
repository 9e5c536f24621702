/* SPDX-License-Identifier: Apache-2.0 */
/* http_impl — what http.c (the callers' side) and http_io.c (the I/O thread)
 * share. Layer: registry/, internal to these two.
 *
 * Life of an exchange: made and filled in by http_start; put into the inbox,
 * which hands it to the I/O thread; waiting for a slot; running in the multi;
 * finished. The caller holds one reference, the I/O thread one until it has
 * finished with it, the inbox one while it is in there.
 *
 * Locks: http.lock guards the inbox and the thread's start; exchange.lock what
 * stands below it. Neither is taken with the other held. The order is: a
 * call's lock (held around a waker), then exchange.lock.
 */
#pragma once

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/histogram.h"
#include "base/lock.h"
#include "registry/http.h"
#include "registry/source.h"

struct http {
	struct http_options o;
	_Atomic uint64_t requests, bytes;
	struct histogram outcomes[SOURCE_OUTCOMES];
	_Atomic unsigned allowed; /* http_options.allowed, until http_allow */

	struct lock lock;
	bool running, stopping;                   /* guarded by lock */
	struct http_exchange *inbox, **inbox_end; /* guarded by lock */
	pthread_t thread;
	CURLM *multi; /* curl_multi_wakeup from any thread, the rest by the I/O thread */

	/* the I/O thread's own */
	struct http_exchange *waiting, **waiting_end;
	struct http_exchange *active;
	struct http_exchange *to_wake;
};

struct piece {
	char *bytes; /* HTTP_PIECE_BYTES, or NULL as long as it was never used */
	size_t len;
};

struct http_exchange {
	struct http *http;
	atomic_int refs;

	/* fixed by http_start */
	CURL *easy; /* touched by the I/O thread only, from then on */
	struct curl_slist *headers;
	char *body;
	char *url;
	char origin[URL_ORIGIN_MAX];
	enum http_lane lane;
	unsigned allowed;
	bool home;                        /* it goes to the host that this is for */
	const struct proxy_server *proxy; /* NULL: directly */
	enum address_class beyond;        /* of who is behind the proxy */

	/* guarded by http.lock */
	bool in_inbox;
	struct http_exchange *inbox_next;

	/* the I/O thread's own */
	struct http_exchange *next; /* in waiting or active */
	struct http_exchange *wake_next;
	bool taken, active, done, wake_pending;
	char curl_text[CURL_ERROR_SIZE];
	bool address_refused;
	int64_t begun_us;    /* 0: not yet */
	int64_t answered_us; /* 0: not yet */

	struct lock lock;
	struct cond cond;
	/* guarded by lock; the answer is fixed once it is whole */
	int64_t sent_ms; /* 0: not yet */
	bool started, has_answer, finished, ended, paused;
	int status;
	char *fields; /* "name: value\0"… */
	size_t fields_len;
	int64_t content_length;
	enum address_class peer;
	int result; /* once finished: 0 or -errno */
	enum http_fault result_fault;
	struct err result_words;
	struct piece ring[HTTP_PIECES];
	uint64_t filling;  /* number of the piece that is being filled */
	uint64_t reading;  /* of the next one to hand out */
	uint64_t released; /* of the oldest one that may not be filled again */

	/* the caller's own */
	enum http_fault fault;
	struct http_pace own_pace;
	struct http_pace *pace; /* own_pace, or one that the caller keeps */
};

void http_exchange_ref(struct http_exchange *x);
void http_exchange_unref(struct http_exchange *x);
/* Has the I/O thread look at it. */
void http_post(struct http_exchange *x);
/* Counts it, once, if it was begun: before its caller hears of the end; or the caller has left,
 * and what it made of the exchange was written before it said so. */
void http_count(struct http_exchange *x, enum http_fault fault);
void http_count_left(struct http_exchange *x);
/* The I/O thread. */
void *http_io_main(void *http);
/* Of an address as text; ADDRESS_LINK, that is nobody's, if it is none. */
enum address_class http_classify(const struct http *h, const char *ip, int port);
/* Sets the callbacks of a new handle. */
NODISCARD int http_io_prepare(struct http_exchange *x);
