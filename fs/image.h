/* SPDX-License-Identifier: Apache-2.0 */
/* image — an image, artifact or index as the tree shows it: its parsed manifest
 * and the names of its entries. Layer: fs/. Shared by reference count; nothing in it
 * changes, but that the names which depend on a config are added once. */
#pragma once

#include "base/err.h"
#include "fs/names.h"
#include "registry/manifest.h"

struct blob;

struct image {
	struct manifest *manifest;
	/* As far as the manifest alone says: for its layers and its config. */
	struct manifest_names *names;
	_Atomic(struct manifest_names *) full; /* image_full */
	char **platforms;                      /* of an index: fs/platform.h; else NULL */
	_Atomic int refs;
};

/* Takes over the reference of m, whatever the result. -ENOMEM. */
NODISCARD int image_new(struct manifest *m, struct image **ret);
struct image *image_ref(struct image *i);
void image_unref(struct image *i); /* NULL is fine */

/* All names; NULL while those are missing for which its config must be known. */
const struct manifest_names *image_full(struct image *i);
/* A config out of the cache. *ret is NULL, and the result 0, where it says nothing. -ENOMEM,
 * -EIO. */
NODISCARD int image_config_read(const struct blob *b, struct image_config **ret, struct err *err);
/* Makes them, if nobody has. config, lock: NULL if it says nothing; not kept. -ENOMEM. */
NODISCARD int image_configure(struct image *i, const struct image_config *config,
			      const struct spin_lock *lock);
/* The document that names the image's layers, if it is a Spin application; NULL: none. */
const struct descriptor *image_lock(const struct image *i);
/* The same of a lock. */
NODISCARD int image_lock_read(const struct blob *b, struct spin_lock **ret, struct err *err);
