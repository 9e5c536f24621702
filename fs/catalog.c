/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/catalog.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cache/refs.h"
#include "fs/memo.h"
#include "fs/referrer_name.h"
#include "registry/reference.h"
#include "registry/source.h"

/* "repository name": a space is in neither grammar. */
#define KEY_MAX (REPOSITORY_MAX + DIGEST_STRING_MAX + 2)

/* What an earlier mount knew has no age of this process's clock. */
#define SEEN_BEFORE INT64_MIN

struct tag_value {
	int64_t seen_ms;
	bool absent;
	struct descriptor desc;
};

struct listing_value {
	int64_t seen_ms;
	struct listing *listing; /* NULL: absent */
};

struct catalog {
	struct catalog_options o;
	struct memo *tags;     /* struct tag_value */
	struct memo *absent;   /* digests that do not exist: int64_t seen_ms */
	struct memo *listings; /* struct listing_value */
	struct memo *images;   /* struct image * */
	struct memo *repos;    /* nothing: they exist */
	struct memo *sizes;    /* uint64_t, by repository and digest: see size_key() */
};

static void listing_retain(void *value)
{
	struct listing_value *v = value;
	if (v->listing)
		atomic_fetch_add(&v->listing->refs, 1);
}

static void listing_release(void *value)
{
	struct listing_value *v = value;
	listing_unref(v->listing);
}

/* An image is some five times its text, names and strings and all. */
static size_t image_bytes(const void *value)
{
	const struct image *i = *(struct image *const *)value;
	return 4096 + 6 * (size_t)i->manifest->desc.size;
}

static size_t listing_bytes(const void *value)
{
	const struct listing_value *v = value;
	return v->listing ? v->listing->bytes : 0;
}

static void image_retain(void *value)
{
	image_ref(*(struct image **)value);
}

static void image_release(void *value)
{
	image_unref(*(struct image **)value);
}

int catalog_new(const struct catalog_options *o, struct catalog **ret)
{
	static const struct memo_type tags = {.max = CATALOG_TAGS_MAX,
					      .value_size = sizeof(struct tag_value)};
	static const struct memo_type absent = {.max = CATALOG_DIGESTS_MAX,
						.value_size = sizeof(int64_t)};
	static const struct memo_type repos = {.max = CATALOG_REPOS_MAX};
	static const struct memo_type sizes = {.max = CATALOG_SIZES_MAX,
					       .value_size = sizeof(uint64_t)};
	static const struct memo_type listings = {.max = CATALOG_LISTINGS_MAX,
						  .value_size = sizeof(struct listing_value),
						  .bytes_max = CATALOG_LISTINGS_BYTES,
						  .bytes = listing_bytes,
						  .retain = listing_retain,
						  .release = listing_release};
	static const struct memo_type images = {.max = CATALOG_IMAGES_MAX,
						.value_size = sizeof(struct image *),
						.bytes_max = CATALOG_IMAGES_BYTES,
						.bytes = image_bytes,
						.retain = image_retain,
						.release = image_release};
	struct catalog *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->o = *o;
	if (memo_new(&tags, &c->tags) || memo_new(&absent, &c->absent) ||
	    memo_new(&listings, &c->listings) || memo_new(&images, &c->images) ||
	    memo_new(&repos, &c->repos) || memo_new(&sizes, &c->sizes)) {
		catalog_free(c);
		return -ENOMEM;
	}
	*ret = c;
	return 0;
}

void catalog_free(struct catalog *c)
{
	if (!c)
		return;
	memo_free(c->tags);
	memo_free(c->absent);
	memo_free(c->listings);
	memo_free(c->images);
	memo_free(c->repos);
	memo_free(c->sizes);
	free(c);
}

static size_t make_key(const char *repo, const char *name, char key[KEY_MAX])
{
	int n = snprintf(key, KEY_MAX, "%s %s", repo, name);
	ASSERT(n > 0 && n < KEY_MAX);
	return (size_t)n;
}

/* How long what was seen then holds on: 0 or less means no longer. */
static int64_t left_ms(int64_t seen_ms, int64_t ttl_ms)
{
	return seen_ms == SEEN_BEFORE ? 0 : seen_ms + ttl_ms - clock_ms();
}

static bool load_tag(struct catalog *c, const char *repo, const char *tag, struct tag_value *ret)
{
	struct tag_record rec;
	if (refs_tag_load(c->o.refs, c->o.origin, repo, tag, &rec, NULL))
		return false;
	*ret = (struct tag_value){.seen_ms = SEEN_BEFORE, .desc = rec.desc};
	return true;
}

enum known catalog_tag(struct catalog *c, const char *repo, const char *tag, struct descriptor *ret,
		       int64_t *ret_left_ms)
{
	char key[KEY_MAX];
	size_t len = make_key(repo, tag, key);
	struct tag_value v;
	if (!memo_get(c->tags, key, len, &v)) {
		if (!load_tag(c, repo, tag, &v))
			return KNOWN_NOT;
		memo_put(c->tags, key, len, &v);
	}
	int64_t left = left_ms(v.seen_ms, v.absent ? CATALOG_NEGATIVE_MS : c->o.tag_ttl_ms);
	if (v.absent && left <= 0)
		return KNOWN_NOT;
	if (ret_left_ms)
		*ret_left_ms = left;
	if (v.absent)
		return KNOWN_ABSENT;
	if (ret)
		*ret = v.desc;
	return left > 0 ? KNOWN_FRESH : KNOWN_STALE;
}

int catalog_tag_put(struct catalog *c, const char *repo, const char *tag,
		    const struct descriptor *desc, struct err *err)
{
	char key[KEY_MAX];
	size_t len = make_key(repo, tag, key);
	struct tag_value v = {.seen_ms = clock_ms(), .desc = *desc};
	memo_put(c->tags, key, len, &v);
	struct tag_record rec = {.desc = *desc, .seen_ms = clock_wall_ms()};
	return refs_tag_save(c->o.refs, c->o.origin, repo, tag, &rec, err);
}

void catalog_tag_absent(struct catalog *c, const char *repo, const char *tag)
{
	char key[KEY_MAX];
	size_t len = make_key(repo, tag, key);
	struct tag_value v = {.seen_ms = clock_ms(), .absent = true};
	memo_put(c->tags, key, len, &v);
	refs_tag_forget(c->o.refs, c->o.origin, repo, tag);
}

void listing_unref(struct listing *l)
{
	if (!l || atomic_fetch_sub(&l->refs, 1) != 1)
		return;
	names_release(&l->names);
	free(l);
}

/* Takes over the content of names. */
static struct listing *listing_new(struct names *names)
{
	struct listing *l = calloc(1, sizeof(*l));
	if (!l) {
		names_release(names);
		return NULL;
	}
	l->names = *names;
	*names = (struct names){0};
	l->bytes = sizeof(*l) + l->names.room * sizeof(char *);
	for (size_t i = 0; i < l->names.n; i++)
		l->bytes += strlen(l->names.v[i]) + 1 + 2 * sizeof(size_t); /* and malloc's own */
	atomic_init(&l->refs, 1);
	return l;
}

static bool load_listing(struct catalog *c, const char *repo, struct listing_value *ret)
{
	struct names names = {0};
	int64_t seen;
	if (refs_listing_load(c->o.refs, c->o.origin, repo, &names, &seen, NULL))
		return false;
	*ret = (struct listing_value){.seen_ms = SEEN_BEFORE, .listing = listing_new(&names)};
	return ret->listing != NULL;
}

enum known catalog_listing(struct catalog *c, const char *repo, struct listing **ret,
			   int64_t *ret_left_ms)
{
	size_t len = strlen(repo);
	struct listing_value v;
	if (!memo_get(c->listings, repo, len, &v)) {
		if (!load_listing(c, repo, &v))
			return KNOWN_NOT;
		memo_put(c->listings, repo, len, &v);
	}
	int64_t left = left_ms(v.seen_ms, v.listing ? c->o.list_ttl_ms : CATALOG_NEGATIVE_MS);
	if (ret_left_ms)
		*ret_left_ms = left;
	if (!v.listing)
		return left > 0 ? KNOWN_ABSENT : KNOWN_NOT;
	if (ret)
		*ret = v.listing;
	else
		listing_unref(v.listing);
	return left > 0 ? KNOWN_FRESH : KNOWN_STALE;
}

int catalog_listing_put(struct catalog *c, const char *repo, struct names *names, bool whole,
			struct err *err)
{
	struct listing_value v = {.seen_ms = clock_ms(), .listing = listing_new(names)};
	if (!v.listing)
		return err_set(err, -ENOMEM, "%s: no memory for its listing", repo);
	memo_put(c->listings, repo, strlen(repo), &v);
	int r = whole ? refs_listing_save(c->o.refs, c->o.origin, repo, &v.listing->names,
					  clock_wall_ms(), err)
		      : 0;
	listing_unref(v.listing);
	return r;
}

void catalog_listing_absent(struct catalog *c, const char *repo)
{
	struct listing_value v = {.seen_ms = clock_ms()};
	memo_put(c->listings, repo, strlen(repo), &v);
}

bool catalog_repo_known(struct catalog *c, const char *repo)
{
	enum known tags = catalog_listing(c, repo, NULL, NULL);
	char nothing[1];
	if (tags == KNOWN_FRESH || tags == KNOWN_STALE ||
	    memo_get(c->repos, repo, strlen(repo), nothing))
		return true;
	return refs_named_any(c->o.refs, c->o.origin, repo);
}

void catalog_repo_put(struct catalog *c, const char *repo)
{
	memo_put(c->repos, repo, strlen(repo), "");
}

static int add_all(struct names *to, const struct names *from, const char *prefix)
{
	size_t skip = strlen(prefix);
	for (size_t i = 0; i < from->n; i++) {
		const char *name = from->v[i];
		if (strncmp(name, prefix, skip) != 0)
			continue;
		size_t len = strlen(name + skip);
		if (reference_is_repository(name + skip, len) && names_add(to, name + skip, len))
			return -ENOMEM;
	}
	return 0;
}

int catalog_repos(struct catalog *c, const char *prefix, struct names *names, struct err *err)
{
	struct names recorded = {0};
	int r = refs_repos(c->o.refs, c->o.origin, &recorded, err);
	if (r && r != -ENOENT)
		return r;
	r = add_all(names, &recorded, prefix);
	names_release(&recorded);
	struct listing *l = NULL;
	enum known known = catalog_listing(c, prefix, &l, NULL);
	if (!r && (known == KNOWN_FRESH || known == KNOWN_STALE)) {
		r = add_all(names, &l->names, "");
		listing_unref(l);
	}
	if (r)
		return err_set(err, r, "no memory for the list of repositories");
	names_sort(names);
	return 0;
}

enum known catalog_named(struct catalog *c, const char *repo, const struct digest *d,
			 struct descriptor *ret)
{
	if (refs_named(c->o.refs, c->o.origin, repo, d, ret, NULL) == 0)
		return KNOWN_FRESH;
	char text[DIGEST_STRING_MAX], key[KEY_MAX];
	digest_string(d, text);
	size_t len = make_key(repo, text, key);
	int64_t seen;
	bool absent =
	    memo_get(c->absent, key, len, &seen) && left_ms(seen, CATALOG_NEGATIVE_MS) > 0;
	return absent ? KNOWN_ABSENT : KNOWN_NOT;
}

int catalog_name(struct catalog *c, const char *repo, const struct descriptor *descs, size_t n,
		 struct err *err)
{
	return refs_name(c->o.refs, c->o.origin, repo, descs, n, err);
}

void catalog_digest_absent(struct catalog *c, const char *repo, const struct digest *d)
{
	char text[DIGEST_STRING_MAX], key[KEY_MAX];
	digest_string(d, text);
	size_t len = make_key(repo, text, key);
	int64_t seen = clock_ms();
	memo_put(c->absent, key, len, &seen);
}

/* With "" for the repository: whether there is a dispute at all. */
static size_t size_key(const char *repo, const struct digest *d, char key[KEY_MAX])
{
	char text[DIGEST_STRING_MAX];
	digest_string(d, text);
	return make_key(repo, text, key);
}

enum known catalog_size(struct catalog *c, const char *repo, const struct digest *d, uint64_t *ret)
{
	char key[KEY_MAX];
	uint64_t size;
	if (!memo_get(c->sizes, key, size_key("", d, key), &size))
		return KNOWN_NOT;
	if (!memo_get(c->sizes, key, size_key(repo, d, key), &size))
		return KNOWN_STALE;
	*ret = size;
	return KNOWN_FRESH;
}

void catalog_size_dispute(struct catalog *c, const char *repo, const struct digest *d)
{
	char key[KEY_MAX];
	uint64_t none = 0;
	memo_put(c->sizes, key, size_key("", d, key), &none);
	memo_drop(c->sizes, key, size_key(repo, d, key));
}

void catalog_size_answer(struct catalog *c, const char *repo, const struct descriptor *said)
{
	char key[KEY_MAX];
	uint64_t size;
	if (memo_get(c->sizes, key, size_key("", &said->digest, key), &size))
		memo_put(c->sizes, key, size_key(repo, &said->digest, key), &said->size);
}

int catalog_namers(struct catalog *c, const struct digest *d, const char *except, size_t max,
		   struct names *ret)
{
	struct names all = {0};
	int r = refs_repos(c->o.refs, c->o.origin, &all, NULL);
	for (size_t i = 0; i < all.n && r == 0 && ret->n < max; i++) {
		const char *repo = all.v[i];
		struct descriptor desc;
		if (strcmp(repo, except) != 0 &&
		    refs_named(c->o.refs, c->o.origin, repo, d, &desc, NULL) == 0)
			r = names_add(ret, repo, strlen(repo));
	}
	names_release(&all);
	return r == -ENOENT ? 0 : r;
}

int catalog_named_all(struct catalog *c, const char *repo, struct descriptor **ret, size_t *ret_n,
		      struct err *err)
{
	return refs_named_all(c->o.refs, c->o.origin, repo, ret, ret_n, err);
}

struct image *catalog_image(struct catalog *c, const struct digest *d)
{
	struct image *i;
	return memo_get(c->images, d, sizeof(*d), &i) ? i : NULL;
}

void catalog_image_put(struct catalog *c, struct image *i)
{
	const struct digest *d = &i->manifest->desc.digest;
	memo_put(c->images, d, sizeof(*d), &i);
}

/* ---- what is to be asked anew ---- */

/* A key is a name, or one with something behind it that is in no name. */
struct forgetting {
	const struct catalog *c;
	const char *name; /* "": all */
	bool below;       /* what is below it, too */
	unsigned counted;
};

static bool names_it(const struct forgetting *f, const char *key, size_t len)
{
	size_t n = strlen(f->name);
	if (n == 0)
		return true;
	if (len < n || memcmp(key, f->name, n) != 0)
		return false;
	return len == n || key[n] == ' ' || key[n] == '@' || (f->below && key[n] == '/');
}

static bool is_tag_to_forget(void *ctx, const void *key, size_t len, const void *value)
{
	struct forgetting *f = ctx;
	const struct tag_value *v = value;
	if (!names_it(f, key, len))
		return false;
	int64_t ttl = v->absent ? CATALOG_NEGATIVE_MS : f->c->o.tag_ttl_ms;
	f->counted += left_ms(v->seen_ms, ttl) > 0;
	return true;
}

static bool is_listing_to_forget(void *ctx, const void *key, size_t len, const void *value)
{
	struct forgetting *f = ctx;
	const struct listing_value *v = value;
	if (!names_it(f, key, len))
		return false;
	int64_t ttl = v->listing ? f->c->o.list_ttl_ms : CATALOG_NEGATIVE_MS;
	f->counted += left_ms(v->seen_ms, ttl) > 0;
	return true;
}

static bool is_absence_to_forget(void *ctx, const void *key, size_t len, const void *value)
{
	struct forgetting *f = ctx;
	int64_t seen;
	if (!names_it(f, key, len))
		return false;
	memcpy(&seen, value, sizeof(seen));
	f->counted += left_ms(seen, CATALOG_NEGATIVE_MS) > 0;
	return true;
}

/* What is on disk is STALE when it is loaded again. */
unsigned catalog_forget_tag(struct catalog *c, const char *repo, const char *tag)
{
	char key[KEY_MAX];
	int64_t left = 0;
	enum known known = catalog_tag(c, repo, tag, NULL, &left);
	memo_drop(c->tags, key, make_key(repo, tag, key));
	return known == KNOWN_FRESH || known == KNOWN_ABSENT;
}

unsigned catalog_forget_tags(struct catalog *c, const char *repo)
{
	struct forgetting f = {.c = c, .name = repo};
	memo_drop_where(c->tags, is_tag_to_forget, &f);
	return f.counted;
}

unsigned catalog_forget_listing(struct catalog *c, const char *repo)
{
	enum known known = catalog_listing(c, repo, NULL, NULL);
	memo_drop(c->listings, repo, strlen(repo));
	return known == KNOWN_FRESH || known == KNOWN_ABSENT;
}

unsigned catalog_forget_digest(struct catalog *c, const char *repo, const struct digest *d,
			       bool referrers)
{
	char text[DIGEST_STRING_MAX], key[KEY_MAX], listing[REFERRERS_KEY_MAX];
	digest_string(d, text);
	if (referrers) {
		referrers_key(repo, d, listing);
		return catalog_forget_listing(c, listing);
	}
	size_t len = make_key(repo, text, key);
	int64_t seen;
	bool was = memo_get(c->absent, key, len, &seen) && left_ms(seen, CATALOG_NEGATIVE_MS) > 0;
	memo_drop(c->absent, key, len);
	return was;
}

unsigned catalog_forget_below(struct catalog *c, const char *name)
{
	struct forgetting f = {.c = c, .name = name, .below = true};
	memo_drop_where(c->tags, is_tag_to_forget, &f);
	memo_drop_where(c->listings, is_listing_to_forget, &f);
	memo_drop_where(c->absent, is_absence_to_forget, &f);
	return f.counted;
}
