/* SPDX-License-Identifier: Apache-2.0 */
/* refs — what an origin said, and when: everything in the cache directory
 * that is not content. Layer: cache/; includes only base/.
 *
 *	<dir>/refs/<origin>/<repository>/…
 *
 * `origin` is the key of a source (registry/source.h): scheme, host, port
 * and whether TLS was verified, so that what one host said is never believed
 * of another. It and the repository name are encoded into single path
 * components that cannot clash or climb.
 *
 * Two kinds that never mix:
 *	mutable    tags and listings, with the wall-clock time they were true;
 *	           the caller judges their age
 *	immutable  "this repository named this digest" (with size and media
 *	           type as first declared): what makes a cached blob visible
 *	           under a repository. Kept for ever, appended only.
 *
 * What is read back is untrusted: a record that does not parse is as if it
 * were not there. Several processes write at once: records are replaced by
 * rename or appended whole; a half-written one is never believed.
 *
 * Space: nothing is written that would not leave the floor (cache/store.h);
 * blobs are evicted for it first. The cap does not count refs/.
 *
 * Threads: any. Blocking: disk, and to write on a disk at its floor also other
 * processes, for seconds. Names and tags must be grammatical (the caller has
 * checked). Errors: -ENOENT nothing recorded; -ENOSPC no room, and what was
 * recorded before stands; -EIO.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/descriptor.h"
#include "base/err.h"
#include "base/names.h"

struct refs;
struct store;

/* Below the store's directory, which must outlive it. */
NODISCARD int refs_open(struct store *s, struct refs **ret, struct err *err);
void refs_close(struct refs *r); /* NULL is fine */

struct tag_record {
	struct descriptor desc;
	int64_t seen_ms; /* wall clock: when the origin said so */
};

NODISCARD int refs_tag_load(struct refs *r, const char *origin, const char *repo, const char *tag,
			    struct tag_record *ret, struct err *err);
NODISCARD int refs_tag_save(struct refs *r, const char *origin, const char *repo, const char *tag,
			    const struct tag_record *rec, struct err *err);
/* The origin said that it does not exist. */
void refs_tag_forget(struct refs *r, const char *origin, const char *repo, const char *tag);

/* Every tag of the repository that something is recorded for. */
NODISCARD int refs_tags(struct refs *r, const char *origin, const char *repo, struct names *ret,
			struct err *err);

/* The tag listing of a repository; repo "" is the catalog. */
NODISCARD int refs_listing_load(struct refs *r, const char *origin, const char *repo,
				struct names *ret, int64_t *ret_seen_ms, struct err *err);
NODISCARD int refs_listing_save(struct refs *r, const char *origin, const char *repo,
				const struct names *names, int64_t seen_ms, struct err *err);

/* Whether the repository named it; its descriptor as first declared.
 * Answers from memory after the first question about a repository. */
NODISCARD int refs_named(struct refs *r, const char *origin, const char *repo,
			 const struct digest *d, struct descriptor *ret, struct err *err);
/* Where it fails, this process knows them all the same, as long as it keeps the
 * repository in memory. More than a repository may name are not kept at all. */
NODISCARD int refs_name(struct refs *r, const char *origin, const char *repo,
			const struct descriptor *descs, size_t n, struct err *err);
/* Whether it named anything, as far as can be read. */
bool refs_named_any(struct refs *r, const char *origin, const char *repo);
/* All digests it named (any order), for listings. New array, free(). */
NODISCARD int refs_named_all(struct refs *r, const char *origin, const char *repo,
			     struct descriptor **ret, size_t *ret_n, struct err *err);

/* Every repository of the origin that something was recorded for: these were
 * found to exist. Names as they were given. */
NODISCARD int refs_repos(struct refs *r, const char *origin, struct names *ret, struct err *err);
/* Every origin that has one. As they were given. */
NODISCARD int refs_origins(struct refs *r, struct names *ret, struct err *err);
