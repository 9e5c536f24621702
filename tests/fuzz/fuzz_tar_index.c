/* SPDX-License-Identifier: Apache-2.0 */
/* What the parser accepts can be used: found by digest, merged, read segment by segment. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fs/rootfs.h"
#include "fs/tar_index.h"

#define SIZE_AT 8u /* of the tar, in the head */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_member(const struct tar_index *ix, const struct tar_member *m)
{
	char clean[TAR_PATH_MAX];
	uint64_t end = 0;
	ASSERT(tar_path_clean(m->path, clean) > 0 && strcmp(clean, m->path) == 0);
	for (uint32_t i = 0; i < m->segments; i++) {
		struct tar_segment s = tar_index_segment(m, i);
		ASSERT(s.at >= end && s.len <= m->size && s.at <= m->size - s.len);
		ASSERT(s.len <= ix->tar_size && s.tar <= ix->tar_size - s.len);
		end = s.at + s.len;
	}
	if (m->kind != TAR_FILE || !tar_index_is_complete(ix))
		return;
	struct digest d = tar_index_digest(m);
	ASSERT(tar_index_find(ix, &d, m->size) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tar_index *ix = NULL;
	struct rootfs *root = NULL;
	uint64_t tar_size = 0;
	char *copy = malloc(size + 1);
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (size >= SIZE_AT + sizeof(tar_size))
		memcpy(&tar_size, data + SIZE_AT, sizeof(tar_size));
	if (tar_index_parse(copy, size, tar_size, UINT64_MAX, &ix, NULL))
		return 0;
	for (size_t i = 0; i < ix->n; i++)
		check_member(ix, &ix->v[i]);
	const struct tar_index *twice[] = {ix, ix};
	if (rootfs_merge(twice, 2, true, NULL, &root, NULL) == 0)
		rootfs_unref(root);
	tar_index_free(ix);
	return 0;
}
