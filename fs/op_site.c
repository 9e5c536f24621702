/* SPDX-License-Identifier: Apache-2.0 */
/* Which registry an op is about: that of the host its node lies below. */
#include <errno.h>

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
