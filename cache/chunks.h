/* SPDX-License-Identifier: Apache-2.0 */
/* chunks — a blob that arrives in any order, and is read meanwhile. Layer: cache/.
 *
 * The partial of cache/store.h with a map of what is there (cache/chunk_map.h). It is the one way
 * by which bytes leave the store before they were verified: only who was told that this is wanted
 * asks for it. What was read is what will be hashed: a chunk that is here is never written again.
 *
 * Life
 *
 *	store_chunks    claims the partial as store_partial does, continues what an earlier
 *	                process of this boot left, and reserves room for the whole
 *	chunks_write,   who fetches a chunk: no two for the same one at a time, and
 *	chunks_done     nobody for one that is here
 *	chunks_hash     over what is here from the start on, as far as it goes
 *	chunks_commit   once all is hashed: a blob; or chunks_close, which keeps the partial for
 *	                the next; or chunks_drop. No more chunks_write from then on.
 *	chunks_free     after one of the three; reading was possible until now
 *
 * Threads: reading (chunks_fd with chunks_map) from any; chunks_write and chunks_done from any, of
 * different chunks; the rest by one thread. All but chunks_fd and chunks_map may wait for the disk.
 *
 * Errors: those of store_partial, but there is no memory to fall back on: -ENOSPC.
 */
#pragma once

#include "cache/chunk_map.h"
#include "cache/store.h"

struct chunks;

/* -EEXIST: it is in the cache, or was put there meanwhile. -EFBIG: also beyond
 * CHUNK_MAP_BLOB_MAX. */
NODISCARD int store_chunks(struct store *s, const struct digest *d, uint64_t size,
			   struct call *call, struct chunks **ret, struct err *err);
int chunks_fd(const struct chunks *c); /* for pread of chunks that are here; borrowed */
const struct chunk_map *chunks_map(const struct chunks *c);
/* Bytes of chunks that are being fetched. */
NODISCARD int chunks_write(struct chunks *c, const void *data, size_t len, uint64_t off,
			   struct err *err);
/* All bytes of chunk n were written: from now on it is here. */
NODISCARD int chunks_done(struct chunks *c, uint64_t n, struct err *err);
/* Hashes some more of it. 1: it did; 0: what comes next is not here, or all is hashed. */
NODISCARD int chunks_hash(struct chunks *c, struct err *err);
bool chunks_hashed(const struct chunks *c); /* all of it */
/* -EBADMSG: it does not match, and is dropped. Else it matched, and why it cannot be kept. */
NODISCARD int chunks_commit(struct chunks *c, struct blob **ret, struct err *err);
/* After a commit that failed so. -EIO, -ENOSPC: the disk does not take it, and what is read of it
 * from now on may be anything. */
NODISCARD int chunks_sync(const struct chunks *c, struct err *err);
void chunks_close(struct chunks *c);
void chunks_drop(struct chunks *c);
void chunks_free(struct chunks *c); /* NULL is fine */
