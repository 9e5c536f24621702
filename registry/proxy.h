/* SPDX-License-Identifier: Apache-2.0 */
/* proxy — which proxy a request goes through, by the rules that Go programs
 * follow (golang.org/x/net/http/httpproxy). Layer: registry/, internal; no I/O
 * but a look at the environment.
 *
 * HTTPS_PROXY is for https, HTTP_PROXY for http; NO_PROXY lists who is asked
 * directly: "*", HOST[:PORT] with all hosts below it, ".HOST" with only those,
 * an address, or a CIDR. Names in capitals count before those in small letters.
 * localhost, names below it, and loopback addresses are always asked directly.
 * A proxy is http, https or socks5, and http where no scheme is written.
 *
 * libcurl's own rules are others (http_proxy in small letters only, no ports,
 * no loopback), so it is told for each request.
 *
 * Threads: proxy_for from any thread.
 */
#pragma once

#include "base/err.h"
#include "registry/url.h"

#define PROXY_TEXT_MAX   (16u << 10) /* of one variable: bytes */
#define PROXY_BYPASS_MAX 1024        /* entries of NO_PROXY */

/* NULL or "": not set. */
struct proxy_env {
	const char *https, *http, *none;
};

struct proxy_server {
	char *url;                 /* for libcurl: may hold a password */
	char name[URL_ORIGIN_MAX]; /* for people: "proxy.example:3128" */
};

struct proxy;

struct proxy_env proxy_env_get(void);
/* Copies. -EACCES: no proxy's URL; the text names the variable and never quotes
 * it. -ENOMEM. */
NODISCARD int proxy_new(const struct proxy_env *env, struct proxy **ret, struct err *err);
void proxy_free(struct proxy *p); /* NULL is fine */
/* NULL: directly. Borrowed from p, which may be NULL: always directly. */
const struct proxy_server *proxy_for(const struct proxy *p, const struct url *u);
