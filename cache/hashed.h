/* SPDX-License-Identifier: Apache-2.0 */
/* hashed — which files of blobs/ were hashed, in memory that outlives a process. Layer:
 * cache/; internal; no I/O.
 *
 * A mount hashes what it serves from disk once. Its processes may follow one another, so what
 * one has hashed stands in memory that its owner shares between them (store_share_hashed):
 * the digest, and what makes the file the same (struct file_id). It is a cache: an entry that
 * is lost costs a hash, one of a file that is another one by now is not believed.
 *
 * A process may end at any instruction: an entry counts once its `valid`, written last, is set,
 * and until it is cleared, first.
 *
 * Threads: any; one lock, a leaf.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"
#include "base/lock.h"

struct file_id;
struct hashed_slot;

struct hashed {
	struct lock lock;
	struct hashed_slot *slots; /* guarded by lock; NULL: nothing is remembered */
};

void hashed_init(struct hashed *h);
void hashed_release(struct hashed *h);
/* STORE_HASHED_LEN bytes (cache/store.h), zero at first; or NULL. */
void hashed_use(struct hashed *h, void *memory);
void hashed_put(struct hashed *h, const struct digest *d, const struct file_id *id);
bool hashed_find(struct hashed *h, const struct digest *d, struct file_id *ret);
