/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/fetch.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "cache/store.h"
#include "fs/catalog.h"
#include "fs/failures.h"
#include "fs/image.h"
#include "fs/log.h"
#include "fs/pool.h"
#include "registry/inline_blob.h"
#include "registry/manifest.h"
#include "registry/source.h"

/* A transfer that continued what an earlier process left, and did not match, is
 * done once more. */
#define BLOB_TRIES 2

/* Local work that delays nobody. */
#define LOCAL_QUICK_MS 1000

/* How many other repositories are asked for a blob that the first does not give. */
#define BLOB_REPOS_MAX 32

struct fetcher {
	struct fetcher_options o;
	struct flights *flights;
	struct failures *failures;
	struct pool *small, *disk, *ask, *quick, *transfer;
};

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
}

/* What a repository named is known from now on, whatever the disk says. */
static int note_named(struct fetcher *f, const char *repo, const struct descriptor *v, size_t n,
		      struct err *err)
{
	int r = catalog_name(f->o.catalog, repo, v, n, err);
	if (r != -ENOSPC && r != -EIO)
		return r;
	log_failure("cache", "named record", "what %s named is not recorded: %s", repo, err->text);
	return 0;
}

/* Verified bytes that the cache has: -ENOENT if it has none, or had wrong ones. */
static int from_cache(struct fetcher *f, const struct digest *d, struct call *call,
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

static int put(struct fetcher *f, const struct document *doc, struct err *err)
{
	struct blob *blob = NULL;
	int r = store_put(f->o.store, &doc->desc.digest, doc->bytes, (size_t)doc->desc.size, &blob,
			  err);
	blob_unref(blob);
	return r;
}

static int put_inline_one(void *ctx, const struct digest *d, const void *data, size_t len)
{
	struct fetcher *f = ctx;
	struct blob *blob = NULL;
	if (!store_has(f->o.store, d, NULL) && store_put(f->o.store, d, data, len, &blob, NULL))
		return -EIO; /* it can be fetched when the disk is well again */
	blob_unref(blob);
	return 0;
}

/* What a manifest carries itself is not asked for. */
static void put_inline(struct fetcher *f, const char *bytes, uint64_t len)
{
	int r = inline_blob_each(bytes, (size_t)len, put_inline_one, f);
	(void)r;
}

/* Everything that a manifest names, itself included, now belongs to the repository. */
static int name_all(struct fetcher *f, const char *repo, const struct manifest *m, struct err *err)
{
	AUTO_FREE struct descriptor *v = calloc(m->layer_count + 2, sizeof(*v));
	if (!v)
		return err_set(err, -ENOMEM, "%s: no memory for a manifest", repo);
	size_t n = 0;
	v[n++] = m->desc;
	if (!m->is_index && digest_is_set(&m->config.desc.digest))
		v[n++] = m->config.desc;
	for (size_t i = 0; i < m->layer_count; i++) {
		if (digest_is_set(&m->layers[i].desc.digest))
			v[n++] = m->layers[i].desc;
	}
	return note_named(f, repo, v, n, err);
}

/* What the bytes are by themselves, whatever anybody calls them: so it is a function of
 * the digest. */
static int parse(struct fetcher *f, const char *repo, const char *bytes,
		 const struct descriptor *desc, const char *type, struct manifest **ret,
		 struct err *err)
{
	int r = manifest_parse(bytes, (size_t)desc->size, &desc->digest, type, ret, err);
	if (!r)
		return 0;
	char digest[DIGEST_STRING_MAX];
	digest_string(&desc->digest, digest);
	return err_wrap(err, r, "%s: %s@%s", source_title(f->o.source), repo, digest);
}

/* A document that is served as something else than it is might be taken for that by
 * others (CVE-2021-41190). */
static int check_type(struct fetcher *f, const char *repo, const struct document *doc,
		      const struct manifest *m, struct err *err)
{
	struct manifest *again = NULL;
	if (media_type_is(doc->desc.media_type, m->desc.media_type))
		return 0;
	int r = parse(f, repo, doc->bytes, &doc->desc, doc->desc.media_type, &again, err);
	manifest_unref(again);
	return r;
}

/* Names all that it names, and makes it known. Takes over m. */
static int learn(struct fetcher *f, const char *repo, struct manifest *m, struct err *err)
{
	struct image *i = NULL;
	int r = name_all(f, repo, m, err);
	if (r) {
		manifest_unref(m);
		return r;
	}
	if (image_new(m, &i))
		return err_set(err, -ENOMEM, "%s: no memory for a manifest", repo);
	catalog_image_put(f->o.catalog, i);
	image_unref(i);
	return 0;
}

/* A manifest that the cache has. */
static int learn_cached(struct fetcher *f, const char *repo, const struct digest *d,
			struct call *call, struct err *err)
{
	struct blob *blob = NULL;
	struct manifest *m = NULL;
	int r = from_cache(f, d, call, &blob, err);
	if (r)
		return r;
	struct descriptor desc = {.digest = *d, .size = blob_size(blob)};
	AUTO_FREE char *bytes = NULL;
	if (desc.size > SOURCE_DOCUMENT_MAX)
		r = err_set(err, -EFBIG, "%s: larger than a manifest may be", repo);
	else if (!(bytes = malloc((size_t)desc.size + 1)))
		r = err_set(err, -ENOMEM, "%s: no memory for a manifest", repo);
	else if (file_pread_full(blob_fd(blob), bytes, (size_t)desc.size, 0) != (int64_t)desc.size)
		r = err_set(err, -EIO, "%s: cannot read a cached manifest", repo);
	blob_unref(blob);
	if (r == 0)
		r = parse(f, repo, bytes, &desc, "", &m, err);
	if (r)
		return r;
	put_inline(f, bytes, desc.size);
	return learn(f, repo, m, err);
}

/* *ret has a size once the bytes are known to be those of its digest: a document that
 * cannot be parsed is content all the same. */
static int learn_fetched(struct fetcher *f, const char *repo, const char *reference,
			 struct call *call, struct descriptor *ret, struct err *err)
{
	struct document doc = {0};
	struct manifest *m = NULL;
	struct err own;
	ret->size = 0;
	int r = source_document(f->o.source, repo, reference, call, &doc, err);
	if (r)
		return r;
	int parsed = parse(f, repo, doc.bytes, &doc.desc, "", &m, &own);
	if (parsed == 0)
		r = check_type(f, repo, &doc, m, err);
	if (r == 0)
		r = put(f, &doc, err);
	if (r == 0 && parsed == 0)
		put_inline(f, doc.bytes, doc.desc.size);
	if (r == 0) {
		*ret = parsed == 0 ? m->desc : doc.desc;
		r = parsed ? err_set(err, parsed, "%s", own.text)
			   : learn(f, repo, manifest_ref(m), err);
	}
	manifest_unref(m);
	document_release(&doc);
	return r;
}

/* The cache has it, but this repository never named it: ask whether it does. */
static int ask_named(struct fetcher *f, const struct want *w, struct call *call,
		     struct descriptor *ret, struct err *err)
{
	int r = source_stat(f->o.source, w->repo, &w->digest, call, ret, NULL, err);
	if (r == -ENOENT)
		catalog_digest_absent(f->o.catalog, w->repo, &w->digest);
	return r ? r : note_named(f, w->repo, ret, 1, err);
}

/* Whether the cache alone can answer. */
static bool is_cached(struct fetcher *f, const struct want *w)
{
	struct descriptor named;
	size_t len;
	if (w->kind == WANT_BLOB)
		return w->size == 0 || inline_blob_known(&w->digest, &len) ||
		       store_has(f->o.store, &w->digest, NULL);
	return w->kind == WANT_MANIFEST && store_has(f->o.store, &w->digest, NULL) &&
	       catalog_named(f->o.catalog, w->repo, &w->digest, &named) == KNOWN_FRESH;
}

static int run_named(struct fetcher *f, const struct flight_job *job, struct err *err)
{
	struct descriptor desc;
	int r = ask_named(f, job->want, job->call, &desc, err);
	if (r == 0)
		catalog_size_answer(f->o.catalog, job->want->repo, &desc);
	return r;
}

/* A local job fetches nothing, and a job that would fetch does no local work: where
 * things are no longer, or by now, as they were when it was queued, its waiters
 * look again, and their want goes the right way. */
static int look_again(int r)
{
	return r == -ENOENT ? 0 : r;
}

static int run_manifest(struct fetcher *f, const struct flight_job *job, struct err *err)
{
	const struct want *w = job->want;
	struct descriptor named;
	enum known known = catalog_named(f->o.catalog, w->repo, &w->digest, &named);
	if (w->local && known != KNOWN_FRESH)
		return 0;
	if (w->local)
		return look_again(learn_cached(f, w->repo, &w->digest, job->call, err));
	if (is_cached(f, w))
		return 0;
	if (known != KNOWN_FRESH && store_has(f->o.store, &w->digest, NULL))
		return ask_named(f, w, job->call, &named, err);
	char reference[DIGEST_STRING_MAX];
	digest_string(&w->digest, reference);
	int r = learn_fetched(f, w->repo, reference, job->call, &named, err);
	if (r == -ENOENT)
		catalog_digest_absent(f->o.catalog, w->repo, &w->digest);
	return r;
}

/* Known repositories are asked by HEAD; the first contact with one fetches the
 * manifest at once, which saves a request. */
static int ask_tag(struct fetcher *f, const struct want *w, struct call *call,
		   struct descriptor *ret, struct err *err)
{
	struct descriptor known;
	enum known have = catalog_tag(f->o.catalog, w->repo, w->tag, &known, NULL);
	bool seen = have == KNOWN_STALE || have == KNOWN_FRESH;
	if (!seen && !catalog_repo_known(f->o.catalog, w->repo)) {
		int r = learn_fetched(f, w->repo, w->tag, call, ret, err);
		/* What cannot be parsed still has a digest: the tag names it, and its bytes
		 * can be read. */
		if (!(r == -EPROTO || r == -EOPNOTSUPP) || ret->size == 0)
			return r;
		return note_named(f, w->repo, ret, 1, err);
	}
	int r = source_resolve(f->o.source, w->repo, w->tag, seen ? &known : NULL, call, ret, err);
	return r ? r : note_named(f, w->repo, ret, 1, err);
}

static int run_tag(struct fetcher *f, const struct flight_job *job, struct err *err)
{
	const struct want *w = job->want;
	struct descriptor desc;
	int r = ask_tag(f, w, job->call, &desc, err);
	if (r == -ENOENT)
		catalog_tag_absent(f->o.catalog, w->repo, w->tag);
	if (r)
		return r;
	struct err disk;
	if (catalog_tag_put(f->o.catalog, w->repo, w->tag, &desc, &disk))
		log_failure("cache", "tag record", "tag not recorded: %s", disk.text);
	return 0;
}

/* Keeps a listing, which is known even if the disk does not take it. */
static int keep_listing(struct fetcher *f, const char *repo, struct names *names, bool whole,
			struct err *err)
{
	struct err disk;
	if (!whole)
		log_failure("fs", "partial listing",
			    "%s: %s: %zu tags, and no more are given, "
			    "though there are some",
			    source_title(f->o.source), repo, names->n);
	int r = catalog_listing_put(f->o.catalog, repo, names, whole, &disk);
	if (r == -ENOMEM)
		return err_set(err, r, "%s", disk.text);
	if (r)
		log_failure("cache", "listing record", "listing not recorded: %s", disk.text);
	return 0;
}

static int run_listing(struct fetcher *f, const struct flight_job *job, struct err *err)
{
	const struct want *w = job->want;
	struct names names = {0};
	bool whole = true;
	int r = w->kind == WANT_CATALOG
		    ? source_catalog(f->o.source, job->call, &names, err)
		    : source_tags(f->o.source, w->repo, false, job->call, &names, &whole, err);
	if (r == -ENOENT)
		catalog_listing_absent(f->o.catalog, w->repo);
	return r ? r : keep_listing(f, w->repo, &names, whole, err);
}

/* One page tells that it exists, and is often the whole listing. */
static int run_repo(struct fetcher *f, const struct flight_job *job, struct err *err)
{
	const char *repo = job->want->repo;
	struct names names = {0};
	bool whole;
	int r = source_tags(f->o.source, repo, true, job->call, &names, &whole, err);
	if (r == -ENOENT)
		catalog_listing_absent(f->o.catalog, repo);
	if (r)
		return r;
	if (whole)
		return keep_listing(f, repo, &names, true, err);
	names_release(&names);
	catalog_repo_put(f->o.catalog, repo);
	return 0;
}

struct fill {
	struct partial *partial;
};

static int fill_begin(void *ctx, uint64_t offset, struct err *err)
{
	struct fill *fill = ctx;
	if (offset == partial_have(fill->partial))
		return 0;
	if (offset == 0)
		return partial_restart(fill->partial, err);
	return err_set(err, -EIO, "a transfer continues where nobody asked for it");
}

static int fill_write(void *ctx, const void *data, size_t len, struct err *err)
{
	struct fill *fill = ctx;
	return partial_write(fill->partial, data, len, err);
}

/* One transfer into the partial of the digest, from where it stopped. */
static int transfer(struct fetcher *f, const struct flight_job *job, const char *repo,
		    struct blob **ret, struct err *err)
{
	const struct want *w = job->want;
	struct fill fill = {0};
	struct local_work adopting = begin_local(job);
	int r = store_partial(f->o.store, &w->digest, w->size, job->call, &fill.partial, err);
	end_local(f, job, &adopting);
	if (r)
		return r;
	uint64_t have = partial_have(fill.partial);
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
	    source_stat(f->o.source, repo, d, job->call, &named, &is_manifest, NULL) == 0 &&
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

static int run_blob(struct fetcher *f, const struct flight_job *job, struct blob **ret,
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
		return look_again(from_cache(f, &w->digest, job->call, ret, err));
	}
	if (is_cached(f, w))
		return 0;
	int r = fetch_from(f, job, job->repo, ret, err);
	if ((r == -EACCES || r == -ENOENT) && fetch_elsewhere(f, job, ret) == 0)
		r = 0;
	return r == -EEXIST ? 0 : r; /* somebody else has fetched it: look again */
}

static int answer(struct fetcher *f, const struct flight_job *job, struct blob **ret_blob,
		  struct err *err)
{
	switch (job->want->kind) {
	case WANT_TAG:
		return run_tag(f, job, err);
	case WANT_MANIFEST:
		return run_manifest(f, job, err);
	case WANT_NAMED:
		return run_named(f, job, err);
	case WANT_BLOB:
		return run_blob(f, job, ret_blob, err);
	case WANT_REPO:
		return run_repo(f, job, err);
	case WANT_TAGS:
	case WANT_CATALOG:
		return run_listing(f, job, err);
	}
	return err_set(err, -EIO, "a want of no kind");
}

/* err is the flight's, and always there. */
static int run(void *ctx, const struct flight_job *job, struct blob **ret_blob, struct err *err)
{
	struct fetcher *f = ctx;
	int r = answer(f, job, ret_blob, err);
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

static struct pool *local_pool(struct fetcher *f, const struct want *want)
{
	return want->kind != WANT_BLOB || want->size <= FETCH_SMALL_BYTES ? f->small : f->disk;
}

static struct pool *remote_pool(struct fetcher *f, const struct want *want)
{
	if (want->kind != WANT_BLOB)
		return f->ask;
	return want->size <= FETCH_QUICK_BYTES ? f->quick : f->transfer;
}

int fetch_park(struct fetcher *f, const struct want *want, const char *repo, struct waiter *w,
	       struct err *err)
{
	struct want full = *want;
	full.local = is_cached(f, want);
	if (full.local)
		return flight_park(f->flights, &full, repo, local_pool(f, want), w);
	int r = fetch_refused(f, err);
	if (r)
		return r;
	return flight_park(f->flights, &full, repo, remote_pool(f, want), w);
}
