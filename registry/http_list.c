/* SPDX-License-Identifier: Apache-2.0 */
/* Tags and repositories: pages, and where the next one is. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "registry/errors.h"
#include "registry/http_source.h"
#include "registry/listing.h"
#include "registry/pages.h"

#define PAGE_ENTRIES 1000 /* more is an error with some */
#define PAGES_MAX    10000
#define PAGES_BARREN 32 /* so many that bring no new name are an end */

struct walk {
	struct http_source *h;
	const char *path; /* "/v2/…", without query */
	const char *repo;
	const char *key;
	listing_fn accept;
	struct names *names;
	struct call *call;

	struct pages pages;
	bool sized;                                   /* we say how many we want */
	enum { BY_LINK, BY_GUESS, BY_RESCUE } turned; /* how we came to the page */
	bool links;                                   /* this registry sends them */
	struct listing_page page;
	char before[sizeof((struct listing_page){0}.last)]; /* last of the page before */
	size_t found;     /* different names, when they were last counted */
	unsigned counted; /* pages by then */
	bool first_only;
	bool login; /* it is logging in that failed */
	bool cut;   /* the registry has more, and does not give it */
	bool whole; /* there are no more */
};

/* To the first page, or to the one after the name `last`. */
static int turn_to(struct walk *w, const char *last)
{
	char *target = NULL;
	int n;

	if (!last)
		last = "";
	if (w->sized)
		n = asprintf(&target, "%s?n=%d%s%s", w->path, PAGE_ENTRIES, *last ? "&last=" : "",
			     last);
	else
		n = asprintf(&target, "%s%s%s", w->path, *last ? "?last=" : "", last);
	return n < 0 ? -ENOMEM : pages_turn(&w->pages, target);
}

/* Reads the page into the list. */
static int take_page(struct walk *w, const struct answer *a, struct err *err)
{
	int r;

	memcpy(w->before, w->page.last, sizeof(w->before));
	r = listing_parse(a->body, a->body_len, w->key, w->accept, SOURCE_TAGS_MAX, w->names,
			  &w->page, err);
	if (r == -EFBIG && w->names->n >= SOURCE_TAGS_MAX) {
		w->cut = true;
		return 0;
	}
	return r < 0 ? err_wrap(err, r, "%s: GET %s", endpoints_origin(w->h->endpoints)->title,
				w->path)
		     : 0;
}

/* Turns to the page after this answer. 1: there is one. */
static int turn(struct walk *w, const struct answer *a)
{
	int r = pages_follow(&w->pages, a);

	if (r > 0) {
		w->turned = BY_LINK;
		w->links = true;
	}
	if (r != 0)
		return r;
	/* Registries of the time before Link cut the list without a word. */
	if (w->links || !w->sized || w->page.entries != PAGE_ENTRIES || !w->page.last[0] ||
	    strcmp(w->page.last, w->before) == 0)
		return 0;
	w->turned = BY_GUESS;
	r = turn_to(w, w->page.last);
	return r < 0 ? r : 1;
}

/* Of a page that the registry named itself, but does not give. Who we are is
 * another matter. */
static bool is_broken_link(const struct walk *w, int status)
{
	return w->turned != BY_GUESS && w->pages.count > 1 && status >= 400 && status < 500 &&
	       status != 401 && status != 403;
}

/* A 404 of a web server that has no such page, rather than of a registry that has no
 * such repository: registries without listings answer so for all. */
static bool has_no_such_page(const struct answer *a)
{
	struct registry_error said;

	if (a->status != 404)
		return false;
	errors_parse(a->body ? a->body : "", a->body_len, &said);
	return !said.code[0] || !strcmp(said.code, "PAGE_NOT_FOUND") ||
	       !strcmp(said.code, "UNSUPPORTED");
}

static int refused_for_good(const struct question *q, const struct answer *a, struct err *err)
{
	int r = client_refusal(q, a, err);

	if (r == -ENOENT && has_no_such_page(a))
		return err_wrap(err, -EPROTO, "no listing there");
	return r;
}

/* A page was refused: perhaps there is another way to ask. 1: there is. 0: what
 * is there must do. */
static int turn_refused(struct walk *w, const struct question *q, const struct answer *a,
			struct err *err)
{
	int r;

	if (w->pages.count == 1 && w->sized && (a->status == 400 || a->status == 405)) {
		w->sized = false;
		r = turn_to(w, NULL);
	} else if (w->turned == BY_GUESS) {
		return 0;
	} else if (w->turned == BY_LINK && w->links && w->page.last[0] &&
		   is_broken_link(w, a->status)) {
		w->turned = BY_RESCUE;
		r = turn_to(w, w->page.last);
	} else if (w->links && w->names->n > 0 && is_broken_link(w, a->status)) {
		w->cut = true;
		return 0;
	} else {
		return refused_for_good(q, a, err);
	}
	return r < 0 ? err_set(err, r, "out of memory") : 1;
}

/* One page. 1: there is another. */
static int walk_page(struct walk *w, int *refused, struct err *err)
{
	struct question q = {.method = "GET",
			     .target = w->pages.target,
			     .repo = w->repo,
			     .accept = "application/json",
			     .body_max = LISTING_PAGE_MAX};
	struct answer a;
	int r;

	*refused = 0;
	r = endpoints_ask(w->h->endpoints, &q, w->call, &a, err);
	w->login = r == -EACCES && a.login;
	if (r == 0 && a.status != 200) {
		*refused = a.status;
		r = turn_refused(w, &q, &a, err);
	} else if (r == 0) {
		r = take_page(w, &a, err);
		*refused = r == -EPROTO ? a.status : 0;
		if (r == 0 && !w->cut)
			r = turn(w, &a);
		if (r == -ENOMEM)
			err_set(err, r, "out of memory");
	}
	answer_release(&a);
	return r;
}

/* Whether it goes on without bringing anything, or longer than anybody lists. Counting is
 * not free, so it is done at growing distances. */
static bool is_endless(struct walk *w)
{
	unsigned pages = w->pages.count - w->counted;
	size_t before = w->found;

	if (w->pages.count >= PAGES_MAX)
		return true;
	if (pages < PAGES_BARREN || pages < w->counted / 4)
		return false;
	names_sort(w->names);
	w->found = w->names->n;
	w->counted = w->pages.count;
	return w->found == before;
}

/* All pages. *refused: the status with which the registry refused one. */
static int walk(struct walk *w, int *refused, struct err *err)
{
	bool circle = false;
	int r;

	w->sized = true;
	r = turn_to(w, NULL);
	if (r == 0)
		r = pages_begin(&w->pages, &circle);
	if (r < 0)
		err_set(err, r, "out of memory");
	else
		r = 1;
	while (r == 1 && !circle) {
		r = walk_page(w, refused, err);
		if (r == 1 && w->first_only && !*refused)
			break;
		if (r == 1 && is_endless(w))
			break;
		if (r == 1 && pages_begin(&w->pages, &circle) < 0)
			r = err_set(err, -ENOMEM, "out of memory");
	}
	w->whole = r == 0 && !w->cut;
	pages_release(&w->pages);
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

/* Whether we would log in with what was there then: with another login, or none, a
 * refusal is another matter, and who cannot tell has not been refused. */
static bool is_same_login(struct http_source *h, struct call *call, const struct digest *then)
{
	struct digest now;

	return auth_login_id(endpoints_origin(h->endpoints)->auth, "", call, &now, NULL) == 0 &&
	       digest_equal(&now, then);
}

static int catalog_refused_before(struct http_source *h, struct call *call, struct err *err)
{
	char text[ERR_TEXT_MAX];
	struct digest login;
	int code = 0;

	lock_take(&h->lock);
	if (clock_ms() < h->catalog_until_ms) {
		code = h->catalog_code;
		login = h->catalog_login;
		memcpy(text, h->catalog_text, sizeof(text));
	}
	lock_drop(&h->lock);
	if (code == 0 || (code == -EACCES && !is_same_login(h, call, &login)))
		return 0;
	return err_set(err, code, "%s", text);
}

static void note_refusal(struct http_source *h, int code, const struct digest *login,
			 const struct err *why)
{
	lock_take(&h->lock);
	h->catalog_code = code;
	h->catalog_login = *login;
	h->catalog_until_ms = clock_ms() + SOURCE_CATALOG_REFUSED_MS;
	memcpy(h->catalog_text, why->text, sizeof(h->catalog_text));
	lock_drop(&h->lock);
}

/* Most public registries do not list, and say so in all sorts of ways. What is no word
 * of the registry or of its token server, but of a helper that is locked, or of a
 * certificate, may be well at any time. */
static int judge_refusal(const struct walk *w, int r, int refused, const struct err *why)
{
	const struct client *origin = endpoints_origin(w->h->endpoints);
	struct digest login = {0};

	if (!refused && !w->login)
		return r;
	r = r == -EACCES ? r : -ENOENT;
	if (r == -ENOENT || auth_login_id(origin->auth, "", w->call, &login, NULL) == 0)
		note_refusal(w->h, r, &login, why);
	return r;
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

int http_source_catalog(struct source *s, struct call *call, struct names *ret, bool *ret_whole,
			struct err *err)
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
	int r = catalog_refused_before(h, call, err);

	if (r < 0)
		return r;
	r = walk(&w, &refused, &why);
	if (r < 0)
		r = judge_refusal(&w, r, refused, &why);
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
	*ret_whole = w.whole;
	return 0;
}
