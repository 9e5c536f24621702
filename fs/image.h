/* SPDX-License-Identifier: Apache-2.0 */
/* image — an image, artifact or index as the tree shows it: its parsed manifest
 * and the names of its entries. Layer: fs/. Immutable, shared by reference count. */
#pragma once

#include "fs/names.h"
#include "registry/manifest.h"

struct image {
	struct manifest *manifest;
	struct manifest_names *names;
	char **platforms; /* of an index: fs/platform.h; else NULL */
	_Atomic int refs;
};

/* Takes over the reference of m, whatever the result. -ENOMEM. */
NODISCARD int image_new(struct manifest *m, struct image **ret);
struct image *image_ref(struct image *i);
void image_unref(struct image *i); /* NULL is fine */
