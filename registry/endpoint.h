/* SPDX-License-Identifier: Apache-2.0 */
/* endpoint — hosts that may be asked in a registry's name, as configuration has
 * them: mirrors in their order, then who has the last word. Layer: registry/,
 * internal; no I/O. */
#pragma once

#include "base/names.h"
#include "registry/url.h"

#define ENDPOINTS_MAX       32 /* in one list */
#define ENDPOINT_FILES_MAX  32 /* of certificates; and pairs */

#define ENDPOINT_GROUPS_MAX 32 /* of one registry */

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
	bool insecure; /* skip_verify, and plain HTTP where there is no TLS */
	bool own_port; /* no port was written: it is the scheme's */
	/* A repository below the first is below the second there; NULL: the same. */
	char *repo_prefix, *repo_base;
	bool by_namespace;           /* told the registry's name (ns=), if it is another's */
	struct names ca;             /* files to trust beside the system's */
	struct names headers;        /* registry/header_field.h */
	struct endpoint_pair *pairs; /* to show to it; of several the first */
	size_t pair_count;
	int64_t dial_ms; /* 0: the usual */
};

struct endpoint_list {
	struct endpoint *v; /* the last one is the origin, or stands for it */
	size_t n;
};

/* Those for the repositories below a path; the longest path counts. */
struct endpoint_group {
	char *path;                /* "" for all */
	char *prefix;              /* as it is written; NULL: by no registries.conf */
	bool wild;                 /* it is "*.DOMAIN" */
	char *blocked;             /* the file that forbids them, or NULL */
	struct endpoint_list list; /* of one that is blocked it may be empty */
};

struct endpoint_groups {
	struct endpoint_group *v;
	size_t n;
	struct names helpers; /* where logins are looked for: credentials_find */
	bool named;           /* a directory of hosts bears the registry's name */
};

/* A new one at the end. NULL: no memory. */
struct endpoint_group *endpoint_group_add(struct endpoint_groups *groups);
void endpoint_group_release(struct endpoint_group *g); /* empties it */
void endpoint_groups_release(struct endpoint_groups *groups);

/* A new one at the end. NULL: too many, or no memory. */
struct endpoint *endpoint_add(struct endpoint_list *l);
void endpoint_list_release(struct endpoint_list *l);
/* "https://host:5000/path" or "host:5000/path": sets url and api. override: the
 * path is the root of the API; else "/v2" is added where it does not end so.
 * -EINVAL, -ENOMEM. */
NODISCARD int endpoint_set_url(struct endpoint *e, const char *s, bool override);
/* Takes over both; key may be NULL. -EFBIG, -ENOMEM. */
NODISCARD int endpoint_add_pair(struct endpoint *e, char *cert, char *key);
