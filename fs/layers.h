/* SPDX-License-Identifier: Apache-2.0 */
/* layers — the layers of images that this mount has unpacked, and the trees that they
 * make, in memory. Layer: fs/.
 *
 * Of a layer it is its index, and what of that it takes to open its small members: the
 * second is much smaller, and forgotten later.
 *
 * All are immutable and known by digests (of the layer; of the manifest), so they are
 * shared by whoever has come to them by a name. The least recently used are forgotten
 * beyond LAYERS_BYTES, MEMBERS_BYTES and ROOTFS_BYTES; what was recorded in the cache
 * (fs/unpacked.h) brings them back.
 *
 * Which diff ids a layer was found to have, besides its tar's own digest, is remembered: to
 * find it out takes all of its bytes.
 *
 * What cannot be unpacked never can, for it is known by its digest. So that is remembered
 * too, and a bomb goes off once; but what was too large for the cache, which depends on
 * what else is open, only for LAYERS_FAILED_MS.
 *
 * A layer is unpacked by one thread at a time: layers_claim waits for the one that is at
 * it, and then the layer is usually there.
 *
 * Threads: any. Locks: a leaf of its own, never held over anything, and those of memos.
 * layers_claim BLOCKS for as long as unpacking takes: for jobs only.
 */
#pragma once

#include <stdbool.h>

#include "base/digest.h"
#include "base/macros.h"

#include "base/err.h"

struct layers;
struct rootfs;
struct small_members;
struct unpacked;
struct want;

#define LAYERS_MAX          1024
#define LAYERS_BYTES        (128u << 20)
#define MEMBERS_BYTES       (128u << 20)
#define ROOTFS_MAX          256
#define ROOTFS_BYTES        (128u << 20)
#define LAYERS_DIFF_IDS_MAX 1024
#define LAYERS_FAILURES_MAX 256
#define LAYERS_FAILED_MS    60000

NODISCARD int layers_new(struct layers **ret);
void layers_free(struct layers *l); /* NULL is fine */

/* New reference, or NULL. */
struct unpacked *layers_unpacked(struct layers *l, const struct digest *layer);
struct small_members *layers_members(struct layers *l, const struct digest *layer);
struct rootfs *layers_rootfs(struct layers *l, const struct digest *manifest);
/* Takes a reference of its own. What is known of its small members follows. */
void layers_put_unpacked(struct layers *l, struct unpacked *u);
void layers_put_rootfs(struct layers *l, const struct digest *manifest, struct rootfs *r);

/* The layer is not what was remembered of it. */
void layers_drop_unpacked(struct layers *l, const struct digest *layer);
bool layers_has_diff_id(struct layers *l, const struct digest *layer, const struct digest *diff_id);
void layers_put_diff_id(struct layers *l, const struct digest *layer, const struct digest *diff_id);

/* Of a WANT_ROOTFS, WANT_LAYER or WANT_MEMBER. Keeps -EPROTO, -EFBIG and -EBADMSG, and no
 * other failure. layers_failed: 0, or that. */
void layers_fail(struct layers *l, const struct want *w, int code, const struct err *err);
int layers_failed(struct layers *l, const struct want *w, struct err *err);

/* -ENOMEM. Every claim that succeeds is given back. */
NODISCARD int layers_claim(struct layers *l, const struct digest *layer);
void layers_unclaim(struct layers *l, const struct digest *layer);
