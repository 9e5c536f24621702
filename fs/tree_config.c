/* SPDX-License-Identifier: Apache-2.0 */
/* The names that depend on an image's config, which is fetched when the first of them
 * is looked up. */
#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "cache/store.h"
#include "fs/tree.h"
#include "registry/image_config.h"

/* The blob, verified: from the flight before this run, or the cache. New reference. */
static int config_blob(struct op *op, const struct node *dir, const struct descriptor *desc,
		       struct blob **ret)
{
	char repo[REPOSITORY_MAX];
	if (op->blob && digest_equal(blob_digest(op->blob), &desc->digest)) {
		*ret = blob_ref(op->blob);
		return 0;
	}
	int r = store_get(op->fs->store, &desc->digest, ret, &op->err);
	if (r != -EAGAIN && r != -ENOENT)
		return r;
	r = tree_repo(op, dir->id, repo);
	return r ? r : op_want_blob(op, &desc->digest, desc->size, repo);
}

/* *ret is NULL where it is no config: then it says nothing. */
static int read_config(struct op *op, struct blob *blob, struct image_config **ret)
{
	size_t len = (size_t)blob_size(blob);
	*ret = NULL;
	/* Whatever the manifest said of a blob that is here already. */
	if (blob_size(blob) > IMAGE_CONFIG_MAX)
		return 0;
	AUTO_FREE char *bytes = malloc(len + 1);
	if (!bytes)
		return err_set(&op->err, -ENOMEM, "no memory for a config");
	if (file_pread_full(blob_fd(blob), bytes, len, 0) != (int64_t)len)
		return err_set(&op->err, -EIO, "cannot read a cached config");
	int r = image_config_parse(bytes, len, ret, &op->err);
	return r == -EPROTO ? 0 : r;
}

static int configure(struct op *op, const struct node *dir, struct image *image)
{
	const struct descriptor *desc = &image->manifest->config.desc;
	struct image_config *config = NULL;
	struct blob *blob = NULL;
	int r = 0;
	if (digest_is_set(&desc->digest) && desc->size <= IMAGE_CONFIG_MAX)
		r = config_blob(op, dir, desc, &blob);
	if (r)
		return r;
	if (blob)
		r = read_config(op, blob, &config);
	blob_unref(blob);
	if (r == 0 && image_configure(image, config))
		r = err_set(&op->err, -ENOMEM, "no memory for an image");
	image_config_free(config);
	return r;
}

int tree_names(struct op *op, const struct node *dir, struct image *image,
	       const struct manifest_names **ret)
{
	if (!image_full(image)) {
		int r = configure(op, dir, image);
		if (r)
			return r;
	}
	*ret = image_full(image);
	return 0;
}
