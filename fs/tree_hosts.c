/* SPDX-License-Identifier: Apache-2.0 */
/* The first level of a mount of several registries: their hosts. */
#include <errno.h>
#include <string.h>

#include "fs/catalog.h"
#include "fs/tree.h"

int tree_lookup_host(struct op *op, const struct node *root, const char *name, struct found *ret)
{
	ret->entry_s = TREE_FOREVER_S;
	if (!sites_find(&op->fs->sites, name) &&
	    (tree_is_probe(name) || !sites_admit(&op->fs->sites, name)))
		return -ENOENT;
	return tree_found_dir(root, NODE_HOST, name, ret);
}

/* Whether something is known to be there: a typo is not shown. */
static int is_shown(struct op *op, struct site *site, bool *ret)
{
	struct names repos = {0};
	*ret = site->given;
	if (*ret)
		return 0;
	int r = catalog_repos(site->catalog, site->prefix, &repos, &op->err);
	*ret = r == 0 && repos.n > 0;
	names_release(&repos);
	return r;
}

int tree_list_hosts(struct op *op, const struct node *root, struct dirlist *l)
{
	uint64_t hash = tree_path_hash(op->fs, root->id);
	struct site *site;
	bool shown;
	int r = 0;
	for (unsigned i = 0; r == 0 && (site = sites_at(&op->fs->sites, i)); i++) {
		r = is_shown(op, site, &shown);
		if (r == 0 && shown)
			r = tree_add_dir(l, hash, site->name, strlen(site->name));
	}
	return r;
}
