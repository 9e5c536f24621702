/* SPDX-License-Identifier: Apache-2.0 */
/* What is said: tags, manifests, listings, and whether a digest is there. */
#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "cache/store.h"
#include "fs/catalog.h"
#include "fs/fetch_impl.h"
#include "fs/image.h"
#include "fs/log.h"
#include "registry/inline_blob.h"
#include "registry/manifest.h"
#include "registry/package_metadata.h"

int fetch_note_named(struct fetcher *f, const char *repo, const struct descriptor *v, size_t n,
		     struct err *err)
{
	int r = catalog_name(f->o.catalog, repo, v, n, err);
	if (r != -ENOSPC && r != -EIO)
		return r;
	log_failure("cache", "named record", "what %s named is not recorded: %s", repo, err->text);
	return 0;
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
	return fetch_note_named(f, repo, v, n, err);
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
	int r = fetch_from_cache(f, d, call, &blob, err);
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

/* *ret has a digest once the bytes are known to be of it: a document that cannot be parsed,
 * even one without any, is content all the same. */
static int learn_fetched(struct fetcher *f, const char *repo, const char *reference,
			 struct call *call, struct descriptor *ret, struct err *err)
{
	struct document doc = {0};
	struct manifest *m = NULL;
	struct err own;
	*ret = (struct descriptor){0};
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

int fetch_image(struct fetcher *f, const char *repo, const struct digest *d, struct call *call,
		struct image **ret, struct err *err)
{
	char reference[DIGEST_STRING_MAX];
	struct descriptor desc;
	int r = -ENOENT;
	*ret = catalog_image(f->o.catalog, d);
	if (*ret)
		return 0;
	if (store_has(f->o.store, d, NULL))
		r = learn_cached(f, repo, d, call, err);
	digest_string(d, reference);
	if (r == -ENOENT)
		r = learn_fetched(f, repo, reference, call, &desc, err);
	if (r)
		return r;
	*ret = catalog_image(f->o.catalog, d);
	return *ret ? 0 : err_set(err, -EIO, "%s: what was fetched is gone again", repo);
}

/* A size that was only said, by whomever, is what the bytes have where the cache has
 * them. */
static void correct_size(struct fetcher *f, struct descriptor *d)
{
	uint64_t size;
	if (store_has(f->o.store, &d->digest, &size))
		d->size = size;
}

/* The cache has it, but this repository never named it: ask whether it does. */
static int ask_named(struct fetcher *f, const struct want *w, struct call *call,
		     struct descriptor *ret, struct err *err)
{
	uint64_t said;
	bool doubted = catalog_size(f->o.catalog, w->repo, &w->digest, &said) == KNOWN_STALE;
	int r = source_stat(f->o.source, w->repo, &w->digest, doubted, call, ret, NULL, err);
	if (r == 0)
		correct_size(f, ret);
	if (r == -ENOENT)
		catalog_digest_absent(f->o.catalog, w->repo, &w->digest);
	return r ? r : fetch_note_named(f, w->repo, ret, 1, err);
}

int fetch_run_named(struct fetcher *f, const struct flight_job *job, struct err *err)
{
	struct descriptor desc;
	int r = ask_named(f, job->want, job->call, &desc, err);
	if (r == 0)
		catalog_size_answer(f->o.catalog, job->want->repo, &desc);
	return r;
}

int fetch_run_manifest(struct fetcher *f, const struct flight_job *job, struct err *err)
{
	const struct want *w = job->want;
	struct descriptor named;
	enum known known = catalog_named(f->o.catalog, w->repo, &w->digest, &named);
	if (w->local && known != KNOWN_FRESH)
		return 0;
	if (w->local)
		return fetch_look_again(learn_cached(f, w->repo, &w->digest, job->call, err));
	if (fetch_is_cached(f, w))
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
static int ask_tag(struct fetcher *f, const char *repo, const char *tag, bool digest_only,
		   struct call *call, struct descriptor *ret, struct err *err)
{
	struct descriptor known;
	enum known have = catalog_tag(f->o.catalog, repo, tag, &known, NULL);
	bool seen = have == KNOWN_STALE || have == KNOWN_FRESH;
	if (!seen && !digest_only && !catalog_repo_known(f->o.catalog, repo)) {
		int r = learn_fetched(f, repo, tag, call, ret, err);
		/* What cannot be parsed still has a digest: the tag names it, and its bytes
		 * can be read. */
		if (!(r == -EPROTO || r == -EOPNOTSUPP) || !digest_is_set(&ret->digest))
			return r;
		return fetch_note_named(f, repo, ret, 1, err);
	}
	int r = source_resolve(f->o.source, repo, tag, seen ? &known : NULL, call, ret, err);
	if (r == 0)
		correct_size(f, ret);
	return r ? r : fetch_note_named(f, repo, ret, 1, err);
}

static int ask_and_keep(struct fetcher *f, const char *repo, const char *tag, bool digest_only,
			struct call *call, struct err *err)
{
	struct descriptor desc;
	int r = ask_tag(f, repo, tag, digest_only, call, &desc, err);
	if (r == -ENOENT)
		catalog_tag_absent(f->o.catalog, repo, tag);
	if (r)
		return r;
	struct err disk;
	if (catalog_tag_put(f->o.catalog, repo, tag, &desc, &disk))
		log_failure("cache", "tag record", "tag not recorded: %s", disk.text);
	return 0;
}

int fetch_tag(struct fetcher *f, const char *repo, const char *tag, struct call *call,
	      struct err *err)
{
	return ask_and_keep(f, repo, tag, false, call, err);
}

int fetch_run_tag(struct fetcher *f, const struct flight_job *job, struct err *err)
{
	const struct want *w = job->want;
	return ask_and_keep(f, w->repo, w->tag, w->kind == WANT_DIGEST, job->call, err);
}

int fetch_keep_listing(struct fetcher *f, const char *repo, struct names *names, bool whole,
		       struct err *err)
{
	struct err disk;
	if (!whole)
		log_failure("fs", "partial listing",
			    "%s: %s: %zu names, and no more are given, "
			    "though there are some",
			    source_title(f->o.source), repo, names->n);
	int r = catalog_listing_put(f->o.catalog, repo, names, whole, &disk);
	if (r == -ENOMEM)
		return err_set(err, r, "%s", disk.text);
	if (r)
		log_failure("cache", "listing record", "listing not recorded: %s", disk.text);
	return 0;
}

int fetch_untagged(struct fetcher *f, const char *repo, struct call *call, struct descriptor **ret,
		   size_t *ret_n, struct err *err)
{
	int r = source_untagged(f->o.source, repo, call, ret, ret_n, err);
	return r || *ret_n == 0 ? r : fetch_note_named(f, repo, *ret, *ret_n, err);
}

int fetch_listing(struct fetcher *f, const char *repo, struct call *call, struct err *err)
{
	AUTO_FREE struct descriptor *untagged = NULL;
	size_t n = 0;
	struct names names = {0};
	bool whole = true;
	int r = source_tags(f->o.source, repo, false, call, &names, &whole, err);
	if (r == -ENOENT)
		catalog_listing_absent(f->o.catalog, repo);
	if (r == 0)
		r = fetch_untagged(f, repo, call, &untagged, &n, err);
	if (r)
		names_release(&names);
	return r ? r : fetch_keep_listing(f, repo, &names, whole, err);
}

int fetch_run_listing(struct fetcher *f, const struct flight_job *job, struct err *err)
{
	const struct want *w = job->want;
	struct names names = {0};
	bool whole = true;
	if (w->kind == WANT_TAGS)
		return fetch_listing(f, w->repo, job->call, err);
	int r = source_catalog(f->o.source, job->call, &names, &whole, err);
	if (r == -ENOENT)
		catalog_listing_absent(f->o.catalog, w->repo);
	return r ? r : fetch_keep_listing(f, w->repo, &names, whole, err);
}

/* One page tells that it exists, and is often the whole listing. */
int fetch_run_repo(struct fetcher *f, const struct flight_job *job, struct err *err)
{
	const char *repo = job->want->repo;
	struct names names = {0};
	bool whole;
	if (source_is_local(f->o.source))
		return fetch_listing(f, repo, job->call, err);
	int r = source_tags(f->o.source, repo, true, job->call, &names, &whole, err);
	if (r == -ENOENT)
		catalog_listing_absent(f->o.catalog, repo);
	if (r)
		return r;
	if (whole)
		return fetch_keep_listing(f, repo, &names, true, err);
	names_release(&names);
	catalog_repo_put(f->o.catalog, repo);
	return 0;
}

/* Kept like a list of repositories, in the catalog of a site that is asked for nothing else
 * (fs/sites.h). That it says nothing is an answer, too. */
int fetch_run_packages(struct fetcher *f, const struct flight_job *job, struct err *err)
{
	struct package_metadata m = {0};
	struct names words = {0};
	int r = source_packages(f->o.source, job->call, &m, err);
	if (r && r != -ENOENT)
		return r;
	if (package_metadata_words(&m, &words))
		return err_set(err, -ENOMEM, "no memory for a registry's metadata");
	return fetch_keep_listing(f, "", &words, true, err);
}
