/* SPDX-License-Identifier: Apache-2.0 */
/* small_members — which members of a layer are served out of its tar, and where in it they
 * lie. Layer: fs/.
 *
 * All that it takes to open one of them, and a third of what the whole index of the layer
 * (fs/tar_index.h) takes: so it is still in memory when that is not, and members of large
 * layers can be opened by turns. Those larger than BACKING_MIN, and those in pieces, are
 * not among them: they become blobs of their own.
 *
 * Read only once it is made, and shared by reference. Threads: any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/macros.h"

struct unpacked;

struct small_member {
	uint8_t sha256[32];
	uint64_t size, at; /* in the tar */
};

struct small_members {
	struct digest layer, tar;
	_Atomic int refs;
	size_t n;
	struct small_member v[]; /* sorted, each content once */
};

/* -ENOMEM. */
NODISCARD int small_members_new(const struct unpacked *u, struct small_members **ret);
struct small_members *small_members_ref(struct small_members *m);
void small_members_unref(struct small_members *m); /* NULL is fine */
size_t small_members_bytes(const struct small_members *m);

bool small_members_find(const struct small_members *m, const struct digest *d, uint64_t size,
			uint64_t *ret_at);
