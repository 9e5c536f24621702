/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/pull.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "base/clock.h"
#include "cache/inventory.h"
#include "cache/pins.h"
#include "fs/catalog.h"
#include "fs/fs_impl.h"
#include "fs/platform.h"
#include "fs/pull_impl.h"

#define DEPTH_MAX 4 /* indexes in indexes */
#define PIN_TRIES 3 /* of what was evicted before it was pinned */

/* Threads of all pulls, which an fs must outlive. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t ended;
	unsigned threads;
} all = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};

void pulls_wait(void)
{
	pthread_mutex_lock(&all.lock);
	while (all.threads > 0)
		pthread_cond_wait(&all.ended, &all.lock);
	pthread_mutex_unlock(&all.lock);
}

/* ---- which manifests ---- */

static int add_content(struct pull_reference *r, const struct digest *d, struct err *err)
{
	return digest_set_add(&r->content, d) ? err_set(err, -ENOMEM, "out of memory") : 0;
}

static int fetch_tree(struct pull *p, struct pull_reference *r, const struct digest *d,
		      unsigned depth, struct err *err);

static int no_platform(const struct pull *p, const struct manifest *m, struct err *err)
{
	char list[256] = "";
	size_t len = 0;
	for (size_t i = 0; i < m->layer_count && len < sizeof(list); i++) {
		const struct manifest_entry *e = &m->layers[i];
		if (platform_is_any(e) && e->os && e->architecture)
			len += (size_t)snprintf(
			    list + len, sizeof(list) - len, "%s%s/%s%s%s", len ? ", " : "", e->os,
			    e->architecture, e->variant ? "/" : "", e->variant ? e->variant : "");
	}
	return err_set(err, -ENOENT, "there is nothing for --platform %s; there is %s",
		       p->platform ? p->platform : "of this machine", list[0] ? list : "none");
}

static int fetch_platforms(struct pull *p, struct pull_reference *r, const struct manifest *m,
			   unsigned depth, struct err *err)
{
	struct utsname host = {0};
	size_t best = SIZE_MAX, found = 0;
	bool every = p->platform && strcmp(p->platform, "all") == 0;
	int rc = 0;
	if (!p->platform && (uname(&host) < 0 || platform_best(m, host.machine, &best)))
		return no_platform(p, m, err);
	for (size_t i = 0; rc == 0 && i < m->layer_count; i++) {
		const struct manifest_entry *e = &m->layers[i];
		bool is = every         ? platform_is_any(e)
			  : p->platform ? found == 0 && platform_is(e, p->platform)
					: i == best;
		if (!is || !digest_is_set(&e->desc.digest))
			continue;
		found++;
		rc = fetch_tree(p, r, &e->desc.digest, depth + 1, err);
	}
	return rc == 0 && found == 0 ? no_platform(p, m, err) : rc;
}

/* Config and layers, each once. */
static int fetch_parts(struct pull *p, struct pull_reference *r, const struct manifest *m,
		       struct err *err)
{
	AUTO_FREE struct descriptor *v = calloc(m->layer_count + 1, sizeof(*v));
	struct digest_set seen = {0};
	size_t n = 0;
	int rc = v ? 0 : err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; rc == 0 && i <= m->layer_count; i++) {
		const struct manifest_entry *e = i == 0 ? &m->config : &m->layers[i - 1];
		const struct digest *d = &e->desc.digest;
		if (!digest_is_set(d) && i > 0)
			rc = err_set(err, -EOPNOTSUPP,
				     "layer %zu has a digest that cannot be verified", i - 1);
		if (rc || !digest_is_set(d) || digest_set_has(&seen, d))
			continue;
		v[n++] = e->desc;
		rc = digest_set_add(&seen, d) ? err_set(err, -ENOMEM, "out of memory")
					      : add_content(r, d, err);
	}
	digest_set_release(&seen);
	return rc ? rc : pull_blobs(p, r, v, n, err);
}

static int fetch_tree(struct pull *p, struct pull_reference *r, const struct digest *d,
		      unsigned depth, struct err *err)
{
	if (depth > DEPTH_MAX)
		return err_set(err, -EPROTO, "an index in an index in an index, and on");
	int rc = pull_manifest(p, r, d, err);
	if (rc == 0)
		rc = add_content(r, d, err);
	struct image *image = rc == 0 ? catalog_image(r->site->catalog, d) : NULL;
	if (rc)
		return rc;
	if (!image)
		return err_set(err, -EIO, "what was fetched is gone again");
	const struct manifest *m = image->manifest;
	rc = m->is_index ? fetch_platforms(p, r, m, depth, err) : fetch_parts(p, r, m, err);
	image_unref(image);
	return rc;
}

static int resolve(struct pull *p, struct pull_reference *r, struct err *err)
{
	struct descriptor desc;
	struct want w;
	uint64_t brought;
	if (digest_is_set(&r->digest))
		return 0;
	memset(&w, 0, sizeof(w)); /* hashed as a whole, padding too */
	w.kind = WANT_DIGEST;
	memcpy(w.repo, r->repo, sizeof(w.repo));
	memcpy(w.tag, r->tag, sizeof(w.tag));
	int rc = pull_want(p, r->site, &w, r->repo, &brought, err);
	if (rc)
		return rc;
	enum known known = catalog_tag(r->site->catalog, r->repo, r->tag, &desc, NULL);
	if (known != KNOWN_FRESH && known != KNOWN_STALE)
		return err_set(err, -ENOENT, "%s: no tag %s", r->repo, r->tag);
	r->digest = desc.digest;
	return 0;
}

/* Who gives a digest may have taken a layer's: then no manifest of it is to be had, or what the
 * cache has of it is none, and that is nobody's fault but his. */
static bool is_blob(struct pull *p, const struct pull_reference *r, int code)
{
	struct image *image = catalog_image(r->site->catalog, &r->digest);
	struct want w;
	struct err ignored;
	uint64_t brought;
	image_unref(image);
	if (image)
		return false; /* it was something below it that failed */
	if (code == -EPROTO || code == -EFBIG)
		return inventory_is_kept(p->store, &r->digest);
	if (code != -ENOENT)
		return false;
	memset(&w, 0, sizeof(w)); /* hashed as a whole, padding too */
	w.kind = WANT_NAMED;
	memcpy(w.repo, r->repo, sizeof(w.repo));
	w.digest = r->digest;
	return pull_want(p, r->site, &w, r->repo, &brought, &ignored) == 0;
}

static int blame_digest(struct pull *p, const struct pull_reference *r, int code, struct err *err)
{
	char digest[DIGEST_STRING_MAX];
	if (!is_blob(p, r, code))
		return code;
	digest_string(&r->digest, digest);
	return err_set(err, -ENOENT, "%s of %s is a blob, no manifest", digest, r->repo);
}

/* ---- pins, and whether all is there at once ---- */

/* How much of it is not. */
static size_t count_missing(struct pull *p, struct pull_reference *r)
{
	size_t missing = 0;
	digest_set_settle(&r->content);
	for (size_t i = 0; i < r->content.n; i++) {
		if (inventory_is_kept(p->store, &r->content.v[i]))
			continue;
		pull_forget(p, &r->content.v[i]);
		missing++;
	}
	return missing;
}

static int pin_all(struct pull *p, struct pull_reference *r, struct err *err)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < r->content.n; i++) {
		const struct digest *d = &r->content.v[i];
		bool fresh = false;
		rc = pins_put(p->store, d, &fresh, err);
		if (rc == 0 && fresh && digest_set_add(&r->pinned, d))
			rc = err_set(err, -ENOMEM, "out of memory");
	}
	return rc;
}

/* Whether one that is done stands on it, too. */
static bool is_shared(struct pull *p, const struct digest *d)
{
	bool shared = false;
	lock_take(&p->lock);
	for (struct pull_reference *r = p->first; r && !shared; r = r->next)
		shared = r->done && digest_set_has(&r->content, d);
	lock_drop(&p->lock);
	return shared;
}

/* What was pinned before stays so. */
static void unpin_all(struct pull *p, struct pull_reference *r)
{
	for (size_t i = 0; i < r->pinned.n; i++) {
		if (!is_shared(p, &r->pinned.v[i]))
			(void)!pins_drop(p->store, &r->pinned.v[i], NULL);
	}
}

static int no_room(struct pull *p, size_t missing, struct err *err)
{
	struct store_usage u;
	store_usage(p->store, &u);
	return err_set(
	    err, -ENOSPC,
	    "%zu of its blobs had to make room for others: the cache %s is too small for "
	    "all of this at once; give it more (--cache-size), or pull less",
	    missing, u.dir);
}

static int fetch_reference(struct pull *p, struct pull_reference *r, struct err *err)
{
	bool by_digest = digest_is_set(&r->digest);
	int rc = resolve(p, r, err);
	size_t missing = 1;
	for (unsigned i = 0; rc == 0 && missing > 0 && i < PIN_TRIES; i++) {
		rc = fetch_tree(p, r, &r->digest, 0, err);
		digest_set_settle(&r->content);
		if (rc == 0 && p->pin)
			rc = pin_all(p, r, err);
		if (rc == 0)
			missing = count_missing(p, r);
	}
	if (rc == 0 && missing > 0)
		rc = no_room(p, missing, err);
	if (rc && by_digest)
		rc = blame_digest(p, r, rc, err);
	if (rc)
		unpin_all(p, r);
	return rc;
}

/* ---- threads ---- */

static void item_free_all(struct pull *p)
{
	struct pull_item *item, *next;
	HASH_ITER(hh, p->items, item, next)
	{
		HASH_DEL(p->items, item);
		free(item);
	}
}

static void destroy(struct pull *p)
{
	item_free_all(p);
	while (p->first) {
		struct pull_reference *r = p->first;
		p->first = r->next;
		digest_set_release(&r->content);
		digest_set_release(&r->pinned);
		free(r->text);
		free(r);
	}
	json_decref(p->events);
	cond_release(&p->change);
	lock_release(&p->lock);
	free(p->platform);
	free(p);
}

static void leave(struct pull *p)
{
	lock_take(&p->lock);
	bool last = --p->holders == 0;
	lock_drop(&p->lock);
	if (last)
		destroy(p);
}

/* The next reference; NULL: there is none, and none will come. */
static struct pull_reference *take(struct pull *p) REQUIRES(p->lock)
{
	while (!p->todo && !p->sealed && pull_wait(p))
		;
	struct pull_reference *r = p->todo;
	if (!r || p->cancelled)
		return NULL;
	p->todo = r->next;
	p->working++;
	return r;
}

/* The first failure of one counts. */
static void conclude(struct pull *p, struct pull_reference *r, int code, const struct err *err)
{
	lock_take(&p->lock);
	if (code) {
		p->failed++;
		p->done -= r->done;
		r->done = false;
		pull_tell_failure(p, r, code, err);
	} else {
		p->done++;
		r->done = true;
		pull_tell_reference(p, r);
	}
	lock_drop(&p->lock);
}

/* By the last thread: a later one may have driven out what an earlier one brought. */
static void look_again(struct pull *p)
{
	for (struct pull_reference *r = p->first; r; r = r->next) {
		struct err err;
		size_t missing = r->done ? count_missing(p, r) : 0;
		if (missing > 0)
			conclude(p, r, no_room(p, missing, &err), &err);
	}
}

static void work(struct pull *p)
{
	struct err err;
	struct pull_reference *r;
	lock_take(&p->lock);
	while ((r = take(p))) {
		lock_drop(&p->lock);
		err.text[0] = '\0';
		int code = fetch_reference(p, r, &err);
		conclude(p, r, code, &err);
		lock_take(&p->lock);
		p->working--;
	}
	bool last = p->working == 0 && !p->settled;
	p->settled |= last;
	lock_drop(&p->lock);
	if (!last)
		return;
	look_again(p);
	lock_take(&p->lock);
	for (r = p->todo; r; r = r->next) { /* given up */
		p->failed++;
		pull_tell_failure(p, r, err_set(&err, -ECANCELED, "given up"), &err);
	}
	p->todo = NULL;
	p->sealed = true;
	p->over = true;
	cond_broadcast(&p->change);
	lock_drop(&p->lock);
}

static void *run(void *arg)
{
	work(arg);
	leave(arg);
	pthread_mutex_lock(&all.lock);
	all.threads--;
	pthread_cond_broadcast(&all.ended);
	pthread_mutex_unlock(&all.lock);
	return NULL;
}

static int start_thread(struct pull *p)
{
	pthread_t thread;
	sigset_t every, old;
	lock_take(&p->lock);
	p->holders++;
	lock_drop(&p->lock);
	pthread_mutex_lock(&all.lock);
	all.threads++;
	/* Signals are for threads that know what to do with them. */
	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &old);
	int r = -pthread_create(&thread, NULL, run, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		all.threads--;
	pthread_mutex_unlock(&all.lock);
	if (r) {
		leave(p);
		return r;
	}
	(void)pthread_setname_np(thread, "pull");
	(void)pthread_detach(thread);
	return 0;
}

/* ---- from outside ---- */

bool pull_is_platform(const char *s)
{
	size_t parts = 1;
	if (strcmp(s, "all") == 0)
		return true;
	for (const char *at = s; *at; at++) {
		bool slash = *at == '/';
		bool plain = (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') ||
			     *at == '_' || *at == '.' || *at == '-';
		parts += slash;
		if ((!slash && !plain) || (slash && (at == s || at[1] == '/' || at[1] == '\0')))
			return false;
	}
	return parts == 2 || parts == 3;
}

int pull_new(struct fs *fs, const struct pull_options *o, struct pull **ret, struct err *err)
{
	struct store_usage usage;
	struct pull *p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(err, -ENOMEM, "out of memory");
	*p = (struct pull){.fs = fs,
			   .store = fs->store,
			   .pin = o->pin,
			   .idle_ms = o->idle_ms,
			   .holders = 1,
			   .asked_ms = clock_ms()};
	lock_init(&p->lock);
	cond_init(&p->change);
	store_usage(p->store, &usage);
	p->publish_failures = usage.publish_failures;
	p->events = json_array();
	p->platform = o->platform ? strdup(o->platform) : NULL;
	int r = p->events && (p->platform || !o->platform) ? 0 : -ENOMEM;
	for (unsigned i = 0; r == 0 && i < PULL_THREADS; i++) {
		r = start_thread(p);
		if (r && i > 0) {
			r = 0; /* fewer will do */
			break;
		}
	}
	if (r) {
		pull_free(p);
		return err_errno(err, r, "cannot pull");
	}
	*ret = p;
	return 0;
}

/* The site, and the name that its origin knows it by. */
static int place(struct pull *p, const struct image_reference *ref, struct pull_reference *r,
		 struct err *err)
{
	bool given = strstr(ref->source, "://") != NULL;
	err->text[0] = '\0';
	int rc = sites_serving(&p->fs->sites, &ref->spec, &r->site, err);
	if (rc && err->text[0])
		return rc;
	if (rc)
		return err_set(err, rc, "%s is not served here", ref->source);
	const struct source_spec *spec = &r->site->spec;
	size_t len = strlen(r->site->prefix);
	if ((given && (spec->https != ref->spec.https || spec->http != ref->spec.http)) ||
	    strncmp(ref->path, r->site->prefix, len) != 0)
		return err_set(err, -ENOENT, "%s is not served here", r->text);
	return source_repository(r->site->source, ref->path + len, r->repo)
		   ? err_set(err, -ENOENT, "%s: the name is too long", r->text)
		   : 0;
}

int pull_add(struct pull *p, const char *reference, struct err *err)
{
	struct image_reference ref;
	int rc = image_reference_parse(reference, &ref, err);
	if (rc)
		return rc;
	struct pull_reference *r = calloc(1, sizeof(*r));
	if (!r || !(r->text = strdup(reference))) {
		free(r);
		return err_set(err, -ENOMEM, "out of memory");
	}
	memcpy(r->tag, ref.tag, sizeof(r->tag));
	r->digest = ref.digest;
	rc = place(p, &ref, r, err);
	lock_take(&p->lock);
	if (rc == 0 && (p->sealed || p->references == PULL_REFERENCES_MAX))
		rc = err_set(err, -E2BIG, "more than %u references at once", PULL_REFERENCES_MAX);
	if (rc == 0) {
		if (p->last)
			p->last->next = r;
		else
			p->first = r;
		p->last = r;
		if (!p->todo)
			p->todo = r;
		p->references++;
		cond_broadcast(&p->change);
	}
	lock_drop(&p->lock);
	if (rc) {
		free(r->text);
		free(r);
	}
	return rc;
}

void pull_seal(struct pull *p)
{
	lock_take(&p->lock);
	p->sealed = true;
	cond_broadcast(&p->change);
	lock_drop(&p->lock);
}

void pull_cancel(struct pull *p)
{
	lock_take(&p->lock);
	p->cancelled = true;
	cond_broadcast(&p->change);
	lock_drop(&p->lock);
}

void pull_free(struct pull *p)
{
	if (!p)
		return;
	pull_cancel(p);
	leave(p);
}
