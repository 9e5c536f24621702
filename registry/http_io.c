/* SPDX-License-Identifier: Apache-2.0 */
/* The I/O thread. It never waits but in curl_multi_poll, and holds locks only
 * to copy. Callbacks of libcurl run here, inside curl_multi_perform. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "registry/http_impl.h"

#define CA_BUNDLE    "/etc/ssl/certs/ca-certificates.crt"
#define CA_DIRECTORY "/etc/ssl/certs"
#define IDLE_POLL_MS 60000
/* A transfer whose caller has left is taken down at once; this is for one that
 * nobody would otherwise look at again. */
#define ABANDONED_S 300L

/* ---- one exchange ---- */

/* Wakes the caller once libcurl has done all that it can do now: a wake for
 * each of its small deliveries would cost more than the delivery. */
static void wake_later(struct http_exchange *x)
{
	if (x->wake_pending)
		return;
	x->wake_pending = true;
	x->wake_next = x->http->to_wake;
	x->http->to_wake = x;
}

static void wake_all(struct http *h)
{
	while (h->to_wake) {
		struct http_exchange *x = h->to_wake;

		h->to_wake = x->wake_next;
		x->wake_pending = false;
		lock_take(&x->lock);
		cond_broadcast(&x->cond);
		lock_drop(&x->lock);
	}
}

static bool fits(const struct http_exchange *x, size_t len) REQUIRES(x->lock)
{
	uint64_t used = x->filling - x->released;
	size_t room;

	if (used >= HTTP_PIECES)
		return false;
	room = HTTP_PIECE_BYTES - x->ring[x->filling % HTTP_PIECES].len;
	room += (size_t)(HTTP_PIECES - 1 - used) * HTTP_PIECE_BYTES;
	return len <= room;
}

static bool fill(struct http_exchange *x, const char *data, size_t len) REQUIRES(x->lock)
{
	while (len > 0) {
		struct piece *p = &x->ring[x->filling % HTTP_PIECES];
		size_t n = HTTP_PIECE_BYTES - p->len;

		if (!p->bytes)
			p->bytes = malloc(HTTP_PIECE_BYTES);
		if (!p->bytes)
			return false;
		if (n > len)
			n = len;
		memcpy(p->bytes + p->len, data, n);
		p->len += n;
		data += n;
		len -= n;
		if (p->len == HTTP_PIECE_BYTES)
			x->filling++;
	}
	return true;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct http_exchange *x = ctx;
	size_t len = size * count;
	size_t taken = len;

	lock_take(&x->lock);
	if (!x->ended && !fits(x, len)) {
		x->paused = true;
		taken = CURL_WRITEFUNC_PAUSE;
	} else if (x->ended || !fill(x, data, len)) {
		taken = 0;
	}
	lock_drop(&x->lock);
	if (taken == len)
		atomic_fetch_add(&x->http->bytes, len);
	wake_later(x);
	return taken;
}

static int parse_status(const char *line, size_t len)
{
	const char *space = memchr(line, ' ', len);
	int status = 0;

	if (!space || (size_t)(line + len - space) < 4)
		return 0;
	for (int i = 1; i <= 3; i++) {
		if (space[i] < '0' || space[i] > '9')
			return 0;
		status = status * 10 + (space[i] - '0');
	}
	return status;
}

/* Two that differ are an attack on somebody; libcurl takes the last. */
static bool note_content_length(struct http_exchange *x, const char *line) REQUIRES(x->lock)
{
	static const char name[] = "content-length:";
	int64_t value = 0;

	if (strncasecmp(line, name, sizeof(name) - 1) != 0)
		return true;
	line += sizeof(name) - 1;
	line += strspn(line, " \t");
	if (*line < '0' || *line > '9')
		return false;
	for (; *line >= '0' && *line <= '9'; line++)
		if (__builtin_mul_overflow(value, (int64_t)10, &value) ||
		    __builtin_add_overflow(value, (int64_t)(*line - '0'), &value))
			return false;
	if (*line != '\0' || (x->content_length >= 0 && x->content_length != value))
		return false;
	x->content_length = value;
	return true;
}

static bool keep_field(struct http_exchange *x, const char *line, size_t len) REQUIRES(x->lock)
{
	char *more;
	char *copy;

	if (x->fields_len + len + 1 > HTTP_HEADER_MAX || memchr(line, '\0', len))
		return false;
	more = realloc(x->fields, x->fields_len + len + 1);
	if (!more)
		return false;
	x->fields = more;
	copy = more + x->fields_len;
	memcpy(copy, line, len);
	copy[len] = '\0';
	x->fields_len += len + 1;
	return note_content_length(x, copy);
}

/* Every response's lines come here, 1xx and trailers included. */
static bool on_line(struct http_exchange *x, const char *line, size_t len) REQUIRES(x->lock)
{
	if (x->has_answer)
		return true; /* a trailer */
	if (len >= 5 && strncmp(line, "HTTP/", 5) == 0) {
		x->status = parse_status(line, len);
		x->fields_len = 0;
		x->content_length = -1;
		return x->status != 0;
	}
	if (len > 0)
		return keep_field(x, line, len);
	x->has_answer = x->status >= 200;
	x->answered_us = x->has_answer ? clock_us() : 0;
	return true;
}

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
	struct http_exchange *x = ctx;
	size_t len = size * count;
	size_t trimmed = len;
	bool good, answered;

	while (trimmed > 0 && strchr("\r\n \t", data[trimmed - 1]) && data[trimmed - 1])
		trimmed--;
	lock_take(&x->lock);
	good = on_line(x, data, trimmed);
	answered = x->has_answer;
	if (!good)
		x->result_fault = HTTP_FAULT_PROTOCOL;
	lock_drop(&x->lock);
	if (answered)
		wake_later(x);
	return good ? len : 0;
}

/* ---- which addresses ---- */

static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct http_exchange *x = ctx;
	enum address_class peer = x->proxy ? x->beyond : x->http->o.tuning.classify(&address->addr);
	int fd;

	(void)purpose;
	if (!(peer & x->allowed)) {
		x->address_refused = true;
		return CURL_SOCKET_BAD;
	}
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

enum address_class http_classify(const struct http *h, const char *ip, int port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};

	if (inet_pton(AF_INET, ip, &in.sin_addr) == 1)
		return h->o.tuning.classify((const struct sockaddr *)&in);
	if (inet_pton(AF_INET6, ip, &in6.sin6_addr) == 1)
		return h->o.tuning.classify((const struct sockaddr *)&in6);
	return ADDRESS_LINK;
}

/* Right before the request goes out, also on a connection that was opened for
 * another one. */
static int on_send(void *ctx, char *peer_ip, char *local_ip, int peer_port, int local_port)
{
	struct http_exchange *x = ctx;
	enum address_class peer = x->proxy ? x->beyond : http_classify(x->http, peer_ip, peer_port);

	(void)local_ip;
	(void)local_port;
	if (!(peer & x->allowed)) {
		x->address_refused = true;
		return CURL_PREREQFUNC_ABORT;
	}
	atomic_fetch_add(&x->http->requests, 1);
	lock_take(&x->lock);
	x->peer = peer;
	x->sent_ms = clock_ms();
	cond_broadcast(&x->cond);
	lock_drop(&x->lock);
	return CURL_PREREQFUNC_OK;
}

/* ---- options ---- */

#define SET(option, value)                                                                         \
	do {                                                                                       \
		if (curl_easy_setopt(x->easy, option, value) != CURLE_OK)                          \
			return -ENOMEM;                                                            \
	} while (0)

static int set_trust(struct http_exchange *x)
{
	const struct http_options *o = &x->http->o;
	struct curl_blob pem = {.flags = CURL_BLOB_NOCOPY};

	/* What is configured of a host says nothing of its token server or storage. */
	bool unverified = o->unverified && x->home;

	SET(CURLOPT_SSL_VERIFYPEER, unverified ? 0L : 1L);
	SET(CURLOPT_SSL_VERIFYHOST, unverified ? 0L : 2L);
	if (x->home && o->home.cert) {
		SET(CURLOPT_SSLCERT, o->home.cert);
		SET(CURLOPT_SSLKEY, o->home.key ? o->home.key : o->home.cert);
	}
	if (o->ca_pem) {
		/* libcurl does not write to it. */
		memcpy(&pem.data, &o->ca_pem, sizeof(pem.data));
		pem.len = strlen(o->ca_pem);
		SET(CURLOPT_CAINFO_BLOB, &pem);
		SET(CURLOPT_CAPATH, CA_DIRECTORY);
		return 0;
	}
	if (o->ca_file) {
		SET(CURLOPT_CAINFO, o->ca_file);
		SET(CURLOPT_CAPATH, CA_DIRECTORY);
		return 0;
	}
	/* A directory would make libcurl load everything for each connection. */
	SET(CURLOPT_CAPATH, NULL);
	if (access(CA_BUNDLE, R_OK) == 0)
		SET(CURLOPT_CAINFO, CA_BUNDLE);
	return 0;
}

int http_io_prepare(struct http_exchange *x)
{
	SET(CURLOPT_URL, x->url);
	SET(CURLOPT_PRIVATE, x);
	SET(CURLOPT_HTTPHEADER, x->headers);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PATH_AS_IS, 1L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_HTTP_CONTENT_DECODING, 0L);
	SET(CURLOPT_PROXY, x->proxy ? x->proxy->url : "");
	SET(CURLOPT_NOPROXY, "");
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(CURLOPT_USERAGENT, "wasmocifs/" WASMOCIFS_VERSION " libcurl/" LIBCURL_VERSION);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_TCP_KEEPIDLE, 30L);
	SET(CURLOPT_TCP_KEEPINTVL, 15L);
	SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
	SET(CURLOPT_LOW_SPEED_TIME, ABANDONED_S);
	/* Else a name that does not resolve would hold up all transfers when
	 * its own is taken down. */
	SET(CURLOPT_QUICK_EXIT, 1L);
	SET(CURLOPT_BUFFERSIZE, x->lane == HTTP_QUESTION ? 16384L : (long)HTTP_PIECE_BYTES);
	SET(CURLOPT_ERRORBUFFER, x->curl_text);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, x);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, x);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	SET(CURLOPT_OPENSOCKETDATA, x);
	SET(CURLOPT_PREREQFUNCTION, on_send);
	SET(CURLOPT_PREREQDATA, x);
	return set_trust(x);
}

/* ---- results ---- */

struct verdict {
	int code;
	enum http_fault fault;
};

static bool is_certificate(CURLcode code)
{
	return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
	       code == CURLE_SSL_CRL_BADFILE || code == CURLE_SSL_ISSUER_ERROR ||
	       code == CURLE_SSL_INVALIDCERTSTATUS || code == CURLE_SSL_CERTPROBLEM ||
	       code == CURLE_SSL_CIPHER || code == CURLE_SSL_PINNEDPUBKEYNOTMATCH ||
	       code == CURLE_SSL_CLIENTCERT;
}

static struct verdict timed_out(struct http_exchange *x, bool sent)
{
	curl_off_t connected_us = 0;

	if (sent)
		return (struct verdict){-ETIMEDOUT, HTTP_FAULT_SILENT};
	curl_easy_getinfo(x->easy, CURLINFO_CONNECT_TIME_T, &connected_us);
	return (struct verdict){-ETIMEDOUT,
				connected_us > 0 ? HTTP_FAULT_TLS_SLOW : HTTP_FAULT_CONNECT_SLOW};
}

/* libcurl has one code for a connection that broke and for bytes that make no sense. */
static bool made_no_sense(const struct http_exchange *x)
{
	return strstr(x->curl_text, "chunked-encoding") || strstr(x->curl_text, "response headers");
}

/* Whether the proxy made no way to the host, and with which status; 0 where it
 * has none. */
static bool no_way(const struct http_exchange *x, CURLcode code, bool sent, long *status)
{
	*status = 0;
	if (!x->proxy || sent || code == CURLE_OK)
		return false;
	curl_easy_getinfo(x->easy, CURLINFO_HTTP_CONNECTCODE, status);
	return code == CURLE_PROXY || *status >= 300;
}

/* 5xx: it could not reach the host either. */
static struct verdict judge_proxy(long status)
{
	if (status == 0 || status >= 500)
		return (struct verdict){-EHOSTUNREACH, HTTP_FAULT_CONNECT};
	return (struct verdict){-EPROTO, HTTP_FAULT_PROXY};
}

/* A server that wants another certificate of ours, or one at all, says so after the
 * handshake, as of TLS 1.3. */
static bool wants_certificate(const struct http_exchange *x)
{
	return strstr(x->curl_text, " alert ") &&
	       (strstr(x->curl_text, "certificate") || strstr(x->curl_text, "unknown ca"));
}

static struct verdict judge(struct http_exchange *x, CURLcode code, bool sent, bool odd)
{
	long status;

	if (code == CURLE_OK)
		return (struct verdict){0, HTTP_FAULT_NONE};
	if (x->address_refused)
		return (struct verdict){-EACCES, HTTP_FAULT_ADDRESS};
	if (odd)
		return (struct verdict){-EPROTO, HTTP_FAULT_PROTOCOL};
	if (no_way(x, code, sent, &status))
		return judge_proxy(status);
	if (is_certificate(code))
		return (struct verdict){-EPROTO, HTTP_FAULT_CERTIFICATE};
	switch ((int)code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return (struct verdict){-EHOSTUNREACH, HTTP_FAULT_RESOLVE};
	case CURLE_COULDNT_CONNECT:
		return (struct verdict){-EHOSTUNREACH, HTTP_FAULT_CONNECT};
	case CURLE_OPERATION_TIMEDOUT:
		return timed_out(x, sent);
	case CURLE_SSL_CONNECT_ERROR:
		return (struct verdict){-EPROTO, HTTP_FAULT_TLS};
	case CURLE_RECV_ERROR:
		if (wants_certificate(x))
			return (struct verdict){-EPROTO, HTTP_FAULT_CERTIFICATE};
		if (made_no_sense(x))
			return (struct verdict){-EPROTO, HTTP_FAULT_PROTOCOL};
		return (struct verdict){-EHOSTUNREACH, HTTP_FAULT_CUT};
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_PARTIAL_FILE:
		return (struct verdict){-EHOSTUNREACH, HTTP_FAULT_CUT};
	case CURLE_OUT_OF_MEMORY:
		/* Also what libcurl says of a header field beyond its limit. */
		if (sent)
			return (struct verdict){-EPROTO, HTTP_FAULT_PROTOCOL};
		return (struct verdict){-ENOMEM, HTTP_FAULT_LOCAL};
	case CURLE_WRITE_ERROR:
	case CURLE_FAILED_INIT:
		return (struct verdict){-ENOMEM, HTTP_FAULT_LOCAL};
	default:
		return (struct verdict){-EPROTO, HTTP_FAULT_PROTOCOL};
	}
}

static int say(struct http_exchange *x, int r, CURLcode code, bool sent, bool odd) REQUIRES(x->lock)
{
	const char *text = x->curl_text[0] ? x->curl_text : curl_easy_strerror(code);
	struct err *err = &x->result_words;
	long status;

	if (x->address_refused)
		return err_set(err, r, "an address that it must not send us to");
	if (odd || (code == CURLE_OUT_OF_MEMORY && r == -EPROTO))
		return err_set(err, r, "header fields that cannot be read, or too many");
	if (no_way(x, code, sent, &status) && status == 407)
		return err_set(err, r, "the proxy %s wants a login (407)", x->proxy->name);
	if (no_way(x, code, sent, &status) && status)
		return err_set(err, r, "the proxy %s: %ld", x->proxy->name, status);
	if (x->proxy)
		return err_set(err, r, "through the proxy %s: %s", x->proxy->name, text);
	return err_set(err, r, "%s", text);
}

static void finish(struct http_exchange *x, CURLcode code)
{
	struct verdict v;
	bool odd;

	x->done = true;
	lock_take(&x->lock);
	odd = x->result_fault == HTTP_FAULT_PROTOCOL;
	v = judge(x, code, x->sent_ms != 0, odd);
	x->result = v.code < 0 ? say(x, v.code, code, x->sent_ms != 0, odd) : 0;
	x->result_fault = v.fault;
	if (x->ended)
		http_count_left(x);
	else
		http_count(x, v.fault);
	x->finished = true;
	cond_broadcast(&x->cond);
	lock_drop(&x->lock);
}

/* ---- the lists ---- */

static void unlink_from(struct http_exchange **list, struct http_exchange *x)
{
	while (*list && *list != x)
		list = &(*list)->next;
	if (*list)
		*list = x->next;
	x->next = NULL;
}

static void drop_active(struct http *h, struct http_exchange *x)
{
	curl_multi_remove_handle(h->multi, x->easy);
	curl_easy_cleanup(x->easy);
	x->easy = NULL;
	unlink_from(&h->active, x);
	x->active = false;
	wake_all(h); /* the list must not outlive x */
}

static void drop_waiting(struct http *h, struct http_exchange *x)
{
	unlink_from(&h->waiting, x);
	h->waiting_end = &h->waiting;
	while (*h->waiting_end)
		h->waiting_end = &(*h->waiting_end)->next;
}

static bool has_slot(const struct http *h, const struct http_exchange *x)
{
	static const unsigned most[] = {[HTTP_QUESTION] = HTTP_QUESTIONS_MAX,
					[HTTP_QUICK] = HTTP_QUICK_MAX,
					[HTTP_TRANSFER] = HTTP_TRANSFERS_MAX};
	unsigned n = 0;

	for (const struct http_exchange *y = h->active; y; y = y->next)
		n += x->lane == y->lane && strcmp(x->origin, y->origin) == 0;
	return n < most[x->lane];
}

static void start_one(struct http *h, struct http_exchange *x)
{
	CURLMcode code = curl_multi_add_handle(h->multi, x->easy);

	if (code != CURLM_OK) {
		finish(x, CURLE_OUT_OF_MEMORY);
		http_exchange_unref(x);
		return;
	}
	x->active = true;
	x->begun_us = clock_us();
	x->next = h->active;
	h->active = x;
	lock_take(&x->lock);
	x->started = true;
	lock_drop(&x->lock);
}

static void start_waiting(struct http *h)
{
	struct http_exchange **at = &h->waiting;

	while (*at) {
		struct http_exchange *x = *at;

		if (!has_slot(h, x)) {
			at = &x->next;
			continue;
		}
		*at = x->next;
		x->next = NULL;
		start_one(h, x);
	}
	h->waiting_end = at;
}

/* Something about x has changed: it is new, was left, or has room again. */
static void attend(struct http *h, struct http_exchange *x)
{
	bool ended, paused;
	CURLcode code;

	if (x->done)
		return;
	lock_take(&x->lock);
	ended = x->ended;
	paused = x->paused;
	lock_drop(&x->lock);
	if (!x->taken) {
		x->taken = true;
		http_exchange_ref(x);
		*h->waiting_end = x;
		h->waiting_end = &x->next;
	}
	if (ended) {
		http_count_left(x);
		if (x->active)
			drop_active(h, x);
		else
			drop_waiting(h, x);
		x->done = true;
		http_exchange_unref(x);
	} else if (x->active && !paused) {
		code = curl_easy_pause(x->easy, CURLPAUSE_CONT);
		if (code == CURLE_OK)
			return;
		finish(x, code);
		drop_active(h, x);
		http_exchange_unref(x);
	}
}

static struct http_exchange *pop_inbox(struct http *h, bool *stopping)
{
	struct http_exchange *x;

	lock_take(&h->lock);
	x = h->inbox;
	if (x) {
		h->inbox = x->inbox_next;
		if (!h->inbox)
			h->inbox_end = &h->inbox;
		x->in_inbox = false;
	}
	*stopping = h->stopping;
	lock_drop(&h->lock);
	return x;
}

static bool take_inbox(struct http *h)
{
	struct http_exchange *x;
	bool stopping;

	while ((x = pop_inbox(h, &stopping))) {
		attend(h, x);
		http_exchange_unref(x);
	}
	return !stopping;
}

static void take_results(struct http *h)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(h->multi, &left))) {
		CURL *easy = message->easy_handle;
		CURLcode code = message->data.result;
		struct http_exchange *x = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &x);
		finish(x, code);
		drop_active(h, x);
		http_exchange_unref(x);
	}
}

void *http_io_main(void *arg)
{
	struct http *h = arg;

	while (take_inbox(h)) {
		int running;

		start_waiting(h);
		curl_multi_perform(h->multi, &running);
		wake_all(h);
		take_results(h);
		start_waiting(h);
		curl_multi_poll(h->multi, NULL, 0, IDLE_POLL_MS, NULL);
	}
	while (h->active) {
		struct http_exchange *x = h->active;

		drop_active(h, x);
		http_exchange_unref(x);
	}
	return NULL;
}
