/* SPDX-License-Identifier: Apache-2.0 */
/* The names that depend on an image's config, or a Spin application's lock: they are fetched
 * when the first of these names is looked up. */
#include <errno.h>
#include <string.h>

#include "cache/store.h"
#include "fs/log.h"
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

/* Names are the same without it, but for what it would have said. */
static void say_useless(struct op *op, const struct node *dir, const struct image *image)
{
	char repo[REPOSITORY_MAX], digest[DIGEST_STRING_MAX];
	if (tree_repo(op, dir->id, repo))
		return;
	digest_string(&image->manifest->desc.digest, digest);
	log_failure("fs", digest,
		    "%s@%s: its config is no JSON object of at most %u KiB: entry "
		    "point, platform and names in it are not known",
		    repo, digest, IMAGE_CONFIG_MAX >> 10);
}

/* *ret stays NULL where there is none. */
static int get_config(struct op *op, const struct node *dir, const struct image *image,
		      struct image_config **ret)
{
	const struct descriptor *desc = &image->manifest->config.desc;
	struct blob *blob = NULL;
	if (!image_config_matters(desc->media_type) || !digest_is_set(&desc->digest))
		return 0;
	int r = desc->size <= IMAGE_CONFIG_MAX ? config_blob(op, dir, desc, &blob) : 0;
	if (r == 0 && blob)
		r = image_config_read(blob, ret, &op->err);
	blob_unref(blob);
	if (r == 0 && !*ret)
		say_useless(op, dir, image);
	return r;
}

static int get_lock(struct op *op, const struct node *dir, const struct image *image,
		    struct spin_lock **ret)
{
	const struct descriptor *desc = image_lock(image);
	struct blob *blob = NULL;
	if (!desc)
		return 0;
	int r = config_blob(op, dir, desc, &blob);
	if (r == 0)
		r = image_lock_read(blob, ret, &op->err);
	blob_unref(blob);
	return r;
}

static int configure(struct op *op, const struct node *dir, struct image *image)
{
	struct image_config *config = NULL;
	struct spin_lock *lock = NULL;
	int r = get_config(op, dir, image, &config);
	if (r == 0)
		r = get_lock(op, dir, image, &lock);
	if (r == 0 && image_configure(image, config, lock))
		r = err_set(&op->err, -ENOMEM, "no memory for an image");
	image_config_free(config);
	spin_lock_free(lock);
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
