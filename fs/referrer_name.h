/* SPDX-License-Identifier: Apache-2.0 */
/* referrer_name — what the entries below referrers/ are called. Layer: fs/; a leaf
 * without I/O.
 *
 * A listing of referrers is a sorted list of "<type>/<alg>-<hex>". <type> is a media
 * type with '_' for its '/', and "unknown" where there is none. People write anything there:
 * what could be taken for another type by that, or is no name (all but letters, digits,
 * '.', '_', '-' and '+' becomes '_', as does a '.' in front; it is cut to what fits), gets
 * "~<first 12 hex of its SHA-256>". So each type has a name of its own.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"
#include "registry/source.h"

#define REFERRER_TYPE_MAX 200
#define REFERRER_NAME_MAX (REFERRER_TYPE_MAX + DIGEST_STRING_MAX + 1)

/* media_type may be NULL. What hashing fails with. */
NODISCARD int referrer_type_name(const char *media_type, char ret[REFERRER_TYPE_MAX]);
/* Its length. */
size_t referrer_name(const char *type, const struct digest *d, char ret[REFERRER_NAME_MAX]);
/* Of "<alg>-<hex>". -EINVAL. */
NODISCARD int referrer_digest(const char *name, struct digest *ret);
/* Whether a config's type tells nothing of what the artifact is. */
bool referrer_config_says_nothing(const char *media_type);

/* What the catalog keeps the listing of a manifest's referrers under: in no
 * grammar of a repository's name. */
#define REFERRERS_KEY_MAX (REPOSITORY_MAX + DIGEST_STRING_MAX + 1)
void referrers_key(const char *repo, const struct digest *d, char ret[REFERRERS_KEY_MAX]);
