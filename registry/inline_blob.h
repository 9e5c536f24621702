/* SPDX-License-Identifier: Apache-2.0 */
/* inline_blob — blobs that need no request: those that a manifest carries in the
 * `data` of its descriptors (OCI image spec, descriptor.md), and those that
 * everybody knows (manifest.md, "Guidance for an Empty Descriptor"), which some
 * registries do not even have. Layer: registry/; no I/O.
 */
#pragma once

#include <stddef.h>

#include "base/digest.h"

#define INLINE_BLOBS_MAX 64 /* taken of one manifest, its config first */

/* Gets bytes that have the size that was declared, and match the digest; borrowed
 * for the call. A negative return ends it. */
typedef int (*inline_blob_fn)(void *ctx, const struct digest *d, const void *data, size_t len);

/* Of the config, the layers and the manifests that a document lists. What is not right
 * is passed over: it can be fetched like any other. -ENOMEM; what `take` returned. */
NODISCARD int inline_blob_each(const char *manifest, size_t len, inline_blob_fn take, void *ctx);

/* The bytes of the empty JSON object `{}`, and of nothing, by their digests; NULL: it is
 * none of these. */
const char *inline_blob_known(const struct digest *d, size_t *ret_len);
