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
	bool is_private;             /* under a name of its own, not to be resumed */
	char name[PARTIAL_NAME_MAX]; /* below partial/ */
	uint64_t charged;            /* to the account, or to the memory budget */
	uint64_t flushed;            /* write-back was started up to here */
	struct hasher *hasher;
	UT_hash_handle hh; /* guarded by store.lock */
};

/* claim.c */
/* Waits while another thread has it. */
NODISCARD int claim_in_process(struct partial *p, struct call *call, struct err *err);
void claim_end(struct partial *p);
/* Opens and locks its file; see store_partial. -EEXIST: there is a blob. */
NODISCARD int claim_file(struct partial *p, struct call *call, struct err *err);
