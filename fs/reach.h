/* SPDX-License-Identifier: Apache-2.0 */
/* reach — what a manifest leads to, as far as the cache has it: itself, its config and layers, of
 * an index what its manifests lead to, and what layers were unpacked to (cache/archives.h). Layer:
 * fs/.
 *
 * Read from the cache alone; what is not there, or not a manifest, leads nowhere. Threads: any.
 * Blocking: disk.
 */
#pragma once

#include "base/digest_set.h"
#include "base/err.h"

struct store;

/* Adds to *set. -ENOMEM; -EIO: the cache cannot be read. */
NODISCARD int reach_add(struct store *s, const struct digest *manifest, struct digest_set *set,
			struct err *err);
