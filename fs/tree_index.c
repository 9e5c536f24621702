/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of an index: platforms/, and whose files/ and main.wasm are its own. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "fs/catalog.h"
#include "fs/platform.h"
#include "fs/tree.h"

#define INDEX_DEPTH_MAX 4 /* indexes of indexes */

static int best_of(const struct image *index, size_t *ret)
{
	struct utsname host;
	if (uname(&host) < 0)
		return -errno;
	return platform_best(index->manifest, host.machine, ret);
}

bool tree_index_is_wasm(const struct image *index)
{
	size_t best;
	return best_of(index, &best) == 0 && platform_is_wasm(&index->manifest->layers[best]);
}

bool tree_index_has_files(const struct image *index)
{
	size_t best;
	return best_of(index, &best) == 0;
}

int tree_shown(struct op *op, const struct node *dir, struct image **image)
{
	char repo[REPOSITORY_MAX];
	size_t best = 0;
	int r = 0;
	for (int depth = 0; r == 0 && (*image)->manifest->is_index; depth++) {
		struct image *index = *image, *shown = NULL;
		r = depth == INDEX_DEPTH_MAX ? -ENOENT : best_of(index, &best);
		if (r)
			return r == -ENOENT ? err_set(&op->err, r,
						      "an index without a manifest that can be "
						      "shown")
					    : r;
		r = tree_repo(op, dir->id, repo);
		if (r == 0)
			r = tree_image_of(op, repo, &index->manifest->layers[best].desc.digest,
					  &shown);
		if (r == 0) {
			*image = shown;
			image_unref(index);
		}
	}
	return r;
}

/* ---- platforms/ ---- */

int tree_lookup_platform(const struct node *dir, const struct image *index, const char *name,
			 struct found *ret)
{
	for (size_t i = 0; i < index->manifest->layer_count; i++) {
		const char *own = index->platforms[i];
		if (own && strcmp(own, name) == 0)
			return tree_found_dir(dir, NODE_LINK, name, ret);
	}
	return -ENOENT;
}

int tree_list_platforms(struct op *op, const struct node *dir, const struct image *index,
			struct dirlist *l)
{
	uint64_t hash = tree_path_hash(op->fs, dir->id);
	int r = 0;
	for (size_t i = 0; i < index->manifest->layer_count && r == 0; i++) {
		const char *name = index->platforms[i];
		if (name)
			r = tree_add_link(l, hash, name);
	}
	return r;
}

int tree_platform_digest(const struct image *index, const char *name, struct digest *ret)
{
	for (size_t i = 0; i < index->manifest->layer_count; i++) {
		const char *own = index->platforms ? index->platforms[i] : NULL;
		if (own && strcmp(own, name) == 0) {
			*ret = index->manifest->layers[i].desc.digest;
			return 0;
		}
	}
	return -ESTALE;
}
