/* SPDX-License-Identifier: Apache-2.0 */
/* index.json of a repository: what each listed tag names, as an index. Made anew for
 * each open that finds none under way, from what is known; tags of which nothing
 * fresh is known are asked for, some at a time. */
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cache/store.h"
#include "fs/catalog.h"
#include "fs/fetch_impl.h"
#include "fs/image.h"
#include "fs/log.h"
#include "registry/http.h"
#include "registry/manifest.h"
#include "registry/reference.h"

#define INDEX_TAGS_MAX 16384u
#define INDEX_ASKERS   HTTP_QUESTIONS_MAX

/* Tags that are to be asked for, and those who ask. The calls end when the job's
 * does; each asker has one of its own, since a call has one waker. */
struct asking {
	struct fetcher *f;
	const struct flight_job *job;
	const char **tags;
	size_t n;
	_Atomic size_t next;
	struct call calls[INDEX_ASKERS];
	struct lock lock;
	int code;       /* guarded by lock: of the first that failed */
	struct err err; /* guarded by lock */
};

struct asker {
	struct asking *all;
	struct call *call;
};

static bool is_known(enum known known)
{
	return known == KNOWN_FRESH || known == KNOWN_STALE;
}

static void give_up(struct asking *a, int code, const struct err *err)
{
	lock_take(&a->lock);
	if (a->code == 0) {
		a->code = code;
		a->err = *err;
	}
	lock_drop(&a->lock);
	atomic_store(&a->next, a->n);
}

/* Tools need the true type of each entry: what the manifest says of itself, where the
 * registry said nothing of use. "": nothing is known of it yet. */
static void type_of(struct fetcher *f, const struct descriptor *d, char ret[MEDIA_TYPE_MAX])
{
	struct image *image = catalog_image(f->o.catalog, &d->digest);
	const char *type = image ? image->manifest->desc.media_type
			   : media_type_is_manifest(d->media_type) ? d->media_type
								   : "";
	snprintf(ret, MEDIA_TYPE_MAX, "%s", type);
	image_unref(image);
}

/* What can be no entry, because nobody could read it, is left out. */
static int learn_type(struct fetcher *f, const char *repo, const char *tag, struct call *call,
		      struct err *err)
{
	char type[MEDIA_TYPE_MAX];
	struct descriptor d;
	struct image *image = NULL;
	if (!is_known(catalog_tag(f->o.catalog, repo, tag, &d, NULL)))
		return 0;
	type_of(f, &d, type);
	if (type[0])
		return 0;
	int r = fetch_image(f, repo, &d.digest, call, &image, err);
	image_unref(image);
	return r == -EPROTO || r == -EOPNOTSUPP || r == -EFBIG ? 0 : r;
}

/* What is wrong with one tag, and with no other: not what its host failed with. */
static bool is_its_own_fault(struct fetcher *f, int code)
{
	return (code == -EPROTO || code == -EBADMSG || code == -EFBIG || code == -EOPNOTSUPP) &&
	       fetch_refused(f, NULL) == 0;
}

/* A tag that is gone, denied or damaged is left out; one that was known stays what it was. */
static void *ask(void *arg)
{
	struct asker *one = arg;
	struct asking *a = one->all;
	size_t i;
	while ((i = atomic_fetch_add(&a->next, 1)) < a->n) {
		const char *repo = a->job->want->repo, *tag = a->tags[i];
		struct err err = {""};
		int r = fetch_tag(a->f, repo, tag, one->call, &err);
		if (r == 0)
			r = learn_type(a->f, repo, tag, one->call, &err);
		bool barred = r == -EACCES || is_its_own_fault(a->f, r);
		if (barred)
			log_failure("fs", err.text, "index.json of %s: without %s: %s", repo, tag,
				    err.text);
		if (r == 0)
			atomic_fetch_add(a->job->progress, 1);
		bool left_out = r == 0 || r == -ENOENT || barred;
		enum known known = catalog_tag(a->f->o.catalog, repo, tag, NULL, NULL);
		if (!left_out && (r == -ECANCELED || !is_known(known)))
			give_up(a, r, &err);
	}
	return NULL;
}

static void end_calls(void *ctx)
{
	struct asking *a = ctx;
	for (size_t i = 0; i < INDEX_ASKERS; i++)
		call_cancel(&a->calls[i]);
}

static int ask_all(struct asking *a, struct err *err)
{
	struct asker askers[INDEX_ASKERS];
	pthread_t threads[INDEX_ASKERS];
	size_t n = 0, most = a->n < INDEX_ASKERS ? a->n : INDEX_ASKERS;
	lock_init(&a->lock);
	for (size_t i = 0; i < INDEX_ASKERS; i++) {
		call_init(&a->calls[i], a->job->call->deadline_ms);
		askers[i] = (struct asker){a, &a->calls[i]};
	}
	call_set_waker(a->job->call, end_calls, a);
	while (n + 1 < most && pthread_create(&threads[n], NULL, ask, &askers[n + 1]) == 0)
		n++;
	ask(&askers[0]);
	for (size_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	call_set_waker(a->job->call, NULL, NULL);
	for (size_t i = 0; i < INDEX_ASKERS; i++)
		call_release(&a->calls[i]);
	lock_release(&a->lock);
	return a->code ? err_set(err, a->code, "%s", a->err.text) : 0;
}

/* Asks for those of which nothing fresh is known. While nobody can be asked, what is
 * known must do, if that is all of them. */
static int learn_tags(struct fetcher *f, const struct flight_job *job, const struct names *names,
		      struct err *err)
{
	AUTO_FREE const char **tags = calloc(names->n + 1, sizeof(*tags));
	struct asking a = {.f = f, .job = job, .tags = tags};
	const char *repo = job->want->repo;
	bool unknown = false;
	if (!tags)
		return err_set(err, -ENOMEM, "%s: no memory for its index", repo);
	for (size_t i = 0; i < names->n; i++) {
		if (!reference_is_listed_tag(names->v[i]))
			continue;
		struct descriptor d;
		char type[MEDIA_TYPE_MAX] = "";
		enum known known = catalog_tag(f->o.catalog, repo, names->v[i], &d, NULL);
		unknown |= known == KNOWN_NOT;
		if (is_known(known))
			type_of(f, &d, type);
		if (known != KNOWN_ABSENT && (known != KNOWN_FRESH || !type[0]))
			tags[a.n++] = names->v[i];
	}
	int r = a.n > 0 ? fetch_refused(f, err) : 0;
	if (r)
		return unknown ? r : 0;
	return a.n > 0 ? ask_all(&a, err) : 0;
}

/* What was said of its size may be wrong, and what the bytes have is not. */
static uint64_t size_of(struct fetcher *f, const struct descriptor *d)
{
	struct image *image = catalog_image(f->o.catalog, &d->digest);
	uint64_t size = image ? image->manifest->desc.size : d->size;
	if (!image && !store_has(f->o.store, &d->digest, &size))
		size = d->size;
	image_unref(image);
	return size;
}

/* tag: NULL of one that has none. */
static json_t *entry(const char *tag, const struct descriptor *d, uint64_t size, const char *type)
{
	char digest[DIGEST_STRING_MAX];
	digest_string(&d->digest, digest);
	json_t *name = tag ? json_pack("{s:s}", "org.opencontainers.image.ref.name", tag) : NULL;
	return json_pack("{s:s, s:s, s:I, s:o*}", "mediaType", type, "digest", digest, "size",
			 (json_int_t)size, "annotations", name);
}

/* What was denied, and never known, is not there. */
static char *write_index(struct fetcher *f, const char *repo, const struct names *names,
			 const struct descriptor *untagged, size_t untagged_n)
{
	json_t *entries = json_array();
	json_t *index = json_pack("{s:i, s:s, s:o}", "schemaVersion", 2, "mediaType",
				  MEDIA_TYPE_INDEX, "manifests", entries);
	for (size_t i = 0; index && i < names->n; i++) {
		struct descriptor d;
		char type[MEDIA_TYPE_MAX] = "";
		enum known known = catalog_tag(f->o.catalog, repo, names->v[i], &d, NULL);
		if (reference_is_listed_tag(names->v[i]) && is_known(known))
			type_of(f, &d, type);
		if (!type[0])
			continue;
		if (json_array_append_new(entries, entry(names->v[i], &d, size_of(f, &d), type)) <
		    0) {
			json_decref(index);
			return NULL;
		}
	}
	for (size_t i = 0; index && i < untagged_n; i++) {
		const struct descriptor *d = &untagged[i];
		(void)json_array_append_new(entries, entry(NULL, d, d->size, d->media_type));
	}
	char *text = index ? json_dumps(index, JSON_COMPACT) : NULL;
	json_decref(index);
	return text;
}

static int put_text(struct fetcher *f, const char *text, struct blob **ret, struct err *err)
{
	struct digest d;
	int r = digest_of(DIGEST_SHA256, text, strlen(text), &d);
	return r ? err_set(err, r, "cannot hash")
		 : store_put(f->o.store, &d, text, strlen(text), ret, err);
}

/* The tags that are listed: fresh ones, or old ones where no others can be had. New
 * reference. */
static int listing(struct fetcher *f, const struct flight_job *job, struct listing **ret,
		   struct err *err)
{
	const char *repo = job->want->repo;
	enum known known = catalog_listing(f->o.catalog, repo, ret, NULL);
	struct listing *old = known == KNOWN_STALE ? *ret : NULL;
	if (known == KNOWN_FRESH)
		return 0;
	int r = known == KNOWN_ABSENT ? err_set(err, -ENOENT, "%s: no such repository", repo)
				      : fetch_refused(f, err);
	if (r == 0)
		r = fetch_listing(f, repo, job->call, err);
	if (r == 0 && catalog_listing(f->o.catalog, repo, ret, NULL) != KNOWN_FRESH)
		r = err_set(err, -EIO, "%s: its listing is gone again", repo);
	if (r == 0 || r == -ENOENT || r == -ECANCELED || !old) {
		listing_unref(old);
		return r;
	}
	*ret = old;
	return 0;
}

int fetch_run_index(struct fetcher *f, const struct flight_job *job, struct blob **ret,
		    struct err *err)
{
	const char *repo = job->want->repo;
	AUTO_FREE struct descriptor *untagged = NULL;
	size_t untagged_n = 0;
	struct listing *tags = NULL;
	int r = listing(f, job, &tags, err);
	if (r)
		return r;
	if (source_is_local(f->o.source))
		r = fetch_untagged(f, repo, job->call, &untagged, &untagged_n, err);
	if (r == 0 && tags->names.n > INDEX_TAGS_MAX)
		r = err_set(err, -EFBIG, "%s: an index of more than %u tags; open them by name",
			    repo, INDEX_TAGS_MAX);
	if (r == 0)
		r = learn_tags(f, job, &tags->names, err);
	AUTO_FREE char *text =
	    r == 0 ? write_index(f, repo, &tags->names, untagged, untagged_n) : NULL;
	listing_unref(tags);
	if (r == 0 && !text)
		r = err_set(err, -ENOMEM, "%s: no memory for its index", repo);
	return r ? r : put_text(f, text, ret, err);
}
