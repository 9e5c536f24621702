/* SPDX-License-Identifier: Apache-2.0 */
/* cache_known — what a cache directory knows by name: the tags that were asked for, the
 * repositories that named something, and what is pinned. Layer: fs/cli.
 *
 * A reference is what people write and read ("ghcr.io/org/app:v1"), by the registry's own name,
 * also where another host answers for it, and however that is asked. Of an origin that no
 * registry's name leads to (a layout) it is the origin's key and the repository.
 */
#pragma once

#include "base/digest_set.h"
#include "base/err.h"
#include "base/names.h"
#include "cache/refs.h"
#include "cache/store.h"
#include "registry/image_reference.h"

struct known_tag {
	char *name; /* the reference */
	char *origin, *repo, *tag;
	struct digest manifest;
	struct digest_set reach; /* of fs/reach.h */
};

struct known_repo {
	char *name; /* without a tag */
	char *origin, *repo;
	struct digest_set named;
};

struct known {
	struct known_tag *tags; /* by name */
	size_t n_tags;
	struct known_repo *repos; /* by name */
	size_t n_repos;
	struct digest_set pinned;
};

/* Errors of cache/refs.h. */
NODISCARD int known_read(struct store *s, struct known *ret, struct err *err);
void known_release(struct known *k);
/* Whether it is of that registry and repository. */
bool known_is_of(const char *origin, const char *repo, const struct image_reference *r);
