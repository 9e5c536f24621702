/* SPDX-License-Identifier: Apache-2.0 */
/* client — questions to one registry, with all that stands around them: the
 * scheme, logging in, redirects, retries, and whether the host answers at all.
 * Layer: registry/, internal. Knows no manifests and no blobs.
 *
 * Calling sequence: client_ask, look at the answer, answer_release. A failure
 * names the host; a status that is no success becomes an error only by
 * client_refusal, since callers know more than one kind of success.
 *
 * A registry is one client, or several of which one is the origin:
 * registry/endpoints.h. A mirror is tried once for each question, since there is
 * somebody else to ask.
 *
 * Threads: any.
 */
#pragma once

#include <stdatomic.h>

#include "base/descriptor.h"
#include "registry/auth.h"
#include "registry/endpoint.h"
#include "registry/health.h"
#include "registry/reference.h"
#include "registry/transport.h"
#include "registry/warnings.h"

/* Nobody needs it, so it is not tried again as soon as an origin is. */
#define CLIENT_MIRROR_DOWN_MS 30000

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
	struct warnings warnings;
	struct client_tuning tuning;
	const struct endpoint *endpoint; /* borrowed */
	bool mirror;
	char host[URL_HOST_MAX]; /* to connect to */
	unsigned port;           /* 0: the scheme's */
	bool https, http_too;
	const char *api;                   /* what stands for "/v2" of a question's target */
	char ns[URL_HOST_MAX * 3 + 16];    /* "ns=…" to add to the query, or "" */
	char *pem;                         /* certificates to trust, or NULL */
	char title[URL_ORIGIN_MAX];        /* for people, and for credentials */
	atomic_int scheme;                 /* enum client_scheme */
	bool public_only;                  /* as long as no file of credentials names the host */
	atomic_bool admitted;              /* one does */
	_Atomic int64_t distrust_until_ms; /* a mirror that gave wrong bytes */
};

struct question {
	const char *method; /* "GET", "HEAD" */
	const char *target; /* path and query: "/v2/…" */
	unsigned need;      /* what a mirror must be able to do, ENDPOINT_…; 0: none may answer */
	uint32_t skip;      /* endpoints that are not asked, 1 << their number */
	const char *repo;   /* "" for the catalog */
	const char *accept;
	const char *if_none_match; /* NULL, or the ETag with its quotes */
	const char *if_range;      /* NULL, or the ETag that a part is to be of */
	bool ranged;               /* bytes first to last, inclusive */
	uint64_t first, last;
	bool quick;      /* streamed, and little: it does not wait behind what is much */
	size_t body_max; /* of a success: read whole, or if 0 left to be streamed */
	bool anonymous;  /* a page beside the API: nobody logs in, and no login is shown */
	bool plain_500;  /* a 500 is an answer like any other */
	bool in_passing; /* with less time than is due: silence is not held against the host */
};

struct answer {
	const struct client *from;
	unsigned number; /* of that endpoint */
	int status;
	bool foreign; /* given by where the registry sent us */
	bool login;   /* of a failure: it is of logging in */
	struct url url;
	struct http_exchange *x; /* streamed only */
	char *body;              /* else; NUL-terminated */
	size_t body_len;
	char media_type[MEDIA_TYPE_MAX]; /* without parameters; "" if not told or too long */
	char *digest;                    /* Docker-Content-Digest, or NULL */
	char *content_range;             /* or NULL */
	char *link;                      /* or NULL */
	char *etag;                      /* or NULL */
	bool encoded;                    /* Content-Encoding */
	bool challenged;                 /* WWW-Authenticate */
	int64_t content_length;          /* -1: not told */
};

/* All borrowed for the client's life, but for what is copied. */
struct client_options {
	/* docker.io is asked at registry-1.docker.io, unless the endpoint says where. */
	const struct source_spec *spec; /* copied */
	const struct endpoint *endpoint;
	bool mirror;
	const char *auth_file; /* as in struct source_options */
	const char *ca_file;
	const struct names *helpers; /* of registries.conf */
	const struct proxy *proxy;
	bool public_only; /* as in struct source_options; a host of an endpoint's own is named */
	struct client_tuning tuning; /* copied */
};

/* -EACCES: a file of certificates. -ENOMEM. */
NODISCARD int client_new(const struct client_options *o, struct client **ret, struct err *err);
void client_free(struct client *c); /* NULL is fine */

/* 0: an answer of any status that another try would not change. Always
 * answer_release, also after a failure. Errors: registry/source.h. */
NODISCARD int client_ask(struct client *c, const struct question *q, struct call *call,
			 struct answer *ret, struct err *err);
void answer_release(struct answer *a);
/* -EACCES, with what can be done for a host that nothing names. */
int client_kept_out(const char *title, struct err *err);
/* The errno and the words of a status that is none of the caller's successes. */
int client_refusal(const struct question *q, const struct answer *a, struct err *err);
/* How this client's host knows a repository. -ENAMETOOLONG. */
NODISCARD int client_repository(const struct client *c, const char *repo, char ret[REPOSITORY_MAX]);
/* The target of a question that a URL of this client's host stands for: a page's
 * link has the root of its API in it, and names the repository as the host does. New; NULL: no
 * memory. */
char *client_target(const struct client *c, const struct url *u);
