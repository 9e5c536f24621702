/* SPDX-License-Identifier: Apache-2.0 */
/* pins — which blobs stay, whatever room is needed. Layer: cache/; includes only base/.
 *
 *	<dir>/pins/<alg>/<hex>    an empty file: the blob of that digest is pinned
 *
 * That the file is there is all it says, so there is nothing in it to be parsed, and none that
 * a crash could leave half written: a pin that was not made durable before a power failure is
 * one that was never made. What is no file of ours there is no pin. A pin may
 * stand for a blob that is not there: it counts from when the blob comes.
 *
 * Only where there is no directory is nothing pinned. One that may not be looked into, or has
 * something else in its place (a file, a link to where it was moved), cannot be listed, and until
 * it is well again all counts as pinned.
 *
 * Eviction of all processes passes over what is pinned (cache/evict.h). Pins are made and taken
 * away inside the gate of cache/space.h, as eviction is: once pins_put has returned, none that
 * is under way takes the blob. Whether it is there then is to be asked afterwards.
 *
 * Threads: any. Blocking: disk, and other processes up to SPACE_LOCK_MS.
 * Errors: -ENOENT no such pin; -ENOSPC; -EIO.
 */
#pragma once

#include <stdbool.h>

#include "base/digest.h"
#include "base/err.h"

struct store;

/* *ret_new (may be NULL): whether there was none. */
NODISCARD int pins_put(struct store *s, const struct digest *d, bool *ret_new, struct err *err);
NODISCARD int pins_drop(struct store *s, const struct digest *d, struct err *err);
/* One that cannot be asked about counts as pinned. */
bool pins_has(struct store *s, const struct digest *d);
/* Every pin, in any order; other than 0 from fn ends it, and is returned. */
typedef int (*pins_fn)(void *ctx, const struct digest *d);
NODISCARD int pins_each(struct store *s, pins_fn fn, void *ctx, struct err *err);

/* For eviction: the pins of a directory of blobs ("sha256"), or -errno, which pins_name judges.
 * The fd is the caller's. */
int pins_open(struct store *s, const char *alg);
bool pins_name(int pinsfd, const char *hex);
