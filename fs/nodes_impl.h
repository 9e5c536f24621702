/* SPDX-License-Identifier: Apache-2.0 */
/* nodes_impl — what the files of fs/nodes.h share: the layout of the table, its
 * index, and access to records. For fs/nodes*.c only.
 *
 * Records, names and the index live in an arena (fs/arena.h). The index is
 * linear hashing over the arena's table of words: as many buckets as nodes, one
 * split or merged at a time, so that memory follows the number of nodes.
 *
 * What holds after a crash between any two stores: the records and the handles are
 * the truth, all else follows from them, and nodes_repair makes it again: chains, counts
 * of children and of opens, the totals, and the blocks that nothing names. A record or
 * handle counts once its `kind`, written last, is not 0, and until it is that again,
 * written first. A record's text changes in one store with its length.
 *
 * Records are read from memory that another process wrote: a slot, a block or
 * a length is checked each time it is used, and every walk has an end.
 *
 * Threads: all functions with nodes.mu held.
 */
#pragma once

#include <stddef.h>

#include "base/lock.h"
#include "fs/arena.h"
#include "fs/nodes.h"

#define ROOT_SLOT     1u
#define SLOT_GRANULES (ARENA_RECORD_LEN / ARENA_GRANULE)

#define TEXT_HOST_END '\t' /* in neither grammar */

enum record_flag { RECORD_DETACHED = 1, RECORD_SEVERAL = 2 };

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
	uint32_t opens; /* handles of it */
	int32_t backing_id;
	uint8_t open_mode; /* enum node_open_mode, while opens > 0 */
	uint8_t unused[5];
	uint16_t mode;
	uint8_t digest[DIGEST_BYTES_MAX];
};

/* In the arena. Its number in fh is its block divided by SLOT_GRANULES. */
enum handle_kind { HANDLE_FREE = 0, HANDLE_CONTENT, HANDLE_MADE, HANDLE_KIND_COUNT };
struct handle {
	uint32_t kind; /* enum handle_kind */
	uint32_t generation;
	uint64_t unique; /* of the OPEN, without NODE_UNIQUE_RESENT */
	uint64_t node;   /* HANDLE_CONTENT: its id */
	uint8_t digest_alg;
	uint8_t unused[7];
	uint8_t digest[DIGEST_BYTES_MAX]; /* of what it is read from */
	uint64_t at;                      /* where in that its bytes begin */
	uint8_t unused2[24];
};

/* A lookup that was counted, and whose reply may not have gone out. */
struct counted {
	uint64_t unique; /* 0: free */
	uint64_t id;
};
/* More than there are threads that answer lookups; those beyond are not remembered. */
#define COUNTED_MAX 48

/* In the arena's head. */
struct table {
	uint64_t hash_key[2];
	uint64_t lookups;
	uint32_t nodes;   /* the root included */
	uint32_t indexed; /* the root and what is detached are not */
	uint32_t buckets;
	uint32_t generation; /* of the latest node or handle: a slot never gets one twice */
	uint32_t handles;
	int32_t backing_high; /* the largest id that was ever recorded */
	struct counted counted[COUNTED_MAX];
};

/* What was done for a request of the process before, by its number. */
struct before {
	uint64_t unique;
	uint64_t what; /* a handle's fh, or the id of a node that was counted */
};
struct befores {
	struct before *v; /* sorted */
	size_t n;
};

struct nodes {
	struct lock mu; /* guards the whole arena */
	struct arena *arena;
	struct table *table;
	/* After nodes_attach: what the process before had done. Guarded by mu. */
	struct befores opened, counted;
};

_Static_assert(sizeof(struct record) == ARENA_RECORD_LEN, "record");
_Static_assert(sizeof(struct handle) == ARENA_RECORD_LEN, "handle");
_Static_assert(offsetof(struct record, text) % sizeof(uint64_t) == 0, "text and length: one store");
_Static_assert(sizeof(struct table) <= ARENA_USER_LEN, "table");
_Static_assert(NODES_MAX <= ARENA_WORDS, "one bucket for each node");

uint64_t record_id(uint32_t slot, const struct record *rec);
/* NULL: no record in use. */
struct record *record_at(const struct nodes *n, uint32_t slot);
struct record *record_of(const struct nodes *n, uint64_t id);
/* Not NUL-terminated; "" if there is none; NULL if the record is broken. */
const char *record_text(const struct nodes *n, const struct record *rec);
void digest_restore(uint8_t alg, const uint8_t *bytes, struct digest *ret);
void record_digest(const struct record *rec, struct digest *ret);
/* -ESTALE: broken. */
NODISCARD int record_copy(const struct nodes *n, uint32_t slot, const struct record *rec,
			  struct node *ret);
/* Frees it if nothing holds it, and then what it held. */
void record_release(struct nodes *n, uint32_t slot);

/* nodes_open.c */
struct handle *handle_at(const struct nodes *n, uint32_t slot);
uint64_t handle_fh(uint32_t slot, const struct handle *h);

/* nodes_repair.c: of what another process left, wherever it ended. Fills `opened` and
 * `counted`. -ENOMEM. */
NODISCARD int nodes_repair(struct nodes *n);
/* What this number stands for, once; 0: nothing. */
uint64_t befores_take(struct befores *b, uint64_t unique);
void befores_release(struct befores *b);

#define INDEX_BUCKETS_MIN 1024u
/* On a new table. -ENOMEM. */
NODISCARD int index_init(struct nodes *n);
bool index_is_valid(const struct nodes *n);
/* Empty, with room for this many. -ENOMEM. */
NODISCARD int index_reset(struct nodes *n, uint32_t nodes);
uint32_t index_hash(const struct nodes *n, const struct node_key *key);
/* The slot with this whole key; 0: none. */
uint32_t index_find(const struct nodes *n, const struct node_key *key, uint32_t hash);
/* By rec->hash. */
void index_insert(struct nodes *n, uint32_t slot, struct record *rec);
void index_remove(struct nodes *n, uint32_t slot, const struct record *rec);
