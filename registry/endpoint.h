/* SPDX-License-Identifier: Apache-2.0 */
/* endpoint — hosts that may be asked in a registry's name, as configuration has
 * them: mirrors in their order, then who has the last word. Layer: registry/,
 * internal; no I/O. */
#pragma once

#include "base/names.h"
#include "registry/url.h"

#define ENDPOINTS_MAX        32   /* in one list */
#define ENDPOINT_FILES_MAX   32   /* of certificates; and pairs */
#define ENDPOINT_HEADERS_MAX 32   /* of one endpoint */
#define ENDPOINT_HEADER_MAX  8192 /* of one line: bytes */

/* What it may be asked for. */
#define ENDPOINT_PULL    1u /* what has a digest */
#define ENDPOINT_RESOLVE 2u /* what a tag names */

struct endpoint_pair {
	char *cert, *key; /* files; key NULL: it is in cert's */
};

struct endpoint {
	struct url url; /* text NULL: the registry itself, at its own address */
	char *api;      /* root of the API, as "/v2"; ends in no '/'; NULL with url.text */
	unsigned capabilities;
	bool skip_verify;
	bool by_namespace;    /* told the registry's name (ns=), if it is another's */
	struct names ca;      /* files to trust beside the system's */
	struct names headers; /* "Name: value", or "Name;" of an empty one */
	struct endpoint_pair *pairs;
	size_t pair_count;
	int64_t dial_ms; /* 0: the usual */
};

struct endpoint_list {
	struct endpoint *v; /* the last one is the origin, or stands for it */
	size_t n;
};

/* A new one at the end. NULL: too many, or no memory. */
struct endpoint *endpoint_add(struct endpoint_list *l);
void endpoint_list_release(struct endpoint_list *l);
/* "https://host:5000/path" or "host:5000/path": sets url and api. override: the
 * path is the root of the API; else "/v2" is added where it does not end so.
 * -EINVAL, -ENOMEM. */
NODISCARD int endpoint_set_url(struct endpoint *e, const char *s, bool override);
/* Takes over both; key may be NULL. -EFBIG, -ENOMEM. */
NODISCARD int endpoint_add_pair(struct endpoint *e, char *cert, char *key);
