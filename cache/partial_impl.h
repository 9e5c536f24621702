/* SPDX-License-Identifier: Apache-2.0 */
/* partial_impl — a blob that is being fetched, and who may. Layer: cache/;
 * internal.
 *
 * A partial belongs to one thread at a time; only its place in the store's
 * table is shared. On disk it is a plain file of the bytes from the start:
 * its size says how many there are, and a hash over them at the end whether
 * they are right, so nothing else has to be written down, or believed. One that arrives in any
 * order is longer than its blob, by its map: who wants it from the start on begins anew.
 */
#pragma once

#include "cache/chunk_map.h"
#include "cache/store_impl.h"

struct partial {
	struct store *store;
	struct digest digest;
	uint64_t size, have;
	uint64_t there; /* what an earlier fetch left, until it is hashed */
	int fd;
	bool in_memory;
	struct chunk_map *map; /* NULL, or it arrives in any order; borrowed (cache/chunks.h) */
	bool unsized;          /* size is what is reserved, and grows */
	bool is_private;       /* under a name of its own, not to be resumed */
	char name[PARTIAL_NAME_MAX]; /* below partial/ */
	uint64_t charged;            /* to the account, or to the memory budget */
	uint64_t flushed;            /* write-back was started up to here */
	struct hasher *hasher;
	UT_hash_handle hh; /* guarded by store.lock */
};

/* store_partial, with a map or NULL. */
NODISCARD int partial_open(struct store *s, const struct digest *d, uint64_t size,
			   struct chunk_map *map, struct call *call, struct partial **ret,
			   struct err *err);
/* chunks.c: fills in the map by what is there, or makes an empty one. */
NODISCARD int chunks_adopt(struct partial *p, struct err *err);
/* Once there is room for it: writes the map's head. */
NODISCARD int chunks_begin(struct partial *p, struct err *err);
/* What is missing takes no room any more. */
void chunks_punch(struct partial *p);

/* partial.c: what is there goes along. On failure the partial is as it was. */
NODISCARD int partial_to_memory(struct partial *p, struct err *err);
/* unsized.c: room for len bytes more, and in the end for what is there only. */
NODISCARD int partial_grow(struct partial *p, uint64_t len, struct err *err);
NODISCARD int partial_trim(struct partial *p, struct err *err);

/* claim.c */
/* Waits while another thread has it. */
NODISCARD int claim_in_process(struct partial *p, struct call *call, struct err *err);
void claim_end(struct partial *p);
/* Opens and locks its file; see store_partial. -EEXIST: there is a blob. */
NODISCARD int claim_file(struct partial *p, struct call *call, struct err *err);
