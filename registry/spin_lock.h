/* SPDX-License-Identifier: Apache-2.0 */
/* spin_lock — the locked application of a Spin artifact: what its layers are called.
 * Layer: registry/; a leaf without I/O.
 *
 * Spin's layers have no titles. The last of them is a JSON document that says which
 * digest is the program of which component, and which are its files:
 *
 *	components[].id, .source.digest                    <id>.wasm
 *	components[].files[].path, .content.digest         a layer, or a member of a
 *	                                                   bundle layer
 *	components[].files[].path, .content.inline         small ones: base64 of the bytes
 *
 * (Until 2023 it was the config instead.) Parsed once, then read only. Paths are as
 * declared and may be anything. What is of another type than it should be, or beyond a
 * limit, is as if it were not there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"
#include "base/err.h"

#define SPIN_LOCK_MAX   (8u << 20) /* bytes; a larger one says nothing */
#define SPIN_FILES_MAX  20000u
#define SPIN_INLINE_MAX (64u << 10) /* bytes of a file; Spin inlines up to 128 */

struct spin_file {
	char *path;
	struct digest digest;
	unsigned char *bytes; /* of one that is inlined; else NULL */
	size_t len;
};

struct spin_lock {
	struct spin_file *files; /* sorted by digest */
	size_t n;
};

/* Of a layer, or of a config. */
bool spin_lock_is(const char *media_type);
/* *ret is new. -EPROTO: it is no JSON object; -ENOMEM. */
NODISCARD int spin_lock_parse(const char *bytes, size_t len, struct spin_lock **ret,
			      struct err *err);
void spin_lock_free(struct spin_lock *l); /* NULL is fine */
/* Those of one digest stand together: their number, *ret_first the first. */
size_t spin_lock_files_of(const struct spin_lock *l, const struct digest *d, size_t *ret_first);
/* One of them that is inlined, whatever another component says of the same bytes; NULL. */
const struct spin_file *spin_lock_inlined(const struct spin_lock *l, const struct digest *d);
