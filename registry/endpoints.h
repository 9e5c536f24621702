/* SPDX-License-Identifier: Apache-2.0 */
/* endpoints — the hosts that a registry is asked at: its mirrors in the order of
 * the configuration, and the origin, which is asked last and whose word counts.
 * Layer: registry/, internal.
 *
 * A mirror is asked for what it may be asked for, unless it is known to be down,
 * or gave bytes a while ago that were wrong. What it does not have, refuses, or
 * fails at is asked of the next. So absence is the origin's word alone, and where
 * the origin cannot be asked, the error is that of the host that got furthest:
 * a refusal says more than a host that is not there.
 *
 * Namespaces may have hosts of their own, or be forbidden: -EACCES.
 *
 * A mirror may use half of the time that is left, so that others have some too.
 *
 * Threads: any; endpoints_free when all others have returned.
 */
#pragma once

#include "registry/client.h"
#include "registry/endpoint_files.h"

/* How long a mirror that gave wrong bytes is not asked. */
#define ENDPOINTS_DISTRUST_MS (10 * 60 * 1000)

/* The clients of one endpoint_group. */
struct endpoint_set {
	struct client **v; /* the last one has the last word */
	size_t n;
};

struct endpoints {
	struct endpoint_groups groups;
	struct endpoint_set *sets;        /* of each group; the first has the origin */
	bool near;                        /* only credentials can admit it */
	bool several;                     /* somebody else than the origin may answer */
	char title[URL_ORIGIN_MAX];       /* the registry's, for people */
	char origin[URL_ORIGIN_MAX + 32]; /* key of what is remembered of it */
};

/* All borrowed for life, but for what is copied. */
struct endpoints_options {
	const struct source_spec *spec;     /* copied */
	const struct endpoint_roots *roots; /* only looked at now */
	const char *auth_file, *ca_file;
	bool public_only; /* as in struct source_options */
	const struct proxy *proxy;
	const struct client_tuning *tuning; /* NULL, or copied */
};

/* -EACCES: configuration that cannot be understood. -ENOMEM. */
NODISCARD int endpoints_new(const struct endpoints_options *o, struct endpoints **ret,
			    struct err *err);
void endpoints_free(struct endpoints *e); /* NULL is fine */

/* As client_ask, of those that q->need and q->skip leave: a mirror's answer is a
 * success (or 304 where it may be), the origin's of any status. ret->from and
 * ret->number tell whose it is. */
NODISCARD int endpoints_ask(struct endpoints *e, const struct question *q, struct call *call,
			    struct answer *ret, struct err *err);
/* The numbers of the mirrors of a repository, as bits. */
uint32_t endpoints_mirrors_of(const struct endpoints *e, const char *repo);
/* What these mirrors (1 << number) gave of a repository did not match its digest. */
void endpoints_distrust(struct endpoints *e, const char *repo, uint32_t mirrors);

/* Whether who may be asked of this repository is asked over TLS whose certificate is checked, or
 * is this machine. */
bool endpoints_are_trusted(const struct endpoints *e, const char *repo);

/* As source_down: nobody is left who may answer. */
int endpoints_down(struct endpoints *e, struct err *err);
/* The origin's, with the requests and bytes of all. */
void endpoints_health(struct endpoints *e, struct source_health *ret);
/* As source_mirrors. */
size_t endpoints_mirrors(struct endpoints *e, struct source_mirror *ret, size_t max);
/* As source_requests. */
void endpoints_requests(struct endpoints *e, size_t host, struct source_requests *ret);
/* As source_warning. */
bool endpoints_warning(struct endpoints *e, char ret[SOURCE_WARNING_MAX]);
/* Who has the last word. */
const struct client *endpoints_origin(const struct endpoints *e);
