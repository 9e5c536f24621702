/* SPDX-License-Identifier: Apache-2.0 */
/* fetch — where the source and the cache meet. Layer: fs/; in fetch*.c,
 * which share fs/fetch_impl.h.
 *
 * Answers a want (fs/flight.h): looks in the cache, asks the source for what is
 * missing, verifies, publishes, and tells the catalog. Each answer is one job
 * of a flight, plain blocking code in a pool of its kind:
 *
 *	small      what the cache has, if it is small: manifests above all
 *	disk       the rest of that, which may take minutes to hash
 *	ask        questions to the origin: tags, manifests, listings
 *	quick      small blobs, which the large ones must not keep waiting
 *	transfer   the rest of them
 *	gather     those who wait for all the layers of an image
 *	unpack     layers that are here: decompressed and read
 *	merge      those that were unpacked before: their trees and small members
 *	range      parts of blobs that are read as they arrive (fs/stream.h): no flights
 *
 * so that a silent registry delays neither what is cached nor, by its blobs,
 * the questions. The local ones (small, disk, unpack, merge) never wait for
 * the network.
 *
 * Threads: any. Lock order: none held over anything here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "fs/flight.h"

#define FETCH_QUICK_THREADS    4
#define FETCH_QUICK_BYTES      SOURCE_QUICK_BYTES
#define FETCH_SMALL_THREADS    2
#define FETCH_SMALL_BYTES      (4u << 20)
#define FETCH_DISK_THREADS     2
#define FETCH_ASK_THREADS      16
#define FETCH_GATHER_THREADS   64 /* which do nothing but wait */
#define FETCH_UNPACK_THREADS   2
#define FETCH_MERGE_THREADS    2
#define FETCH_RANGE_THREADS    16 /* of which a host lets some wait */
#define FETCH_TRANSFER_THREADS 6  /* as many as a host is asked for at once (registry/http.h) */

struct catalog;
struct fetcher;
struct layers;
struct pool;
struct source;
struct store;
struct streams;

struct fetcher_options {
	struct source *source; /* borrowed, as the others */
	struct store *store;
	struct catalog *catalog;
	struct layers *layers;
	struct streams *streams; /* NULL: every blob is verified first */
	int64_t timeout_ms;
	bool offline; /* never ask the source */
};

NODISCARD int fetcher_new(const struct fetcher_options *o, struct fetcher **ret);
NODISCARD int fetcher_start(struct fetcher *f); /* the watch thread */
/* Ends everything: parked waiters are resumed, transfers are cut off. */
void fetcher_stop(struct fetcher *f);
void fetcher_free(struct fetcher *f); /* after fetcher_stop; NULL is fine */
struct flights *fetcher_flights(struct fetcher *f);
struct failures *fetcher_failures(struct fetcher *f);
struct pool *fetcher_ranges(struct fetcher *f);

/* Whether the cache alone can answer. */
bool fetch_is_cached(struct fetcher *f, const struct want *w);
/* flight_park, with these answers at once: the errno of an origin that is known
 * to be down, and -EHOSTUNREACH for what --offline would have to ask. */
NODISCARD int fetch_park(struct fetcher *f, const struct want *want, const char *repo,
			 struct waiter *w, struct err *err);
/* Whether the origin would not be asked now: 0, or why not; and not for this. */
int fetch_refused(struct fetcher *f, struct err *err);
int fetch_refused_for(struct fetcher *f, const struct want *want, const char *repo,
		      struct err *err);
