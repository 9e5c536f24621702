/* SPDX-License-Identifier: Apache-2.0 */
/* The callers' side: options of a transfer, and waiting for it. */
#include "registry/http.h"
#include "registry/host_name.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "registry/header_field.h"
#include "registry/http_impl.h"
#include "registry/park.h"
#include "registry/retry.h"
#include "registry/source.h"

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_once_result;

static void init_curl(void)
{
	curl_once_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

int http_new(const struct http_options *o, struct http **ret)
{
	struct http *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->o = *o;
	if (!h->o.tuning.answer_ms)
		h->o.tuning.answer_ms = HTTP_ANSWER_MS;
	if (!h->o.tuning.slow_ms)
		h->o.tuning.slow_ms = SOURCE_SLOW_S * 1000;
	if (!h->o.tuning.classify)
		h->o.tuning.classify = address_class;
	atomic_init(&h->allowed, o->allowed ? o->allowed : ADDRESS_ANY);
	lock_init(&h->lock);
	h->inbox_end = &h->inbox;
	h->waiting_end = &h->waiting;
	*ret = h;
	return 0;
}

void http_allow(struct http *h, unsigned allowed)
{
	atomic_store(&h->allowed, allowed);
}

void http_free(struct http *h)
{
	bool running;

	if (!h)
		return;
	lock_take(&h->lock);
	h->stopping = true;
	running = h->running;
	lock_drop(&h->lock);
	if (running) {
		curl_multi_wakeup(h->multi);
		pthread_join(h->thread, NULL);
		curl_multi_cleanup(h->multi);
	}
	lock_release(&h->lock);
	free(h);
}

uint64_t http_requests(const struct http *h)
{
	return atomic_load(&h->requests);
}

uint64_t http_bytes(const struct http *h)
{
	return atomic_load(&h->bytes);
}

static int start_thread(struct http *h, struct err *err) REQUIRES(h->lock)
{
	sigset_t all, before;
	int r;

	if (h->running)
		return 0;
	h->multi = curl_multi_init();
	if (!h->multi)
		return err_set(err, -ENOMEM, "cannot set up HTTP: out of memory");
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, 2L * HTTP_HOST_MAX);
	curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	/* Signals are for the program's own threads; SIGPIPE above all is none. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&h->thread, NULL, http_io_main, h);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0) {
		curl_multi_cleanup(h->multi);
		h->multi = NULL;
		return err_errno(err, -EIO, "cannot start the HTTP thread");
	}
	h->running = true;
	return 0;
}

void http_post(struct http_exchange *x)
{
	struct http *h = x->http;
	bool posted = false;

	lock_take(&h->lock);
	if (!x->in_inbox && !h->stopping) {
		x->in_inbox = true;
		x->inbox_next = NULL;
		*h->inbox_end = x;
		h->inbox_end = &x->inbox_next;
		http_exchange_ref(x);
		posted = true;
	}
	lock_drop(&h->lock);
	if (posted)
		curl_multi_wakeup(h->multi);
}

void http_exchange_ref(struct http_exchange *x)
{
	atomic_fetch_add(&x->refs, 1);
}

void http_exchange_unref(struct http_exchange *x)
{
	if (atomic_fetch_sub(&x->refs, 1) != 1)
		return;
	curl_easy_cleanup(x->easy);
	curl_slist_free_all(x->headers);
	for (size_t i = 0; i < HTTP_PIECES; i++)
		free(x->ring[i].bytes);
	free(x->fields);
	if (x->body)
		explicit_bzero(x->body, strlen(x->body));
	free(x->body);
	free(x->url);
	cond_release(&x->cond);
	lock_release(&x->lock);
	free(x);
}

static int add_header(struct http_exchange *x, const char *line)
{
	struct curl_slist *more = curl_slist_append(x->headers, line);

	if (!more)
		return -ENOMEM;
	x->headers = more;
	return 0;
}

static bool is_home(const struct http_home *home, const struct url *u)
{
	unsigned port = home->port ? home->port : u->https ? 443 : 80;

	return home->host && strcmp(home->host, u->host) == 0 && port == u->port &&
	       (u->https ? home->https : home->http);
}

static int add_home_headers(struct http_exchange *x, const struct http_request *q)
{
	const struct names *all = x->http->o.home.headers;

	for (size_t i = 0; all && i < all->n; i++) {
		const char *const *own = q->headers;

		while (own && *own && !header_field_same(*own, all->v[i]))
			own++;
		if ((!own || !*own) && add_header(x, all->v[i]) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int set_up(struct http_exchange *x, const struct http_request *q)
{
	if (add_header(x, "Accept-Encoding: identity") < 0 || add_header(x, "Expect:") < 0)
		return -ENOMEM;
	for (const char *const *line = q->headers; line && *line; line++)
		if (add_header(x, *line) < 0)
			return -ENOMEM;
	if (x->home && add_home_headers(x, q) < 0)
		return -ENOMEM;
	x->easy = curl_easy_init();
	x->url = strdup(q->url->text);
	x->body = q->body ? strdup(q->body) : NULL;
	if (!x->easy || !x->url || (q->body && !x->body))
		return -ENOMEM;
	if (strcmp(q->method, "HEAD") == 0) {
		if (curl_easy_setopt(x->easy, CURLOPT_NOBODY, 1L) != CURLE_OK)
			return -ENOMEM;
	} else if (q->body) {
		if (curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, x->body) != CURLE_OK)
			return -ENOMEM;
	}
	if (curl_easy_setopt(x->easy, CURLOPT_CONNECTTIMEOUT_MS,
			     (long)(q->connect_ms ? q->connect_ms : HTTP_CONNECT_MS)) != CURLE_OK)
		return -ENOMEM;
	return http_io_prepare(x);
}

/* A proxy's own address says nothing of who is behind it. */
static void choose_proxy(struct http_exchange *x, const struct url *url)
{
	struct in6_addr ip;
	char host[URL_HOST_MAX];
	size_t len = strlen(url->host);

	/* With a dot at its end, which a proxy may cut off, it is an address still. */
	while (len > 0 && url->host[len - 1] == '.')
		len--;
	snprintf(host, sizeof(host), "%.*s", (int)len, url->host);
	bool is_ip = inet_pton(AF_INET, host, &ip) == 1 || inet_pton(AF_INET6, host, &ip) == 1;

	x->proxy = proxy_for(x->http->o.proxy, url);
	if (!x->proxy)
		return;
	x->beyond = is_ip ? http_classify(x->http, host, (int)url->port) : ADDRESS_PUBLIC;
	/* The proxy looks the name up. Where nobody named the host, one that means something
	 * in its network only is not for it to find. */
	if (!is_ip && atomic_load(&x->http->allowed) == ADDRESS_PUBLIC &&
	    !host_name_is_global(host))
		x->beyond = ADDRESS_PRIVATE;
}

int http_start(struct http *h, const struct http_request *q, struct http_exchange **ret,
	       struct err *err)
{
	struct http_exchange *x;
	int r;

	pthread_once(&curl_once, init_curl);
	if (curl_once_result != CURLE_OK)
		return err_set(err, -EIO, "cannot set up HTTP: %s",
			       curl_easy_strerror(curl_once_result));
	x = calloc(1, sizeof(*x));
	if (!x)
		return err_set(err, -ENOMEM, "out of memory");
	x->http = h;
	x->refs = 1;
	x->lane = q->lane;
	x->allowed = (q->allowed ? q->allowed : ADDRESS_ANY) & atomic_load(&h->allowed);
	x->content_length = -1;
	x->pace = &x->own_pace;
	url_origin(q->url, x->origin);
	x->home = is_home(&h->o.home, q->url);
	choose_proxy(x, q->url);
	lock_init(&x->lock);
	cond_init(&x->cond);
	r = set_up(x, q);
	if (r < 0) {
		err_set(err, r, "out of memory");
	} else {
		lock_take(&h->lock);
		r = start_thread(h, err);
		lock_drop(&h->lock);
	}
	if (r < 0) {
		http_exchange_unref(x);
		return r;
	}
	http_post(x);
	*ret = x;
	return 0;
}

static bool was_sent(const void *ctx)
{
	const struct http_exchange *x = ctx;

	return x->sent_ms || x->has_answer || x->finished;
}

static bool was_answered(const void *ctx)
{
	const struct http_exchange *x = ctx;

	return x->has_answer || x->finished;
}

static bool has_body(const void *ctx)
{
	const struct http_exchange *x = ctx;

	return x->reading < x->filling || x->ring[x->filling % HTTP_PIECES].len > 0 || x->finished;
}

/* The call has ended: silence of a host that we were talking to is its fault. */
static int call_ended(struct http_exchange *x, int code)
{
	bool silent;

	lock_take(&x->lock);
	silent = x->started && !x->has_answer;
	lock_drop(&x->lock);
	x->fault = code == -ETIMEDOUT && silent ? HTTP_FAULT_SILENT : HTTP_FAULT_CALL;
	return code;
}

static int give_result(struct http_exchange *x, struct err *err)
{
	x->fault = x->result_fault;
	return x->result < 0 ? err_set(err, x->result, "%s", x->result_words.text) : 0;
}

int http_headers(struct http_exchange *x, struct call *call, struct err *err)
{
	int64_t sent_ms;
	bool has_answer;
	int r = park(&x->lock, &x->cond, was_sent, x, call, INT64_MAX, err);

	if (r < 0)
		return call_ended(x, r);
	lock_take(&x->lock);
	sent_ms = x->sent_ms;
	lock_drop(&x->lock);
	r = park(&x->lock, &x->cond, was_answered, x, call, sent_ms + x->http->o.tuning.answer_ms,
		 err);
	if (r < 0)
		return call_ended(x, r);
	if (r == 0) {
		x->fault = HTTP_FAULT_SILENT;
		return err_set(err, -ETIMEDOUT, "no answer within %lld s",
			       (long long)(x->http->o.tuning.answer_ms / 1000));
	}
	lock_take(&x->lock);
	has_answer = x->has_answer;
	lock_drop(&x->lock);
	/* Of plain http the proxy's own answers look like the host's. */
	if (has_answer && x->proxy && x->status == 407) {
		x->fault = HTTP_FAULT_PROXY;
		return err_set(err, -EPROTO, "the proxy %s wants a login (407)", x->proxy->name);
	}
	if (has_answer)
		return 0;
	r = give_result(x, err);
	return r < 0 ? r : err_set(err, -EPROTO, "no answer");
}

/* Gives the piece that was handed out last back to the ring. */
static bool release_piece(struct http_exchange *x) REQUIRES(x->lock)
{
	if (x->released < x->reading) {
		x->ring[x->released % HTTP_PIECES].len = 0;
		x->released++;
	}
	if (!x->paused || x->filling - x->released > HTTP_PIECES / 2)
		return false;
	x->paused = false;
	return true;
}

static int64_t take_piece(struct http_exchange *x, const void **data) REQUIRES(x->lock)
{
	struct piece *p;

	if (x->reading == x->filling) {
		if (x->ring[x->filling % HTTP_PIECES].len == 0)
			return 0;
		x->filling++;
	}
	p = &x->ring[x->reading++ % HTTP_PIECES];
	*data = p->bytes;
	return (int64_t)p->len;
}

void http_keep_pace(struct http_exchange *x, struct http_pace *pace, bool again)
{
	int64_t sent_ms;

	lock_take(&x->lock);
	sent_ms = x->sent_ms;
	lock_drop(&x->lock);
	if (again && sent_ms)
		pace->ms += clock_ms() - sent_ms;
	x->pace = pace;
}

static int too_slow(struct http_exchange *x, struct err *err)
{
	x->fault = HTTP_FAULT_SLOW;
	return err_set(err, -ETIMEDOUT, "less than %u KiB/s for %lld s", SOURCE_SLOW_BYTES_S >> 10,
		       (long long)(x->http->o.tuning.slow_ms / 1000));
}

/* Waits for more, as long as the transfer is not below the lowest speed. */
static int wait_for_body(struct http_exchange *x, struct call *call, struct err *err)
{
	int64_t slow_ms = x->http->o.tuning.slow_ms;
	int64_t began_ms = clock_ms();
	int r = park(&x->lock, &x->cond, has_body, x, call, began_ms + slow_ms - x->pace->ms, err);

	if (r < 0)
		return call_ended(x, r);
	x->pace->ms += clock_ms() - began_ms;
	return r == 0 ? too_slow(x, err) : 0;
}

static void count_body(struct http_exchange *x, size_t n)
{
	int64_t slow_ms = x->http->o.tuning.slow_ms;

	x->pace->bytes += n;
	if (x->pace->bytes >= SOURCE_SLOW_BYTES_S * (uint64_t)slow_ms / 1000)
		*x->pace = (struct http_pace){0};
}

int64_t http_read(struct http_exchange *x, struct call *call, const void **data, struct err *err)
{
	if (x->pace->ms >= x->http->o.tuning.slow_ms)
		return too_slow(x, err);
	for (;;) {
		bool resume, finished;
		int64_t n;
		int r = call_check(call, err);

		if (r < 0)
			return call_ended(x, r);
		lock_take(&x->lock);
		resume = release_piece(x);
		n = take_piece(x, data);
		finished = x->finished;
		lock_drop(&x->lock);
		if (resume)
			http_post(x);
		if (n > 0) {
			count_body(x, (size_t)n);
			return n;
		}
		if (finished)
			return give_result(x, err);
		r = wait_for_body(x, call, err);
		if (r < 0)
			return r;
	}
}

void http_end(struct http_exchange *x)
{
	bool finished;

	if (!x)
		return;
	lock_take(&x->lock);
	x->ended = true;
	finished = x->finished;
	lock_drop(&x->lock);
	if (!finished)
		http_post(x);
	http_exchange_unref(x);
}

enum http_fault http_fault(const struct http_exchange *x)
{
	return x->fault;
}

int http_status(const struct http_exchange *x)
{
	return x->status;
}

int64_t http_content_length(const struct http_exchange *x)
{
	return x->content_length;
}

enum address_class http_peer(const struct http_exchange *x)
{
	return x->peer;
}

bool http_is_of_this_machine(const struct http_exchange *x)
{
	/* What a proxy, wherever it runs, calls loopback is its own. */
	return !x->proxy && x->peer == ADDRESS_LOOPBACK;
}

int http_field(const struct http_exchange *x, const char *name, char **ret)
{
	size_t name_len = strlen(name);
	char *all = NULL;

	*ret = NULL;
	for (size_t at = 0; at < x->fields_len; at += strlen(x->fields + at) + 1) {
		const char *line = x->fields + at;
		char *more;

		if (strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
			continue;
		line += name_len + 1;
		line += strspn(line, " \t");
		if (asprintf(&more, "%s%s%s", all ? all : "", all ? ", " : "", line) < 0) {
			free(all);
			return -ENOMEM;
		}
		free(all);
		all = more;
	}
	*ret = all;
	return 0;
}

int http_retry_after(const struct http_exchange *x, int64_t *ret_ms)
{
	AUTO_FREE char *after = NULL, *date = NULL;
	int r = http_field(x, "Retry-After", &after);

	if (r == 0)
		r = http_field(x, "Date", &date);
	*ret_ms = r == 0 && after ? retry_after_ms(after, date, clock_wall_ms()) : -1;
	return r;
}
