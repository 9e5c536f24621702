/* SPDX-License-Identifier: Apache-2.0 */
/* url — http and https URLs, taken apart and resolved (RFC 3986). Layer:
 * registry/, internal; no I/O. The grammar is libcurl's own, so that what is
 * judged here is what libcurl will connect to.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

#define URL_HOST_MAX   256
#define URL_ORIGIN_MAX (URL_HOST_MAX + 24)
#define URL_MAX        (16u << 10) /* bytes; signed URLs have up to some 2 KiB */

struct url {
	char *text; /* the whole, without fragment; owned */
	bool https;
	char host[URL_HOST_MAX]; /* lower case; an IPv6 address without brackets */
	unsigned port;           /* never 0 */
	const char *target;      /* path and query, inside text; begins with '/' */
};

/* -EINVAL: not absolute, not http(s), with user info or an IPv6 zone, or not
 * grammatical. -ENOMEM. On failure *ret is untouched. Spaces and bytes beyond
 * ASCII are percent-encoded, all else is kept as it is. */
NODISCARD int url_parse(const char *s, struct url *ret);
/* A reference of any form, seen from base. */
NODISCARD int url_resolve(const struct url *base, const char *reference, struct url *ret);
/* From parts that are valid; target begins with '/'. */
NODISCARD int url_make(bool https, const char *host, unsigned port, const char *target,
		       struct url *ret);
void url_release(struct url *u); /* of a zeroed one too */

/* Scheme, host and port: what credentials belong to. */
bool url_same_origin(const struct url *a, const struct url *b);
/* "https://host:443" */
void url_origin(const struct url *u, char out[URL_ORIGIN_MAX]);
/* "host" or "host:port" where the port is not the scheme's, for people. */
void url_authority(const struct url *u, char out[URL_ORIGIN_MAX]);
/* Bytes of target before the query: the query may hold a signature. */
int url_path_len(const struct url *u);
