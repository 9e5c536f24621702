/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>

#include "registry/spin_lock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct spin_lock *l;
	if (spin_lock_parse((const char *)data, size, &l, NULL))
		return 0;
	ASSERT(l->n <= SPIN_FILES_MAX);
	for (size_t i = 0; i < l->n; i++) {
		const struct spin_file *f = &l->files[i];
		size_t first, n = spin_lock_files_of(l, &f->digest, &first);
		ASSERT(f->path[0] && digest_is_set(&f->digest) && f->len <= SPIN_INLINE_MAX);
		ASSERT(first <= i && i < first + n);
	}
	spin_lock_free(l);
	return 0;
}
