/* SPDX-License-Identifier: Apache-2.0 */
/* Which registry an op is about: that of the host its node lies below. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "fs/catalog.h"
#include "fs/fetch.h"
#include "fs/nodes.h"
#include "fs/op.h"

int op_find_site(struct op *op, uint64_t node, bool enters)
{
	struct sites *sites = &op->fs->sites;
	char host[NODE_HOST_SIZE];
	bool itself = false;
	struct site *site = NULL;
	if (!sites->several) {
		op->site = sites_at(sites, 0);
		return 0;
	}
	int r = node_host(op->fs->nodes, node, host, &itself);
	/* What is not there is for the handler to find. */
	if (r || host[0] == '\0')
		return 0;
	bool must = !itself || enters;
	if (!must || op->explains)
		site = sites_find(sites, host);
	else
		r = sites_get(sites, host, &site, &op->err);
	if (must && op->explains && !site)
		r = sites_try(sites, host, &op->err);
	if (must && r == 0 && !site)
		return -EAGAIN;
	if (r == 0 && site)
		op_enter(op, site);
	return r;
}

void op_enter(struct op *op, struct site *site)
{
	if (op->site == site)
		return;
	op_leave(op);
	op->site = site;
	op->failure = 0; /* that was another's */
}

static bool is_slow(struct site *site)
{
	return clock_ms() < atomic_load(&site->slow_until_ms);
}

static struct op_place *left_place(struct op *op, const struct site *site, const char *repo)
{
	for (unsigned i = 0; i < op->route.left_n; i++) {
		if (op->route.left[i].site == site && strcmp(op->route.left[i].repo, repo) == 0)
			return &op->route.left[i];
	}
	return NULL;
}

/* A repository of this site that named the digest, and was not left. */
static bool is_named_at(struct op *op, struct site *site, const struct digest *d,
			char repo[REPOSITORY_MAX])
{
	struct names names = {0};
	bool found = false;
	if (catalog_namers(site->catalog, d, "", OP_PLACES_MAX + 1, &names))
		return false;
	for (size_t i = 0; i < names.n && !found; i++) {
		size_t len = strlen(names.v[i]);
		found = len < REPOSITORY_MAX && !left_place(op, site, names.v[i]);
		if (found)
			memcpy(repo, names.v[i], len + 1);
	}
	names_release(&names);
	return found;
}

/* Another site, one that is well first; at last, if the host was silent, another repository of
 * the same. NULL: none. */
static struct site *next_place(struct op *op, const struct digest *d, bool silent,
			       char repo[REPOSITORY_MAX])
{
	struct site *site;
	for (int slow = 0; slow < 2; slow++) {
		for (unsigned i = 0; (site = sites_at(&op->fs->sites, i)); i++) {
			if (site != op->site && is_slow(site) == slow &&
			    fetch_refused(site->fetcher, NULL) == 0 &&
			    is_named_at(op, site, d, repo))
				return site;
		}
	}
	bool again = silent && fetch_refused(op->site->fetcher, NULL) == 0;
	return again && is_named_at(op, op->site, d, repo) ? op->site : NULL;
}

/* All others have failed, or are silent: then what crawls is better than nothing. */
static struct site *back_to_crawling(struct op *op, char repo[REPOSITORY_MAX])
{
	for (unsigned i = 0; i < op->route.left_n; i++) {
		struct op_place *p = &op->route.left[i];
		if (!p->crawled || fetch_refused(p->site->fetcher, NULL))
			continue;
		p->crawled = false;
		op->route.settled = true;
		memcpy(repo, p->repo, sizeof(p->repo));
		return p->site;
	}
	return NULL;
}

static void turn_to(struct op *op, struct site *site, const char *repo)
{
	op_enter(op, site);
	op->failure = 0; /* that was another place's */
	op->route.pace = 0;
	memmove(op->repo, repo, strlen(repo) + 1);
}

static void note_left(struct op *op, const char *repo)
{
	struct op_route *route = &op->route;
	struct op_place *p = left_place(op, op->site, repo);
	if (!p)
		p = &route->left[route->left_n++];
	p->site = op->site;
	p->crawled = route->pace == FLIGHT_CRAWLS || route->pace == FLIGHT_QUEUED;
	snprintf(p->repo, sizeof(p->repo), "%s", repo);
}

static bool is_being_fetched(struct site *site, const struct digest *d, uint64_t size)
{
	struct want w;
	memset(&w, 0, sizeof(w)); /* hashed as a whole, padding too */
	w.kind = WANT_BLOB;
	w.digest = *d;
	w.size = size;
	return flight_is_under_way(fetcher_flights(site->fetcher), &w, NULL);
}

void op_route_begin(struct op *op, const struct digest *d, const char *repo, uint64_t size)
{
	char other[REPOSITORY_MAX];
	struct site *site;
	if (op->route.begun)
		return;
	op->route.begun = true;
	snprintf(op->repo, sizeof(op->repo), "%s", repo);
	if (!op->fs->sites.several || is_being_fetched(op->site, d, size))
		return;
	/* Two would be in each other's way: there is one partial file. */
	for (unsigned i = 0; (site = sites_at(&op->fs->sites, i)); i++) {
		if (is_being_fetched(site, d, size) && is_named_at(op, site, d, other)) {
			turn_to(op, site, other);
			return;
		}
	}
	if (!is_slow(op->site))
		return;
	site = next_place(op, d, false, other);
	if (site && !is_slow(site))
		turn_to(op, site, other);
}

/* With less time no other place could show what it can do. */
static bool has_time(const struct op *op)
{
	return op->start_ms + op->fs->o.timeout_ms - clock_ms() > OP_SHARE_MS / 2;
}

/* The place is no good; where else? */
static struct site *choose_other(struct op *op, const struct digest *d, char repo[REPOSITORY_MAX])
{
	char at[REPOSITORY_MAX];
	struct site *site = NULL;
	int pace = op->route.pace;
	bool silent = pace == FLIGHT_SILENT || op_failed(op, &op->want) == -ETIMEDOUT;
	memcpy(at, op->repo, sizeof(at));
	/* Whoever began the flight may have known another repository. */
	(void)flight_is_under_way(fetcher_flights(op->site->fetcher), &op->want, at);
	if (op->route.left_n < OP_PLACES_MAX && has_time(op)) {
		note_left(op, at);
		site = next_place(op, d, silent, repo);
	}
	bool better = pace == FLIGHT_CRAWLS || pace == FLIGHT_QUEUED;
	return site || better ? site : back_to_crawling(op, repo);
}

bool op_route_turn(struct op *op, const struct digest *d)
{
	char repo[REPOSITORY_MAX];
	struct op_route *route = &op->route;
	if (!route->pace && !op_failed(op, &op->want) && !fetch_refused(op->site->fetcher, NULL))
		return false;
	struct site *site = choose_other(op, d, repo), *from = op->site;
	if (!site) {
		route->settled |= route->pace != 0 && route->pace != FLIGHT_QUEUED;
		route->pace = 0;
		return false;
	}
	if (site != from && route->pace && route->pace != FLIGHT_QUEUED)
		atomic_store(&from->slow_until_ms, clock_ms() + OP_SLOW_MS);
	if (route->pace)
		flight_leave(fetcher_flights(from->fetcher), &op->want, op->want.kind == WANT_BLOB,
			     site == from ? repo : NULL);
	turn_to(op, site, repo);
	route->turned = true;
	return true;
}

void op_route_share(struct op *op)
{
	op->waiter.pace_ms = op->route.settled ? 0 : OP_SHARE_MS;
	op->waiter.impatient = op->route.turned;
}
