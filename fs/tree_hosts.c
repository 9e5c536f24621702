/* SPDX-License-Identifier: Apache-2.0 */
/* The first level of a mount of several registries: their hosts. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/refs.h"
#include "fs/catalog.h"
#include "fs/tree.h"

/* For who asks why. */
static int no_such_host(struct op *op, const char *name)
{
	char list[ERR_TEXT_MAX / 2] = "";
	size_t len = 0;
	struct site *site;
	if (!op->explains || tree_is_probe(name))
		return -ENOENT;
	for (unsigned i = 0; (site = sites_at(&op->fs->sites, i)); i++) {
		int n = snprintf(list + len, sizeof(list) - len, "%s%s", i ? ", " : "", site->name);
		if (n >= (int)(sizeof(list) - len)) {
			snprintf(list + len, sizeof(list) - len, "...");
			break;
		}
		len += (size_t)n;
	}
	if (op->fs->sites.all)
		return err_set(&op->err, -ENOENT,
			       "there is no registry '%s': a host has a dot or a port", name);
	return err_set(&op->err, -ENOENT, "there is no registry '%s' in this mount, which has %s",
		       name, list);
}

int tree_lookup_host(struct op *op, const struct node *root, const char *name, struct found *ret)
{
	ret->entry_s = TREE_FOREVER_S;
	if (!sites_find(&op->fs->sites, name) &&
	    (tree_is_probe(name) || !sites_admit(&op->fs->sites, name)))
		return no_such_host(op, name);
	return tree_found_dir(root, NODE_HOST, name, ret);
}

/* Whether something is known to be there: a typo is not shown. */
static int is_shown(struct op *op, struct site *site, bool *ret)
{
	struct names repos = {0};
	*ret = site->given;
	if (*ret || site->for_packages)
		return 0;
	int r = catalog_repos(site->catalog, site->prefix, &repos, &op->err);
	*ret = r == 0 && repos.n > 0;
	names_release(&repos);
	return r;
}

/* Those that an earlier mount found something at, and that may be entered in this one. */
static int recorded_hosts(struct op *op, struct names *ret)
{
	struct names origins = {0};
	char name[HOST_NAME_SIZE];
	int r = op->fs->o.all ? refs_origins(op->fs->refs, &origins, &op->err) : 0;
	for (size_t i = 0; r == 0 && i < origins.n; i++) {
		if (host_name_of_origin(origins.v[i], name) == 0 &&
		    !sites_find(&op->fs->sites, name) && sites_admit(&op->fs->sites, name))
			r = names_add(ret, name, strlen(name));
	}
	names_release(&origins);
	names_sort(ret);
	return r;
}

static int list_recorded(struct op *op, uint64_t hash, struct dirlist *l)
{
	struct names names = {0};
	int r = recorded_hosts(op, &names);
	for (size_t i = 0; r == 0 && i < names.n; i++)
		r = tree_add_dir(l, hash, names.v[i], strlen(names.v[i]));
	names_release(&names);
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
	return r ? r : list_recorded(op, hash, l);
}
