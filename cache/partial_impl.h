/* SPDX-License-Identifier: Apache-2.0 */
/* partial_impl — a blob that is being fetched, and who may. Layer: cache/;
 * internal.
 *
 * A partial belongs to one thread at a time; only its place in the store's
 * table is shared. On disk it is a plain file of the bytes from the start:
 * its size says how many there are, and a hash over them at the end whether
 * they are right, so nothing else has to be written down, or believed.
 */
#pragma once

#include "cache/store_impl.h"

struct partial {
	struct store *store;
	struct digest digest;
	uint64_t size, have;
	uint64_t there; /* what an earlier fetch left, until it is hashed */
	int fd;
	bool in_memory;
	bool unsized;                /* size is what is reserved, and grows */
	bool is_private;             /* under a name of its own, not to be resumed */
	char name[PARTIAL_NAME_MAX]; /* below partial/ */
	uint64_t charged;            /* to the account, or to the memory budget */
	uint64_t flushed;            /* write-back was started up to here */
	struct hasher *hasher;
	UT_hash_handle hh; /* guarded by store.lock */
};

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
