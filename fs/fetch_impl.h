/* SPDX-License-Identifier: Apache-2.0 */
/* fetch_impl — what the files of fetch share. Layer: fs/, internal to them.
 *
 *	fetch.c        who does what: pools, flights, and what is refused at once
 *	fetch_names.c  what is said: tags, manifests, listings
 *	fetch_referrers.c  who refers to a manifest
 *	fetch_index.c  what all tags name, as index.json
 *	fetch_blob.c   what is carried: blobs, from a source into the store
 *	fetch_gather.c several of them at once
 *	fetch_layers.c layers of images, unpacked
 *
 * The answers run in a pool's thread (fs/flight.h), with no lock held.
 */
#pragma once

#include <errno.h>

#include "fs/fetch.h"
#include "registry/source.h"

struct blob;
struct image;

struct fetcher {
	struct fetcher_options o;
	struct flights *flights;
	struct failures *failures;
	struct pool *small, *disk, *ask, *quick, *transfer, *gather, *unpack, *merge, *range;
};

/* Verified bytes that the cache has: -ENOENT if it has none, or had wrong ones. */
NODISCARD int fetch_from_cache(struct fetcher *f, const struct digest *d, struct call *call,
			       struct blob **ret, struct err *err);
/* A local job fetches nothing, and a job that would fetch does no local work: where
 * things are no longer, or by now, as they were when it was queued, its waiters
 * look again, and their want goes the right way. */
static inline int fetch_look_again(int r)
{
	return r == -ENOENT ? 0 : r;
}

/* fetch_names.c */
NODISCARD int fetch_run_named(struct fetcher *f, const struct flight_job *job, struct err *err);
NODISCARD int fetch_run_manifest(struct fetcher *f, const struct flight_job *job, struct err *err);
NODISCARD int fetch_run_tag(struct fetcher *f, const struct flight_job *job, struct err *err);
NODISCARD int fetch_run_listing(struct fetcher *f, const struct flight_job *job, struct err *err);
NODISCARD int fetch_run_repo(struct fetcher *f, const struct flight_job *job, struct err *err);
NODISCARD int fetch_run_packages(struct fetcher *f, const struct flight_job *job, struct err *err);
/* What a repository named is known from now on, whatever the disk says. */
NODISCARD int fetch_note_named(struct fetcher *f, const char *repo, const struct descriptor *v,
			       size_t n, struct err *err);
/* Keeps a listing, which is known even if the disk does not take it. Takes over names. */
NODISCARD int fetch_keep_listing(struct fetcher *f, const char *repo, struct names *names,
				 bool whole, struct err *err);
/* The image of a manifest that this repository named: from memory, the cache or the
 * source. New reference. */
NODISCARD int fetch_image(struct fetcher *f, const char *repo, const struct digest *d,
			  struct call *call, struct image **ret, struct err *err);
/* What a tag names, and which tags there are: asked, and told to the catalog. */
NODISCARD int fetch_tag(struct fetcher *f, const char *repo, const char *tag, struct call *call,
			struct err *err);
NODISCARD int fetch_listing(struct fetcher *f, const char *repo, struct call *call,
			    struct err *err);
/* What the source lists without a tag: noted as named. New array. */
NODISCARD int fetch_untagged(struct fetcher *f, const char *repo, struct call *call,
			     struct descriptor **ret, size_t *ret_n, struct err *err);
/* fetch_index.c */
NODISCARD int fetch_run_index(struct fetcher *f, const struct flight_job *job, struct blob **ret,
			      struct err *err);
/* fetch_referrers.c */
NODISCARD int fetch_run_referrers(struct fetcher *f, const struct flight_job *job, struct err *err);
/* fetch_layers.c: for WANT_ROOTFS, WANT_LAYER, WANT_MEMBER. */
NODISCARD int fetch_run_layers(struct fetcher *f, const struct flight_job *job, struct blob **ret,
			       struct err *err);
bool fetch_layers_cached(struct fetcher *f, const struct want *w);
/* Whether nothing of it need be decompressed. */
bool fetch_layers_unpacked(struct fetcher *f, const struct want *w);
/* fetch_gather.c: until all of them are in the cache, or the first has failed. */
NODISCARD int fetch_gather(struct fetcher *f, const struct flight_job *job,
			   const struct descriptor *descs, size_t n, struct err *err);
/* fetch_blob.c */
NODISCARD int fetch_run_blob(struct fetcher *f, const struct flight_job *job, struct blob **ret,
			     struct err *err);
