/* SPDX-License-Identifier: Apache-2.0 */
/* site — one registry (or layout) as a mount shows it: who is asked, what is
 * known of it, and who fetches. Layer: fs/, internal.
 *
 * Each site has flights and pools of its own, so that a registry that is
 * silent keeps nothing of another one waiting. What is content is shared: the
 * store and the nodes are the mount's.
 *
 * Calling sequence: site_open (checks what the source says of itself) →
 * site_equip → site_start → site_stop → site_close. Set up before the first
 * request that concerns it, read only afterwards; its parts have locks of their
 * own. No thread starts before site_start.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "fs/fs.h"
#include "registry/host_name.h"
#include "registry/source.h"

struct catalog;
struct fetcher;
struct layers;
struct refs;
struct streams;

#define SITE_ORIGIN_MAX 512

struct site {
	char name[HOST_NAME_SIZE];     /* of its directory, where there are several; else "" */
	unsigned number;               /* in fs/sites.h */
	bool given;                    /* as a SOURCE */
	bool for_packages;             /* asked where its packages are, and for nothing else */
	char written[SITE_ORIGIN_MAX]; /* the SOURCE, as it was given; else "" */
	struct source_spec spec;       /* of whom; with the scheme's own port as none */
	char origin[SITE_ORIGIN_MAX];  /* key of what is kept of it */
	struct source *source;
	struct catalog *catalog;
	struct layers *layers;
	struct fetcher *fetcher;
	_Atomic int64_t slow_until_ms; /* clock_ms(): who has another to ask asks this one last */
	_Atomic int64_t stale_ms;      /* wall clock: a tag was served that is old; 0: never */
	char prefix[REPOSITORY_MAX];   /* "namespace/" of the SOURCE, or "" */
};

/* Errors of source_open. */
NODISCARD int site_open(struct site *site, const struct source_options *o, struct err *err);
/* store, refs and streams (or NULL) are borrowed. -ENOMEM. */
NODISCARD int site_equip(struct site *site, const struct fs_options *o, struct store *store,
			 struct refs *refs, struct streams *streams, struct err *err);
NODISCARD int site_start(struct site *site, struct err *err);
void site_stop(struct site *site);
void site_close(struct site *site); /* one that was never opened is fine */
