/* SPDX-License-Identifier: Apache-2.0 */
/* .packages/<namespace>/<name>/<version>.wasm: Wasm packages by their own names. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/catalog.h"
#include "fs/packages.h"
#include "fs/tree.h"
#include "registry/package_name.h"

/* Grammatical names are there at once, whatever the registry would say of them. */
static int lookup_label(const struct node *dir, const char *name, struct found *ret)
{
	ret->entry_s = TREE_FOREVER_S;
	if (!package_is_label(name, strlen(name)))
		return -ENOENT;
	return tree_found_dir(dir, dir->kind == NODE_PACKAGES ? NODE_PACKAGE_SPACE : NODE_PACKAGE,
			      name, ret);
}

static int lookup_version(struct op *op, const struct node *dir, const char *name,
			  struct found *ret)
{
	char tag[TAG_MAX + 1];
	ret->entry_s = TREE_FOREVER_S;
	if (package_file_tag(name, tag))
		return -ENOENT;
	int r = tree_found_dir(dir, NODE_PACKAGE_VERSION, name, ret);
	ret->entry_s = (double)op->fs->o.tag_ttl_ms / 1000.0;
	return r;
}

int tree_lookup_packages(struct op *op, const struct node *dir, const char *name, struct found *ret)
{
	return dir->kind == NODE_PACKAGE ? lookup_version(op, dir, name, ret)
					 : lookup_label(dir, name, ret);
}

/* The package of a NODE_PACKAGE. */
static int locate(struct op *op, const struct node *package, struct node *ret_space,
		  struct package_place *ret)
{
	int r = node_read(op->fs->nodes, package->parent, ret_space);
	return r ? r : packages_locate(op, ret_space->name, package->name, ret);
}

int tree_package_target(struct op *op, const struct node *version, char ret[PATH_MAX])
{
	struct node package, space;
	struct package_place place;
	struct descriptor desc;
	char tag[TAG_MAX + 1], hex[DIGEST_HEX_MAX];
	if (package_file_tag(version->name, tag))
		return -EIO;
	int r = node_read(op->fs->nodes, version->parent, &package);
	if (r == 0)
		r = locate(op, &package, &space, &place);
	if (r == 0)
		r = tree_tag(op, place.repo, tag, &desc, NULL);
	if (r)
		return r;
	packages_note(&op->fs->packages, space.name, package.name);
	digest_hex(&desc.digest, hex);
	snprintf(ret, PATH_MAX, "../../../%s/manifests/%s/%s/main.wasm", place.path,
		 digest_alg_name(&desc.digest), hex);
	return 0;
}

static int list_versions(struct op *op, const struct node *dir, struct dirlist *l)
{
	struct node space;
	struct package_place place;
	struct listing *tags = NULL;
	char file[PACKAGE_FILE_MAX];
	int r = locate(op, dir, &space, &place);
	if (r == 0)
		r = tree_tags(op, place.repo, &tags);
	if (r)
		return r;
	packages_note(&op->fs->packages, space.name, dir->name);
	uint64_t hash = tree_path_hash(op->fs, dir->id);
	for (size_t i = 0; i < tags->names.n && r == 0; i++) {
		if (package_tag_file(tags->names.v[i], file) == 0)
			r = tree_add_link(l, hash, file);
	}
	listing_unref(tags);
	return r;
}

int tree_list_packages(struct op *op, const struct node *dir, struct dirlist *l)
{
	struct names names = {0};
	if (dir->kind == NODE_PACKAGE)
		return list_versions(op, dir, l);
	int r = packages_list(&op->fs->packages, dir->kind == NODE_PACKAGE_SPACE ? dir->name : NULL,
			      &names);
	uint64_t hash = tree_path_hash(op->fs, dir->id);
	for (size_t i = 0; i < names.n && r == 0; i++)
		r = tree_add_dir(l, hash, names.v[i], strlen(names.v[i]));
	names_release(&names);
	return r;
}
