/* SPDX-License-Identifier: Apache-2.0 */
/* inventory — what a cache directory holds, file by file, for those who look after it; and its
 * removal, beside any number of processes that use it. Layer: cache/; includes only base/.
 *
 * An inventory is what was so when it was read: files come and go meanwhile. Removal looks again,
 * inside the gate of cache/space.h: what a process has open, fetches or publishes is never taken,
 * nor what is pinned (cache/pins.h), and the account stays right.
 *
 * Threads: any; an inventory belongs to its reader. Blocking: disk, and other processes up to
 * SPACE_LOCK_MS. Errors: -ENOENT not there; -EBUSY somebody has it; -EPERM pinned; -EBADMSG the
 * bytes do not match; -ECANCELED, -ETIMEDOUT the call; -EFBIG; -ENOMEM; -EIO.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/call.h"
#include "base/digest.h"
#include "base/err.h"

struct store;

struct inventory_blob {
	struct digest digest;
	uint64_t size;   /* of the content */
	uint64_t disk;   /* that it takes there */
	int64_t used_ms; /* wall clock of the last use, to a minute */
	bool pinned, held;
};

struct inventory {
	struct inventory_blob *v; /* by digest */
	size_t n, room;
	uint64_t partials, partial_bytes; /* being fetched, or left for a resume */
};

/* -EIO: it cannot be looked at whole. */
NODISCARD int inventory_read(struct store *s, struct inventory *ret, struct err *err);
void inventory_release(struct inventory *v);
/* NULL: not there. */
const struct inventory_blob *inventory_find(const struct inventory *v, const struct digest *d);

/* Whether its file stands in blobs/: published, and neither evicted nor removed. */
bool inventory_is_kept(struct store *s, const struct digest *d);
/* How many bytes of it an earlier fetch has left, as far as can be seen without hashing them. */
uint64_t inventory_left(struct store *s, const struct digest *d, uint64_t size);

/* pinned_too: its pin goes as well. *ret_freed: bytes of disk. */
NODISCARD int inventory_remove(struct store *s, const struct digest *d, bool pinned_too,
			       uint64_t *ret_freed, struct err *err);
/* What fetches that have ended left, not written to since a wall clock time: 0 of none. `dry`: what
 * would go. */
NODISCARD int inventory_remove_partials(struct store *s, int64_t before_ms, bool dry,
					uint64_t *ret_n, uint64_t *ret_freed, struct err *err);
/* Hashes a blob's file. -EBADMSG, and -EIO where the disk does not give it: with `drop` its name
 * goes, whoever has it open; then the next open fetches it anew. *ret_size: what was read;
 * *ret_removed: whether the name went. */
NODISCARD int inventory_check(struct store *s, const struct digest *d, bool drop, struct call *call,
			      uint64_t *ret_size, bool *ret_removed, struct err *err);
/* A whole small blob, hashed: new NUL-terminated buffer. -EFBIG beyond max. */
NODISCARD int inventory_document(struct store *s, const struct digest *d, size_t max, char **ret,
				 size_t *ret_len, struct err *err);
