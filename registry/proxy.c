/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/proxy.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* An IPv4 address as the IPv6 one that carries it. */
struct address {
	uint8_t b[16];
	bool v4;
};

enum bypass_kind { BYPASS_NET, BYPASS_NAME };

struct bypass {
	enum bypass_kind kind;
	struct address net;
	unsigned bits;           /* of net that count */
	char name[URL_HOST_MAX]; /* lower case, begins with '.' */
	bool itself;             /* the name without its '.' too */
	unsigned port;           /* 0: any */
};

struct proxy {
	struct proxy_server https, http; /* url NULL: none */
	bool none;                       /* NO_PROXY=* */
	struct bypass *bypass;
	size_t count;
};

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool parse_address(const char *s, struct address *ret)
{
	memcpy(ret->b, mapped, sizeof(mapped));
	if (inet_pton(AF_INET, s, ret->b + 12) != 1 && inet_pton(AF_INET6, s, ret->b) != 1)
		return false;
	ret->v4 = memcmp(ret->b, mapped, sizeof(mapped)) == 0;
	return true;
}

static bool in_net(const struct address *a, const struct address *net, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (a->v4 != net->v4 || memcmp(a->b, net->b, whole) != 0)
		return false;
	return rest == 0 || (a->b[whole] ^ net->b[whole]) >> (8 - rest) == 0;
}

static bool is_loopback(const struct address *a)
{
	static const struct address v4 = {.b = {[10] = 0xff, [11] = 0xff, [12] = 127}, .v4 = true};
	static const struct address v6 = {.b = {[15] = 1}};

	return in_net(a, &v4, 104) || in_net(a, &v6, 128);
}

/* Decimal digits to the end, not above max. */
static bool parse_number(const char *s, unsigned max, unsigned *ret)
{
	unsigned n = 0;

	if (!*s)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		n = n * 10 + (unsigned)(*s - '0');
		if (n > max)
			return false;
	}
	*ret = n;
	return true;
}

static bool parse_cidr(char *s, struct bypass *b)
{
	char *slash = strchr(s, '/');
	unsigned bits;

	if (!slash)
		return false;
	*slash = '\0';
	/* What is written with a ':' counts its bits as IPv6 does. */
	if (parse_address(s, &b->net) &&
	    parse_number(slash + 1, strchr(s, ':') ? 128 : 32, &bits)) {
		b->kind = BYPASS_NET;
		b->bits = bits + (strchr(s, ':') ? 0 : 96);
		return true;
	}
	*slash = '/';
	return false;
}

/* "HOST:PORT" or "[HOST]:PORT" loses its port, if what stands before the ':'
 * has no other one. Of a port that is no number nothing comes. */
static bool split_port(char **host, unsigned *port)
{
	char *s = *host;
	char *colon = strrchr(s, ':');
	size_t len;

	if (!colon)
		return true;
	len = (size_t)(colon - s);
	if (*s == '[' && len > 1 && colon[-1] == ']') {
		colon[-1] = '\0';
		*host = s + 1;
	} else if (memchr(s, ':', len)) {
		return true; /* an address of IPv6 */
	} else {
		*colon = '\0';
	}
	return parse_number(colon + 1, UINT16_MAX, port) && *port > 0;
}

/* One entry, lower case and without blanks around it. false: it means nothing. */
static bool parse_bypass(char *s, struct bypass *b)
{
	*b = (struct bypass){0};
	if (parse_cidr(s, b))
		return true;
	if (!split_port(&s, &b->port))
		return false;
	if (parse_address(s, &b->net)) {
		b->kind = BYPASS_NET;
		b->bits = 128;
		return true;
	}
	if (s[0] == '*' && s[1] == '.')
		s++;
	b->kind = BYPASS_NAME;
	b->itself = *s != '.';
	if (!*s || strlen(s) + 1 >= sizeof(b->name))
		return false;
	snprintf(b->name, sizeof(b->name), "%s%s", b->itself ? "." : "", s);
	return true;
}

static int add_bypass(struct proxy *p, const char *s, size_t len)
{
	AUTO_FREE char *entry = NULL;

	while (len > 0 && strchr(" \t", *s))
		s++, len--;
	while (len > 0 && strchr(" \t", s[len - 1]))
		len--;
	entry = dup_text(s, len);
	if (!entry)
		return -ENOMEM;
	for (char *c = entry; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	if (strcmp(entry, "*") == 0)
		p->none = true;
	else if (parse_bypass(entry, &p->bypass[p->count]))
		p->count++;
	return 0;
}

static int parse_none(struct proxy *p, const char *s, struct err *err)
{
	size_t entries = 1;

	if (strlen(s) > PROXY_TEXT_MAX)
		return err_set(err, -EACCES, "NO_PROXY is longer than %u bytes", PROXY_TEXT_MAX);
	for (const char *c = s; *c; c++)
		entries += *c == ',';
	if (entries > PROXY_BYPASS_MAX)
		return err_set(err, -EACCES, "NO_PROXY has more than %d entries", PROXY_BYPASS_MAX);
	p->bypass = calloc(entries, sizeof(*p->bypass));
	if (!p->bypass)
		return err_set(err, -ENOMEM, "out of memory");
	while (*s) {
		size_t len = strcspn(s, ",");

		if (add_bypass(p, s, len) < 0)
			return err_set(err, -ENOMEM, "out of memory");
		s += len + (s[len] == ',');
	}
	return 0;
}

/* What libcurl will be given; only it and this file see a password. */
static const char *take_server(CURLU *u, const char *text, struct proxy_server *ret)
{
	char *scheme = NULL, *host = NULL, *port = NULL, *url = NULL;
	const char *why = "it is not written [http://]HOST[:PORT]";

	if (curl_url_set(u, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK)
		goto out;
	if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0 &&
	    strcmp(scheme, "socks5") != 0 && strcmp(scheme, "socks5h") != 0) {
		why = "a proxy is http, https or socks5";
		goto out;
	}
	/* In Go both leave the name to the proxy. */
	if (strcmp(scheme, "socks5") == 0 &&
	    curl_url_set(u, CURLUPART_SCHEME, "socks5h", CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
		goto out;
	if (curl_url_get(u, CURLUPART_PORT, &port, 0) == CURLUE_OUT_OF_MEMORY ||
	    curl_url_get(u, CURLUPART_URL, &url, 0) != CURLUE_OK)
		goto out;
	ret->url = strdup(url);
	if (ret->url)
		snprintf(ret->name, sizeof(ret->name), "%s%s%s", host, port ? ":" : "",
			 port ? port : "");
	why = ret->url ? NULL : "out of memory";
out:
	if (url)
		explicit_bzero(url, strlen(url));
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_free(url);
	return why;
}

static int parse_server(const char *variable, const char *s, struct proxy_server *ret,
			struct err *err)
{
	const char *why = "out of memory";
	char *text = NULL;
	CURLU *u;

	if (!s || !*s)
		return 0;
	if (strlen(s) > PROXY_TEXT_MAX)
		return err_set(err, -EACCES, "%s is longer than %u bytes", variable,
			       PROXY_TEXT_MAX);
	if (asprintf(&text, "%s%s", strstr(s, "://") ? "" : "http://", s) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	u = curl_url();
	if (u)
		why = take_server(u, text, ret);
	curl_url_cleanup(u);
	explicit_bzero(text, strlen(text));
	free(text);
	return why ? err_set(err, -EACCES, "%s in the environment: %s", variable, why) : 0;
}

static const char *either(const char *upper, const char *small)
{
	const char *s = getenv(upper);

	return s && *s ? s : getenv(small);
}

struct proxy_env proxy_env_get(void)
{
	return (struct proxy_env){.https = either("HTTPS_PROXY", "https_proxy"),
				  .http = either("HTTP_PROXY", "http_proxy"),
				  .none = either("NO_PROXY", "no_proxy")};
}

int proxy_new(const struct proxy_env *env, struct proxy **ret, struct err *err)
{
	struct proxy *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_set(err, -ENOMEM, "out of memory");
	r = parse_server("HTTPS_PROXY", env->https, &p->https, err);
	if (r == 0)
		r = parse_server("HTTP_PROXY", env->http, &p->http, err);
	if (r == 0)
		r = parse_none(p, env->none ? env->none : "", err);
	if (r < 0) {
		proxy_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

static void release_server(struct proxy_server *s)
{
	if (s->url)
		explicit_bzero(s->url, strlen(s->url));
	free(s->url);
}

void proxy_free(struct proxy *p)
{
	if (!p)
		return;
	release_server(&p->https);
	release_server(&p->http);
	free(p->bypass);
	free(p);
}

static bool ends_with(const char *s, size_t len, const char *end)
{
	size_t n = strlen(end);

	return len >= n && memcmp(s + len - n, end, n) == 0;
}

static bool is_bypassed(const struct bypass *b, const struct url *u, size_t host_len,
			const struct address *a)
{
	bool is;

	if (b->port && b->port != u->port)
		return false;
	if (b->kind == BYPASS_NET)
		return a && in_net(a, &b->net, b->bits);
	is = b->itself && strlen(b->name + 1) == host_len &&
	     memcmp(b->name + 1, u->host, host_len) == 0;
	return is || ends_with(u->host, host_len, b->name);
}

const struct proxy_server *proxy_for(const struct proxy *p, const struct url *u)
{
	const struct proxy_server *server = p ? (u->https ? &p->https : &p->http) : NULL;
	size_t len = strlen(u->host);
	struct address a;
	bool is_address = parse_address(u->host, &a);

	if (!server || !server->url || p->none)
		return NULL;
	if (len > 0 && u->host[len - 1] == '.')
		len--;
	if (is_address ? is_loopback(&a)
		       : ends_with(u->host, len, ".localhost") ||
			     (len == 9 && memcmp(u->host, "localhost", 9) == 0))
		return NULL;
	for (size_t i = 0; i < p->count; i++)
		if (is_bypassed(&p->bypass[i], u, len, is_address ? &a : NULL))
			return NULL;
	return server;
}
