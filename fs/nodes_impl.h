/* SPDX-License-Identifier: Apache-2.0 */
/* nodes_impl — what the files of fs/nodes.h share: the layout of the table, its
 * index, and access to records. For fs/nodes*.c only.
 *
 * Records, names and the index live in an arena (fs/arena.h). The index is
 * linear hashing over the arena's table of words: as many buckets as nodes, one
 * split or merged at a time, so that memory follows the number of nodes.
 *
 * What holds after a crash between any two stores (for a later repair; nothing
 * repairs yet): the records are the truth, all else follows from them. A record
 * counts once its `kind`, written last, is not NODE_FREE, and until it is that
 * again, written first. Chains, counts of children, the totals and the blocks
 * that nothing names can be made again from the records in use.
 *
 * Records are read from memory that another process wrote: a slot, a block or
 * a length is checked each time it is used, and every walk has an end.
 *
 * Threads: all functions with nodes.mu held.
 */
#pragma once

#include "base/lock.h"
#include "fs/arena.h"
#include "fs/nodes.h"

#define ROOT_SLOT     1u
#define SLOT_GRANULES (ARENA_RECORD_LEN / ARENA_GRANULE)

#define TEXT_HOST_END '\t' /* in neither grammar */

enum record_flag { RECORD_DETACHED = 1 };

/* In the arena; a slot is its block divided by SLOT_GRANULES. */
struct record {
	uint32_t kind; /* enum node_kind */
	uint32_t generation;
	uint64_t lookups;
	uint64_t size;
	uint32_t parent; /* slot; 0: none */
	uint32_t children;
	uint32_t next; /* slot, in the chain of its bucket */
	uint32_t hash;
	uint32_t text; /* block: the name, or content's host and place; 0: none */
	uint16_t text_len;
	uint8_t digest_alg;
	uint8_t flags;  /* enum record_flag */
	uint32_t opens; /* fs/backing.h */
	int32_t backing_id;
	uint8_t open_mode; /* enum node_open_mode, while opens > 0 */
	uint8_t unused[5];
	uint16_t mode;
	uint8_t digest[DIGEST_BYTES_MAX];
};

/* In the arena's head. */
struct table {
	uint64_t hash_key[2];
	uint64_t lookups;
	uint32_t nodes;   /* the root included */
	uint32_t indexed; /* the root and what is detached are not */
	uint32_t buckets;
	uint32_t generation; /* of the latest node: a slot never gets one twice */
};

struct nodes {
	struct lock mu; /* guards the whole arena */
	struct arena *arena;
	struct table *table;
};

_Static_assert(sizeof(struct record) == ARENA_RECORD_LEN, "record");
_Static_assert(sizeof(struct table) <= ARENA_USER_LEN, "table");
_Static_assert(NODES_MAX <= ARENA_WORDS, "one bucket for each node");

uint64_t record_id(uint32_t slot, const struct record *rec);
/* NULL: no record in use. */
struct record *record_at(const struct nodes *n, uint32_t slot);
struct record *record_of(const struct nodes *n, uint64_t id);
/* Not NUL-terminated; "" if there is none; NULL if the record is broken. */
const char *record_text(const struct nodes *n, const struct record *rec);
void record_digest(const struct record *rec, struct digest *ret);
/* -ESTALE: broken. */
NODISCARD int record_copy(const struct nodes *n, uint32_t slot, const struct record *rec,
			  struct node *ret);
/* Frees it if nothing holds it, and then what it held. */
void record_release(struct nodes *n, uint32_t slot);

#define INDEX_BUCKETS_MIN 1024u
/* On a new table. -ENOMEM. */
NODISCARD int index_init(struct nodes *n);
bool index_is_valid(const struct nodes *n);
uint32_t index_hash(const struct nodes *n, const struct node_key *key);
/* The slot with this whole key; 0: none. */
uint32_t index_find(const struct nodes *n, const struct node_key *key, uint32_t hash);
/* By rec->hash. */
void index_insert(struct nodes *n, uint32_t slot, struct record *rec);
void index_remove(struct nodes *n, uint32_t slot, const struct record *rec);
