/* SPDX-License-Identifier: Apache-2.0 */
/* evict — counts what a cache directory holds, and removes what was used
 * longest ago. Layer: cache/; internal. All of it runs inside the gate of
 * cache/space.h. Blocking: disk. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct store;

/* Fills the store's account from the disk. A partial that somebody holds
 * counts with the size in its name, whatever it has by now. Where not all can
 * be looked at, the account stays as high as it was, and stale. */
void evict_count(struct store *s);
/* Counts, and if then more than `keep` bytes are there, or less than
 * `free_wanted` are free on the file system, evicts until neither is so, and
 * then down to `slack` below `keep`. What somebody holds stays, and what is
 * pinned (cache/pins.h). Does nothing where all the rest would not be enough. Bytes freed. */
uint64_t evict_to(struct store *s, uint64_t keep, uint64_t slack, uint64_t free_wanted);

/* Free on the file system for us; 0 if it does not say. What was evicted
 * counts as free at once, though btrfs, XFS and ZFS show it later: else each
 * look would ask for more to go, until all of it has. */
uint64_t evict_free_bytes(struct store *s);
/* So many of them are about to be used, and will show as less. */
void evict_free_taken(struct store *s, uint64_t bytes);
/* What the file system shows now. From any thread, also outside the gate. */
uint64_t evict_free_shown(const struct store *s);

/* Whether a process fetches, publishes or reads the file, of blobs/ or partial/. One that cannot
 * be asked about for want of something may be. */
bool evict_is_held(int dirfd, const char *name);
