/* SPDX-License-Identifier: Apache-2.0 */
/* digest_set — digests, each once. Layer: base/. Zeroed is empty. Adding in any order; asked
 * between additions it is sorted anew, so: fill it, then ask. One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"

struct digest_set {
	struct digest *v; /* sorted, without duplicates, once asked */
	size_t n, room;
	bool unsorted;
};

/* -ENOMEM. */
NODISCARD int digest_set_add(struct digest_set *s, const struct digest *d);
bool digest_set_has(struct digest_set *s, const struct digest *d);
/* So that v and n are those of the set. */
void digest_set_settle(struct digest_set *s);
void digest_set_release(struct digest_set *s); /* empties it */
