/* SPDX-License-Identifier: Apache-2.0 */
/* pull_impl — what the files of a pull share. Layer: fs/, internal to pull*.c.
 *
 *	pull.c          references and threads; which manifests
 *	pull_content.c  manifests and blobs, each once
 *	pull_report.c   what is told
 */
#pragma once

#include <pthread.h>
#include <string.h>

/* All keys are digests, which are as good as random already. */
#define HASH_FUNCTION(key, len, hash)                                                              \
	memcpy(&(hash), (const char *)(key) + offsetof(struct digest, bytes), sizeof(hash))
#include <uthash.h>

#include "base/descriptor.h"
#include "base/digest_set.h"
#include "base/lock.h"
#include "fs/flight.h"
#include "fs/pull.h"
#include "registry/image_reference.h"

enum item_state { ITEM_IDLE, ITEM_BUSY, ITEM_HERE };

/* A blob or a manifest, whichever references lead to it. Fields: under the pull's lock. */
struct pull_item {
	UT_hash_handle hh;
	struct digest digest;
	uint64_t size; /* 0: not known before it is here */
	enum item_state state;
	bool told;          /* as here */
	uint64_t left;      /* by an earlier fetch */
	uint64_t received;  /* by flights that have ended */
	struct fetcher *by; /* BUSY, over the network perhaps */
	struct want want;   /* of `by` */
};

struct pull_reference {
	struct pull_reference *next;
	char *text;
	struct site *site;
	char repo[REPOSITORY_MAX]; /* as the origin names it */
	char tag[TAG_MAX + 1];
	struct digest digest; /* of its manifest, once it is known */
	struct digest_set content;
	struct digest_set pinned; /* of it, by this pull */
	bool done;
};

struct pull {
	struct fs *fs;
	struct store *store;
	char *platform;
	bool pin;
	int64_t idle_ms;
	struct lock lock;
	struct cond change;
	/* The rest is guarded by lock. */
	unsigned holders; /* threads, and whoever made it */
	bool sealed, cancelled;
	bool settled;              /* somebody concludes it */
	bool over;                 /* all was said */
	uint64_t publish_failures; /* of the store, when it began */
	int64_t asked_ms;
	struct pull_reference *first, *last, *todo; /* todo: the first that no thread has taken */
	uint64_t references, done, failed;
	unsigned working;   /* threads that have one */
	unsigned under_way; /* blobs that are */
	struct pull_item *items;
	json_t *events;
};

/* pull_content.c; errors with a text. */
/* One manifest, known to the site's catalog then. */
NODISCARD int pull_manifest(struct pull *p, struct pull_reference *r, const struct digest *d,
			    struct err *err);
NODISCARD int pull_blobs(struct pull *p, struct pull_reference *r, const struct descriptor *v,
			 size_t n, struct err *err);
/* Parks on it and waits. */
NODISCARD int pull_want(struct pull *p, struct site *site, const struct want *want,
			const char *repo, uint64_t *ret_brought, struct err *err);
/* Waits a moment for a change, with the lock held. False: cancelled. */
bool pull_wait(struct pull *p) REQUIRES(p->lock);
/* What is to be fetched again, since it is gone. */
void pull_forget(struct pull *p, const struct digest *d);

/* pull_report.c; all with the lock held. */
void pull_tell_blob(struct pull *p, struct pull_item *item) REQUIRES(p->lock);
void pull_tell_reference(struct pull *p, const struct pull_reference *r) REQUIRES(p->lock);
void pull_tell_failure(struct pull *p, const struct pull_reference *r, int code,
		       const struct err *err) REQUIRES(p->lock);
