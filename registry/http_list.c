/* SPDX-License-Identifier: Apache-2.0 */
/* Tags and repositories: pages, and where the next one is. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "registry/http_source.h"
#include "registry/link.h"
#include "registry/listing.h"

#define PAGE_ENTRIES 1000 /* more is an error with some */
#define PAGES_MAX    10000

struct walk {
	struct http_source *h;
	const char *path; /* "/v2/…", without query */
	const char *repo;
	const char *key;
	listing_fn accept;
	struct names *names;
	struct call *call;

	char *target;                                 /* of the page to ask for; owned */
	bool sized;                                   /* it says how many we want */
	enum { BY_LINK, BY_GUESS, BY_RESCUE } turned; /* how we came to it */
	bool links;                                   /* this registry sends them */
	struct listing_page page;
	char before[sizeof((struct listing_page){0}.last)]; /* last of the page before */
	struct digest seen;                                 /* the page before, as bytes */
	char *mark; /* a page from before, to notice a circle; owned */
	unsigned pages, next_mark;
	bool first_only;
	bool whole; /* there are no more */
};

static int set_target(struct walk *w, bool sized, const char *last)
{
	char *target;
	int n;

	if (sized)
		n = asprintf(&target, "%s?n=%d%s%s", w->path, PAGE_ENTRIES, last ? "&last=" : "",
			     last ? last : "");
	else
		n = asprintf(&target, "%s", w->path);
	if (n < 0)
		return -ENOMEM;
	free(w->target);
	w->target = target;
	w->sized = sized;
	return 0;
}

/* The target of the next page, or none. */
static int follow_link(struct walk *w, const struct answer *a, char **ret)
{
	AUTO_FREE char *link = NULL;
	struct url page = {0}, next = {0};
	int r = a->link ? link_next(a->link, strlen(a->link), &link) : 0;

	*ret = NULL;
	if (r <= 0)
		return r;
	/* Seen from our own origin, whoever answered. */
	r = url_resolve(&a->url, w->target, &page);
	if (r == 0)
		r = link_resolve(&page, link, &next);
	if (r == 0) {
		*ret = client_target(a->from, &next);
		r = *ret ? 0 : -ENOMEM;
	}
	url_release(&page);
	url_release(&next);
	return r;
}

/* A circle of any length is noticed by comparing with one page, which moves
 * on at growing distances. */
static int note_mark(struct walk *w, bool *circle)
{
	*circle = w->mark && strcmp(w->mark, w->target) == 0;
	if (w->pages < w->next_mark)
		return 0;
	w->next_mark = w->pages * 2;
	free(w->mark);
	w->mark = strdup(w->target);
	return w->mark ? 0 : -ENOMEM;
}

/* Reads the page into the list. *repeated: it was the one before again. */
static int take_page(struct walk *w, const struct answer *a, bool *repeated, struct err *err)
{
	struct digest now;
	int r = digest_of(DIGEST_SHA256, a->body, a->body_len, &now);

	if (r < 0)
		return err_set(err, r, "cannot hash");
	*repeated = digest_equal(&now, &w->seen);
	w->seen = now;
	if (*repeated)
		return 0;
	memcpy(w->before, w->page.last, sizeof(w->before));
	r = listing_parse(a->body, a->body_len, w->key, w->accept, SOURCE_TAGS_MAX, w->names,
			  &w->page, err);
	return r < 0 ? err_wrap(err, r, "%s: GET %s", endpoints_origin(w->h->endpoints)->title,
				w->path)
		     : 0;
}

/* Turns to the page after this answer. 1: there is one. */
static int turn(struct walk *w, const struct answer *a)
{
	char *next = NULL;
	int r = follow_link(w, a, &next);

	if (r == -EINVAL)
		r = 0; /* a link to nowhere is none */
	if (r < 0)
		return r;
	if (next) {
		free(w->target);
		w->target = next;
		w->turned = BY_LINK;
		w->links = true;
		return 1;
	}
	/* Registries of the time before Link cut the list without a word. */
	if (w->links || !w->sized || w->page.entries != PAGE_ENTRIES || !w->page.last[0] ||
	    strcmp(w->page.last, w->before) == 0)
		return 0;
	w->turned = BY_GUESS;
	r = set_target(w, true, w->page.last);
	return r < 0 ? r : 1;
}

/* A page was refused: perhaps there is another way to ask. 1: there is. */
static int turn_refused(struct walk *w, const struct question *q, const struct answer *a,
			struct err *err)
{
	int r;

	if (w->pages == 1 && w->sized && (a->status == 400 || a->status == 405)) {
		r = set_target(w, false, NULL);
	} else if (w->turned == BY_GUESS) {
		return 0;
	} else if (w->turned == BY_LINK && w->links && a->status >= 400 && a->status < 500 &&
		   w->page.last[0]) {
		w->turned = BY_RESCUE;
		r = set_target(w, true, w->page.last);
	} else {
		return client_refusal(q, a, err);
	}
	return r < 0 ? err_set(err, r, "out of memory") : 1;
}

/* One page. 1: there is another. */
static int walk_page(struct walk *w, int *refused, struct err *err)
{
	struct question q = {.method = "GET",
			     .target = w->target,
			     .repo = w->repo,
			     .accept = "application/json",
			     .body_max = LISTING_PAGE_MAX};
	bool repeated = false;
	struct answer a;
	int r;

	*refused = 0;
	w->pages++;
	r = endpoints_ask(w->h->endpoints, &q, w->call, &a, err);
	if (r == 0 && a.status != 200) {
		*refused = a.status;
		r = turn_refused(w, &q, &a, err);
	} else if (r == 0) {
		r = take_page(w, &a, &repeated, err);
		*refused = r == -EPROTO ? a.status : 0;
		if (r == 0 && !repeated)
			r = turn(w, &a);
		if (r == -ENOMEM)
			err_set(err, r, "out of memory");
	}
	answer_release(&a);
	return r;
}

/* All pages. *refused: the status with which the registry refused one. */
static int walk(struct walk *w, int *refused, struct err *err)
{
	bool circle = false;
	int r = set_target(w, true, NULL);

	w->next_mark = 1;
	if (r < 0)
		return err_set(err, r, "out of memory");
	do {
		r = walk_page(w, refused, err);
		if (r == 1 && w->pages >= PAGES_MAX)
			r = err_set(err, -EFBIG, "%s: GET %s: more than %d pages",
				    endpoints_origin(w->h->endpoints)->title, w->path, PAGES_MAX);
		if (r == 1 && note_mark(w, &circle) < 0)
			r = err_set(err, -ENOMEM, "out of memory");
	} while (r == 1 && !circle && (*refused || !w->first_only));
	w->whole = r == 0;
	free(w->target);
	free(w->mark);
	if (r < 0)
		return r;
	names_sort(w->names);
	return 0;
}

int http_source_tags(struct source *s, const char *repo, bool first_page, struct call *call,
		     struct names *ret, bool *ret_whole, struct err *err)
{
	char path[HTTP_TARGET_MAX];
	struct names names = {0};
	struct walk w = {.h = http_source_of(s),
			 .path = path,
			 .repo = repo,
			 .key = "tags",
			 .accept = reference_is_tag,
			 .names = &names,
			 .call = call,
			 .first_only = first_page};
	int refused = 0;
	int r;

	snprintf(path, sizeof(path), "/v2/%s/tags/list", repo);
	r = walk(&w, &refused, err);
	if (r < 0) {
		names_release(&names);
		return r;
	}
	*ret = names;
	*ret_whole = w.whole;
	return 0;
}

/* ---- repositories ---- */

static int catalog_refused_before(struct http_source *h, struct err *err)
{
	char text[ERR_TEXT_MAX];
	int code = 0;

	lock_take(&h->lock);
	if (clock_ms() < h->catalog_until_ms) {
		code = h->catalog_code;
		memcpy(text, h->catalog_text, sizeof(text));
	}
	lock_drop(&h->lock);
	return code < 0 ? err_set(err, code, "%s", text) : 0;
}

/* Most public registries do not list, and say so in all sorts of ways. */
static int note_refusal(struct http_source *h, int status, const struct err *why)
{
	int code = status == 401 || status == 403 ? -EACCES : -ENOENT;

	lock_take(&h->lock);
	h->catalog_code = code;
	h->catalog_until_ms = clock_ms() + SOURCE_CATALOG_REFUSED_MS;
	memcpy(h->catalog_text, why->text, sizeof(h->catalog_text));
	lock_drop(&h->lock);
	return code;
}

/* Those below the namespace, by their path below it. */
static int keep_below(const char *namespace, const struct names *all, struct names *ret)
{
	size_t len = strlen(namespace);
	int r = 0;

	for (size_t i = 0; r == 0 && i < all->n; i++) {
		const char *s = all->v[i];

		if (len > 0 && (strncmp(s, namespace, len) != 0 || s[len] != '/'))
			continue;
		s += len > 0 ? len + 1 : 0;
		r = names_add(ret, s, strlen(s));
	}
	if (r < 0)
		names_release(ret);
	else
		names_sort(ret);
	return r;
}

int http_source_catalog(struct source *s, struct call *call, struct names *ret, struct err *err)
{
	struct http_source *h = http_source_of(s);
	const struct endpoint *origin = endpoints_origin(h->endpoints)->endpoint;
	struct names all = {0}, ours = {0}, below = {0};
	struct walk w = {.h = h,
			 .path = "/v2/_catalog",
			 .repo = "",
			 .key = "repositories",
			 .accept = reference_is_repository,
			 .names = &all,
			 .call = call};
	struct err why = {""};
	int refused = 0;
	int r = catalog_refused_before(h, err);

	if (r < 0)
		return r;
	r = walk(&w, &refused, &why);
	if (r == -EACCES || (r < 0 && refused))
		r = note_refusal(h, r == -EACCES ? 403 : refused, &why);
	if (r < 0) {
		names_release(&all);
		return err_set(err, r, "%s", why.text);
	}
	/* It may be kept below a path of another registry. */
	if (origin->repo_base && *origin->repo_base) {
		r = keep_below(origin->repo_base, &all, &ours);
		names_release(&all);
		all = ours;
	}
	if (r == 0)
		r = keep_below(h->namespace, &all, &below);
	names_release(&all);
	if (r < 0)
		return err_set(err, r, "out of memory");
	*ret = below;
	return 0;
}
