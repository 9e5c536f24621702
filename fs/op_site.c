/* SPDX-License-Identifier: Apache-2.0 */
/* Which registry an op is about: that of the host its node lies below. */
#include <errno.h>
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
	if (itself && !enters)
		site = sites_find(sites, host);
	else
		r = sites_get(sites, host, &site, &op->err);
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

/* A repository of this site that named the digest. */
static bool is_named_at(struct site *site, const struct digest *d, char repo[REPOSITORY_MAX])
{
	struct names names = {0};
	bool found = catalog_namers(site->catalog, d, "", 1, &names) == 0 && names.n > 0 &&
		     strlen(names.v[0]) < REPOSITORY_MAX;
	if (found)
		memcpy(repo, names.v[0], strlen(names.v[0]) + 1);
	names_release(&names);
	return found;
}

/* The next that was not tried. NULL: none. */
static struct site *next_elsewhere(struct op *op, const struct digest *d, char repo[REPOSITORY_MAX])
{
	struct site *site;
	uint64_t tried = op->tried | UINT64_C(1) << op->site->number;
	for (unsigned i = 0; (site = sites_at(&op->fs->sites, i)); i++) {
		if (!(tried & UINT64_C(1) << i) && fetch_refused(site->fetcher, NULL) == 0 &&
		    is_named_at(site, d, repo))
			return site;
	}
	return NULL;
}

bool op_go_elsewhere(struct op *op, const struct digest *d)
{
	char repo[REPOSITORY_MAX];
	struct site *site = next_elsewhere(op, d, repo);
	if (!site)
		return false;
	/* Its partial file is in the way of the next one's. */
	if (op_failed(op, &op->want))
		flight_abandon(fetcher_flights(op->site->fetcher), &op->want);
	op->tried |= UINT64_C(1) << op->site->number;
	op_enter(op, site);
	memcpy(op->repo, repo, sizeof(repo));
	return true;
}

void op_share_time(struct op *op, const struct digest *d)
{
	char repo[REPOSITORY_MAX];
	int64_t share = clock_ms() + OP_SHARE_MS, all = op->start_ms + op->fs->o.timeout_ms;
	bool shared = op->fs->sites.several && share < all && next_elsewhere(op, d, repo);
	op->waiter.deadline_ms = shared ? share : all;
	op->waiter.impatient = shared;
}
