/* SPDX-License-Identifier: Apache-2.0 */
/* ref_name — names of origins, repositories and tags as single components of
 * a path. Layer: cache/; internal; no I/O.
 *
 * Two names never share a component, and none climbs: all but letters, digits,
 * '.', '_' and '-' is written as %XX, and so is a '.' in front. A name that
 * gets too long for a file system becomes "%%" and a SHA-256 of it; who needs
 * the name back then keeps it in a file.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

#define REF_NAME_MAX 256 /* NAME_MAX, and the NUL */

/* Writes %XX as above; -ENAMETOOLONG if it does not fit. Length. */
NODISCARD int ref_name_escape(const char *s, size_t len, char *out, size_t room);
/* -EINVAL for what ref_name_escape would not have written; -ENAMETOOLONG. */
NODISCARD int ref_name_unescape(const char *s, size_t len, char *out, size_t room);

/* -EIO if OpenSSL fails. */
NODISCARD int ref_name_encode(const char *name, char out[REF_NAME_MAX]);
bool ref_name_is_hashed(const char *component);
