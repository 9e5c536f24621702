/* SPDX-License-Identifier: Apache-2.0 */
/* catalog — what this mount knows, in memory, so that most requests are
 * answered at once. Layer: fs/.
 *
 * Two kinds, kept apart:
 *
 *	mutable     tags, listings, "does not exist": each with the time it was
 *	            true. The catalog says whether it is FRESH (within its TTL) or
 *	            STALE (older, or from an earlier mount). Kept across mounts in
 *	            cache/refs, from where it is loaded on demand.
 *	immutable   images by digest, and which repository named which digest
 *	            (cache/refs).
 *
 * Absence is remembered for CATALOG_NEGATIVE_MS, and only where the origin
 * itself said so.
 *
 * Bounded: the least recently used of each kind is forgotten.
 *
 * Threads: any; the locks are those of its memo tables, leaves. cache/refs is
 * read outside them, which costs a small local file at most, never the network.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/descriptor.h"
#include "base/err.h"
#include "base/names.h"
#include "fs/image.h"

#define CATALOG_NEGATIVE_MS    10000
#define CATALOG_TAGS_MAX       65536
#define CATALOG_DIGESTS_MAX    65536
#define CATALOG_REPOS_MAX      65536
#define CATALOG_SIZES_MAX      4096
#define CATALOG_LISTINGS_MAX   1024
#define CATALOG_LISTINGS_BYTES (128u << 20)
#define CATALOG_IMAGES_MAX     1024
#define CATALOG_IMAGES_BYTES   (64u << 20)

struct catalog;
struct refs;

struct catalog_options {
	struct refs *refs;  /* borrowed */
	const char *origin; /* borrowed */
	int64_t tag_ttl_ms, list_ttl_ms;
};

NODISCARD int catalog_new(const struct catalog_options *o, struct catalog **ret);
void catalog_free(struct catalog *c); /* NULL is fine */

enum known {
	KNOWN_NOT,    /* nothing is known */
	KNOWN_STALE,  /* it was so */
	KNOWN_FRESH,  /* it is so */
	KNOWN_ABSENT, /* the origin said lately that it does not exist */
};

/* What a tag names. *ret for STALE and FRESH; *ret_left_ms: how long FRESH or
 * ABSENT still holds. Both may be NULL. */
enum known catalog_tag(struct catalog *c, const char *repo, const char *tag, struct descriptor *ret,
		       int64_t *ret_left_ms);
/* The origin says so now. Recorded on disk as well: -ENOSPC, -EIO from there
 * leave it known in memory. */
NODISCARD int catalog_tag_put(struct catalog *c, const char *repo, const char *tag,
			      const struct descriptor *desc, struct err *err);
void catalog_tag_absent(struct catalog *c, const char *repo, const char *tag);

/* A listing: shared, read only. `repo` is a repository's name, or, for the list
 * of repositories, the prefix that all names of this mount have at the origin:
 * "" or "namespace/". */
struct listing {
	struct names names;
	size_t bytes; /* of memory */
	_Atomic int refs;
};
void listing_unref(struct listing *l); /* NULL is fine */
/* For STALE and FRESH a new reference in *ret (may be NULL). */
enum known catalog_listing(struct catalog *c, const char *repo, struct listing **ret,
			   int64_t *ret_left_ms);
/* Takes over the content of names, whatever the result. One that is not whole is
 * known for its time only: it must not replace on disk what was. -ENOMEM; -ENOSPC,
 * -EIO from the disk leave it known in memory. */
NODISCARD int catalog_listing_put(struct catalog *c, const char *repo, struct names *names,
				  bool whole, struct err *err);
void catalog_listing_absent(struct catalog *c, const char *repo);

/* Whether the repository was found to exist: by a listing or a digest of it, or
 * because the origin said so. */
bool catalog_repo_known(struct catalog *c, const char *repo);
void catalog_repo_put(struct catalog *c, const char *repo);
/* Adds all of these below prefix to names, as paths below it, and those of the
 * catalog listing if it is known. Sorted. */
NODISCARD int catalog_repos(struct catalog *c, const char *prefix, struct names *names,
			    struct err *err);

/* Whether the repository named a digest: KNOWN_FRESH with its descriptor,
 * KNOWN_ABSENT or KNOWN_NOT. */
enum known catalog_named(struct catalog *c, const char *repo, const struct digest *d,
			 struct descriptor *ret);
NODISCARD int catalog_name(struct catalog *c, const char *repo, const struct descriptor *descs,
			   size_t n, struct err *err);
void catalog_digest_absent(struct catalog *c, const char *repo, const struct digest *d);
/* The size of a digest that the cache does not have, if what was declared proved wrong
 * once, here or in another repository. KNOWN_FRESH: as this repository's origin said
 * when it was asked then; KNOWN_STALE: it is to be asked; KNOWN_NOT. */
enum known catalog_size(struct catalog *c, const char *repo, const struct digest *d, uint64_t *ret);
/* It proved wrong, and so did what this repository answered, if it did. */
void catalog_size_dispute(struct catalog *c, const char *repo, const struct digest *d);
/* The origin's answer, which counts only where there is a dispute. */
void catalog_size_answer(struct catalog *c, const char *repo, const struct descriptor *said);
/* Adds at most `max` repositories that named the digest, without `except`. -ENOMEM. */
NODISCARD int catalog_namers(struct catalog *c, const struct digest *d, const char *except,
			     size_t max, struct names *ret);
/* All digests it named: new array, free(). */
NODISCARD int catalog_named_all(struct catalog *c, const char *repo, struct descriptor **ret,
				size_t *ret_n, struct err *err);

/* New reference, or NULL. */
struct image *catalog_image(struct catalog *c, const struct digest *d);
void catalog_image_put(struct catalog *c, struct image *i); /* takes a reference of its own */

/* Asked anew from now on, as by a mount that was just made: what was said stays known, as STALE;
 * that something does not exist is forgotten. Each returns how many answers were FRESH or ABSENT
 * that no longer are. */
unsigned catalog_forget_tag(struct catalog *c, const char *repo, const char *tag);
unsigned catalog_forget_tags(struct catalog *c, const char *repo); /* of just this repository */
unsigned catalog_forget_listing(struct catalog *c, const char *repo);
/* That it does not exist; or who refers to it. */
unsigned catalog_forget_digest(struct catalog *c, const char *repo, const struct digest *d,
			       bool referrers);
/* All of the repository or namespace of this name, and of what is below it; "": of everything. */
unsigned catalog_forget_below(struct catalog *c, const char *name);
