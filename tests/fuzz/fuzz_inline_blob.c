/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>

#include "registry/inline_blob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int take(void *ctx, const struct digest *d, const void *data, size_t len)
{
	size_t *n = ctx;
	struct digest is;

	ASSERT(digest_of((enum digest_alg)d->alg, data, len, &is) == 0 && digest_equal(d, &is));
	ASSERT(len > 0 && ++*n <= INLINE_BLOBS_MAX);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n = 0;

	ASSERT(inline_blob_each((const char *)data, size, take, &n) == 0);
	return 0;
}
