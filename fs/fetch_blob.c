/* SPDX-License-Identifier: Apache-2.0 */
/* What is carried: a blob, from a source into the store. The one place where the two
 * are joined. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/names.h"
#include "cache/store.h"
#include "fs/catalog.h"
#include "fs/fetch_impl.h"
#include "fs/stream.h"
#include "registry/inline_blob.h"
#include "registry/manifest.h"

/* A transfer that continued what an earlier process left, and did not match, is
 * done once more. */
#define BLOB_TRIES 2

/* Local work that delays nobody. */
#define LOCAL_QUICK_MS 1000

/* How many other repositories are asked for a blob that the first does not give. */
#define BLOB_REPOS_MAX 32

/* Work on the disk takes as long as it takes, and its waiters know; it ends when
 * all of them have left. */
struct local_work {
	int64_t since_ms, deadline_ms;
};

static struct local_work begin_local(const struct flight_job *job)
{
	struct local_work work = {clock_ms(), job->call->deadline_ms};
	job->call->deadline_ms = INT64_MAX;
	atomic_store(job->progress, 1);
	atomic_store(job->busy, true);
	return work;
}

/* What follows is a question, with the time of one: what is left of it, or all of it
 * if the disk has used it up. */
static void end_local(struct fetcher *f, const struct flight_job *job,
		      const struct local_work *work)
{
	bool quick = clock_ms() - work->since_ms < LOCAL_QUICK_MS;
	job->call->deadline_ms = quick ? work->deadline_ms : clock_ms() + f->o.timeout_ms;
	if (quick)
		atomic_store(job->progress, 0);
	atomic_store(job->busy, false);
}

struct fill {
	struct partial *partial;
	_Atomic uint64_t *have; /* of the job */
};

static int fill_begin(void *ctx, uint64_t offset, struct err *err)
{
	struct fill *fill = ctx;
	if (offset == partial_have(fill->partial))
		return 0;
	if (offset == 0) {
		atomic_store(fill->have, 0);
		return partial_restart(fill->partial, err);
	}
	return err_set(err, -EIO, "a transfer continues where nobody asked for it");
}

static int fill_write(void *ctx, const void *data, size_t len, struct err *err)
{
	struct fill *fill = ctx;
	int r = partial_write(fill->partial, data, len, err);
	atomic_store(fill->have, partial_have(fill->partial));
	return r;
}

/* One transfer into the partial of the digest, from where it stopped. */
static int transfer(struct fetcher *f, const struct flight_job *job, const char *repo,
		    struct blob **ret, struct err *err)
{
	const struct want *w = job->want;
	struct fill fill = {.have = job->have};
	int waited = streams_await(f->o.streams, &w->digest, job->call, job->progress, err);
	if (waited)
		return waited;
	struct local_work adopting = begin_local(job);
	int r = store_partial(f->o.store, &w->digest, w->size, job->call, &fill.partial, err);
	end_local(f, job, &adopting);
	if (r)
		return r;
	uint64_t have = partial_have(fill.partial);
	atomic_store(job->have, have);
	if (have < w->size) {
		struct sink sink = {fill_begin, fill_write, &fill};
		r = source_blob(f->o.source, repo, &w->digest, w->size, have, &sink, job->call,
				job->progress, err);
	}
	if (r == -EBADMSG)
		partial_drop(fill.partial);
	else if (r)
		partial_close(fill.partial);
	else
		r = partial_commit(fill.partial, ret, err);
	/* What an earlier process left may be what was wrong: once more, from 0. */
	return r == -EBADMSG && have > 0 ? -EAGAIN : r;
}

/* Manifests are content too, and registries serve them in another place. */
static int fetch_document(struct fetcher *f, const struct flight_job *job, const char *repo,
			  struct blob **ret, struct err *err)
{
	char reference[DIGEST_STRING_MAX];
	digest_string(&job->want->digest, reference);
	struct document doc = {0};
	int r = source_document(f->o.source, repo, reference, job->call, &doc, err);
	if (!r)
		r = store_put(f->o.store, &doc.desc.digest, doc.bytes, (size_t)doc.desc.size, ret,
			      err);
	document_release(&doc);
	return r;
}

static int fetch_as(struct fetcher *f, const struct flight_job *job, const char *repo,
		    bool document, struct blob **ret, struct err *err)
{
	int r = -EAGAIN;
	for (int i = 0; i < BLOB_TRIES && r == -EAGAIN; i++)
		r = document ? fetch_document(f, job, repo, ret, err)
			     : transfer(f, job, repo, ret, err);
	return r == -EAGAIN ? -EBADMSG : r;
}

/* From where what named it says that it is; if it is not there, from where it is. */
static int fetch_from(struct fetcher *f, const struct flight_job *job, const char *repo,
		      struct blob **ret, struct err *err)
{
	const struct digest *d = &job->want->digest;
	struct descriptor named;
	bool document = catalog_named(f->o.catalog, repo, d, &named) == KNOWN_FRESH &&
			media_type_is_manifest(named.media_type);
	bool is_manifest;
	int r = fetch_as(f, job, repo, document, ret, err);
	if (r == -ENOENT && job->want->size <= SOURCE_DOCUMENT_MAX &&
	    source_stat(f->o.source, repo, d, false, job->call, &named, &is_manifest, NULL) == 0 &&
	    is_manifest != document)
		r = fetch_as(f, job, repo, is_manifest, ret, err);
	if (r == -EBADMSG) /* perhaps for a size that somebody only said */
		catalog_size_dispute(f->o.catalog, repo, d);
	char digest[DIGEST_STRING_MAX];
	digest_string(d, digest);
	return r ? err_wrap(err, r, "%s: %s@%s", source_title(f->o.source), repo, digest) : 0;
}

/* The same blob is one inode and one flight, under whatever repository it was
 * opened: if the first does not give it, another that named it may. */
static int fetch_elsewhere(struct fetcher *f, const struct flight_job *job, struct blob **ret)
{
	struct names repos = {0};
	int r = catalog_namers(f->o.catalog, &job->want->digest, job->repo, BLOB_REPOS_MAX, &repos);
	if (r == 0)
		r = -ENOENT;
	for (size_t i = 0; i < repos.n && (r == -EACCES || r == -ENOENT); i++)
		r = fetch_from(f, job, repos.v[i], ret, NULL);
	names_release(&repos);
	return r;
}

/* What everybody knows is not asked for. `known` is its bytes; NULL: it is nothing. */
static int make_blob(struct fetcher *f, const struct flight_job *job, const char *known, size_t len,
		     struct blob **ret, struct err *err)
{
	const struct want *w = job->want;
	char digest[DIGEST_STRING_MAX];
	if (w->size == len)
		return store_put(f->o.store, &w->digest, known ? known : "", len, ret, err);
	digest_string(&w->digest, digest);
	return err_set(err, -EBADMSG, "%s: %s@%s: declared with %llu bytes, and has %zu",
		       source_title(f->o.source), job->repo, digest, (unsigned long long)w->size,
		       len);
}

int fetch_run_blob(struct fetcher *f, const struct flight_job *job, struct blob **ret,
		   struct err *err)
{
	const struct want *w = job->want;
	size_t len = 0;
	const char *known = inline_blob_known(&w->digest, &len);
	if (known || w->size == 0) {
		int made = make_blob(f, job, known, len, ret, err);
		if (made == -EBADMSG)
			catalog_size_dispute(f->o.catalog, job->repo, &w->digest);
		return made;
	}
	if (w->local) {
		(void)begin_local(job);
		return fetch_look_again(fetch_from_cache(f, &w->digest, job->call, ret, err));
	}
	if (fetch_is_cached(f, w))
		return 0;
	int r = fetch_from(f, job, job->repo, ret, err);
	if ((r == -EACCES || r == -ENOENT) && fetch_elsewhere(f, job, ret) == 0)
		r = 0;
	return r == -EEXIST ? 0 : r; /* somebody else has fetched it: look again */
}
