/* SPDX-License-Identifier: Apache-2.0 */
/* client — questions to one registry, with all that stands around them: the
 * scheme, logging in, redirects, retries, and whether the host answers at all.
 * Layer: registry/, internal. Knows no manifests and no blobs.
 *
 * Calling sequence: client_ask, look at the answer, answer_release. A failure
 * names the host; a status that is no success becomes an error only by
 * client_refusal, since callers know more than one kind of success.
 *
 * Threads: any.
 */
#pragma once

#include <stdatomic.h>

#include "base/descriptor.h"
#include "registry/auth.h"
#include "registry/health.h"
#include "registry/reference.h"
#include "registry/transport.h"

/* What tests want otherwise; zeros are the defaults. */
struct client_tuning {
	struct http_tuning http;
	int64_t retry_base_ms;
	int64_t down_ms;
	int64_t skew_ms;
	int64_t probe_ms; /* for TLS where there may be none */
};

enum client_scheme { CLIENT_SCHEME_UNKNOWN, CLIENT_HTTPS, CLIENT_HTTP };

struct client {
	struct http *http;
	struct auth *auth;
	struct health health;
	struct client_tuning tuning;
	char host[256]; /* to connect to */
	unsigned port;  /* 0: the scheme's */
	bool https, http_too;
	char title[URL_ORIGIN_MAX];       /* for people */
	char origin[URL_ORIGIN_MAX + 32]; /* key of what is remembered */
	atomic_int scheme;                /* enum client_scheme */
};

struct question {
	const char *method; /* "GET", "HEAD" */
	const char *target; /* path and query: "/v2/…" */
	const char *repo;   /* "" for the catalog */
	const char *accept;
	const char *if_none_match; /* NULL, or the ETag with its quotes */
	bool ranged;               /* bytes first to last, inclusive */
	uint64_t first, last;
	size_t body_max; /* of a success: read whole, or if 0 left to be streamed */
	bool plain_500;  /* a 500 is an answer like any other */
};

struct answer {
	int status;
	bool foreign; /* given by where the registry sent us */
	struct url url;
	struct http_exchange *x; /* streamed only */
	char *body;              /* else; NUL-terminated */
	size_t body_len;
	char media_type[MEDIA_TYPE_MAX]; /* without parameters; "" if not told or too long */
	char *digest;                    /* Docker-Content-Digest, or NULL */
	char *content_range;             /* or NULL */
	char *link;                      /* or NULL */
	bool encoded;                    /* Content-Encoding */
	int64_t content_length;          /* -1: not told */
};

/* All borrowed for the client's life, but for what is copied. */
struct client_options {
	const struct source_spec *spec; /* copied; docker.io is asked at registry-1.docker.io */
	const char *auth_file;          /* as in struct source_options */
	const char *ca_file;
	const struct proxy *proxy;
	struct client_tuning tuning; /* copied */
};

/* -ENOMEM. */
NODISCARD int client_new(const struct client_options *o, struct client **ret);
void client_free(struct client *c); /* NULL is fine */

/* 0: an answer of any status that another try would not change. Always
 * answer_release, also after a failure. Errors: registry/source.h. */
NODISCARD int client_ask(struct client *c, const struct question *q, struct call *call,
			 struct answer *ret, struct err *err);
void answer_release(struct answer *a);
/* The errno and the words of a status that is none of the caller's successes. */
int client_refusal(const struct client *c, const struct question *q, const struct answer *a,
		   struct err *err);
