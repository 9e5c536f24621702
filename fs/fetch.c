/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "cache/store.h"
#include "fs/catalog.h"
#include "fs/failures.h"
#include "fs/fetch_impl.h"
#include "fs/log.h"
#include "fs/pool.h"
#include "registry/inline_blob.h"

int fetch_from_cache(struct fetcher *f, const struct digest *d, struct call *call,
		     struct blob **ret, struct err *err)
{
	int r = store_get(f->o.store, d, ret, err);
	if (r != -EAGAIN)
		return r;
	r = store_verify(f->o.store, d, call, ret, err);
	if (r == -EBADMSG) {
		log_warning("cache", "%s; fetching it anew", err ? err->text : "a blob is corrupt");
		return -ENOENT;
	}
	return r;
}

static bool is_of_layers(enum want_kind kind)
{
	return kind == WANT_ROOTFS || kind == WANT_LAYER || kind == WANT_MEMBER;
}

bool fetch_is_cached(struct fetcher *f, const struct want *w)
{
	struct descriptor named;
	size_t len;
	if (w->kind == WANT_BLOB)
		return w->size == 0 || inline_blob_known(&w->digest, &len) ||
		       store_has(f->o.store, &w->digest, NULL);
	if (is_of_layers(w->kind))
		return fetch_layers_cached(f, w);
	return w->kind == WANT_MANIFEST && store_has(f->o.store, &w->digest, NULL) &&
	       catalog_named(f->o.catalog, w->repo, &w->digest, &named) == KNOWN_FRESH;
}

static int answer(struct fetcher *f, const struct flight_job *job, struct blob **ret_blob,
		  struct err *err)
{
	switch (job->want->kind) {
	case WANT_TAG:
	case WANT_DIGEST:
		return fetch_run_tag(f, job, err);
	case WANT_MANIFEST:
		return fetch_run_manifest(f, job, err);
	case WANT_NAMED:
		return fetch_run_named(f, job, err);
	case WANT_BLOB:
		return fetch_run_blob(f, job, ret_blob, err);
	case WANT_REPO:
		return fetch_run_repo(f, job, err);
	case WANT_TAGS:
	case WANT_CATALOG:
		return fetch_run_listing(f, job, err);
	case WANT_PACKAGES:
		return fetch_run_packages(f, job, err);
	case WANT_INDEX:
		return fetch_run_index(f, job, ret_blob, err);
	case WANT_REFERRERS:
		return fetch_run_referrers(f, job, err);
	case WANT_ROOTFS:
	case WANT_LAYER:
	case WANT_MEMBER:
		return fetch_run_layers(f, job, ret_blob, err);
	case WANT_CHUNK:
		break; /* of fs/stream.h, without a job */
	}
	return err_set(err, -EIO, "a want of no kind");
}

/* err is the flight's, and always there. */
static int run(void *ctx, const struct flight_job *job, struct blob **ret_blob, struct err *err)
{
	struct fetcher *f = ctx;
	char warning[SOURCE_WARNING_MAX];
	int r = answer(f, job, ret_blob, err);
	while (source_warning(f->o.source, warning))
		log_warning("registry", "%s", warning);
	if (r == 0)
		failures_drop(f->failures, job->want);
	else if (r != -ECANCELED)
		failures_put(f->failures, job->want, r, err);
	return r;
}

int fetcher_new(const struct fetcher_options *o, struct fetcher **ret)
{
	struct fetcher *f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->o = *o;
	struct flights_options flights = {run, f, source_title(o->source), o->timeout_ms};
	if (pool_new("small", FETCH_SMALL_THREADS, &f->small) ||
	    pool_new("disk", FETCH_DISK_THREADS, &f->disk) ||
	    pool_new("ask", FETCH_ASK_THREADS, &f->ask) ||
	    pool_new("quick", FETCH_QUICK_THREADS, &f->quick) ||
	    pool_new("transfer", FETCH_TRANSFER_THREADS, &f->transfer) ||
	    pool_new("gather", FETCH_GATHER_THREADS, &f->gather) ||
	    pool_new("unpack", FETCH_UNPACK_THREADS, &f->unpack) ||
	    pool_new("merge", FETCH_MERGE_THREADS, &f->merge) ||
	    pool_new("range", FETCH_RANGE_THREADS, &f->range) ||
	    flights_new(&flights, &f->flights) || failures_new(&f->failures)) {
		fetcher_free(f);
		return -ENOMEM;
	}
	*ret = f;
	return 0;
}

int fetcher_start(struct fetcher *f)
{
	return flights_start(f->flights);
}

void fetcher_stop(struct fetcher *f)
{
	flights_stop(f->flights);
	pool_stop(f->range);
	pool_stop(f->merge);
	pool_stop(f->unpack);
	pool_stop(f->gather);
	pool_stop(f->transfer);
	pool_stop(f->quick);
	pool_stop(f->ask);
	pool_stop(f->disk);
	pool_stop(f->small);
}

void fetcher_free(struct fetcher *f)
{
	if (!f)
		return;
	pool_free(f->range);
	pool_free(f->merge);
	pool_free(f->unpack);
	pool_free(f->gather);
	pool_free(f->transfer);
	pool_free(f->quick);
	pool_free(f->ask);
	pool_free(f->disk);
	pool_free(f->small);
	flights_free(f->flights);
	failures_free(f->failures);
	free(f);
}

struct flights *fetcher_flights(struct fetcher *f)
{
	return f->flights;
}

struct pool *fetcher_ranges(struct fetcher *f)
{
	return f->range;
}

struct failures *fetcher_failures(struct fetcher *f)
{
	return f->failures;
}

int fetch_refused(struct fetcher *f, struct err *err)
{
	if (f->o.offline && !source_is_local(f->o.source))
		return err_set(err, -EHOSTUNREACH,
			       "not in the cache, and --offline: nobody is asked; mount without "
			       "--offline to fetch it");
	return source_down(f->o.source, err);
}

int fetch_refused_for(struct fetcher *f, const struct want *want, const char *repo, struct err *err)
{
	char what[ERR_TEXT_MAX];
	int r = fetch_refused(f, err);
	if (r == 0 || !f->o.offline)
		return r;
	want_describe(want, source_title(f->o.source), repo, what, sizeof(what));
	return err_wrap(err, r, "%s", what);
}

static struct pool *local_pool(struct fetcher *f, const struct want *want)
{
	if (is_of_layers(want->kind))
		return fetch_layers_unpacked(f, want) ? f->merge : f->unpack;
	return want->kind != WANT_BLOB || want->size <= FETCH_SMALL_BYTES ? f->small : f->disk;
}

static struct pool *remote_pool(struct fetcher *f, const struct want *want)
{
	if (is_of_layers(want->kind))
		return f->gather;
	if (want->kind != WANT_BLOB)
		return f->ask;
	return want->size <= FETCH_QUICK_BYTES ? f->quick : f->transfer;
}

int fetch_park(struct fetcher *f, const struct want *want, const char *repo, struct waiter *w,
	       struct err *err)
{
	struct want full = *want;
	if (want->kind == WANT_CHUNK)
		return flight_park(f->flights, want, repo, NULL, w);
	full.local = fetch_is_cached(f, want);
	if (full.local)
		return flight_park(f->flights, &full, repo, local_pool(f, want), w);
	/* An index may need nobody: its job sees to that. */
	int r = want->kind == WANT_INDEX ? 0 : fetch_refused_for(f, want, repo, err);
	if (r)
		return r;
	return flight_park(f->flights, &full, repo, remote_pool(f, want), w);
}
