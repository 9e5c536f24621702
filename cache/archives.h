/* SPDX-License-Identifier: Apache-2.0 */
/* archives — which blobs a layer was unpacked to. Layer: cache/; includes only base/.
 *
 *	<dir>/archives/<alg>/<hex>    one line for each layer (cache/ref_record.h)
 *
 * A layer's uncompressed tar, and the index of that, are blobs of the store like any
 * other: counted, evicted, hashed again. The record only says which: it is true for
 * ever, whether or not they are there at the moment; once neither is, it saves nobody
 * anything, and is swept. It is made by whoever unpacks the layer, of its own bytes, so
 * no origin and no repository has a part in it.
 *
 * What is read back is untrusted: a record that does not parse is as if it were not
 * there. Records are replaced by rename.
 *
 * Threads: any. Blocking: disk; to write, on a disk at its floor, also other processes.
 * Errors: -ENOENT nothing recorded; -ENOSPC; -EIO.
 */
#pragma once

#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"

struct store;

struct archive_record {
	struct digest tar; /* the layer's own, if it is not compressed */
	uint64_t tar_size;
	struct digest index;
	uint64_t index_size;
};

NODISCARD int archives_load(struct store *s, const struct digest *layer, struct archive_record *ret,
			    struct err *err);
NODISCARD int archives_save(struct store *s, const struct digest *layer,
			    const struct archive_record *rec, struct err *err);
/* Nothing more is known of it. */
void archives_forget(struct store *s, const struct digest *layer);
