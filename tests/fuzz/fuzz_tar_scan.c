/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes taken for a tar: what is made of them is an index that its parser takes, and a
 * tree whose links stay inside. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fs/rootfs.h"
#include "fs/tar_index.h"
#include "fs/tar_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* By counting, from the directory that the link lies in. */
static void check_link(const struct rootfs *r, size_t i)
{
	const char *target = rootfs_target(r, i);
	long depth = 0;
	for (size_t at = r->v[i].parent; at != 0; at = r->v[at].parent)
		depth++;
	ASSERT(target[0] != '/' && target[0] != '\0');
	for (const char *p = target; *p;) {
		size_t len = strcspn(p, "/");
		if (len == 2 && memcmp(p, "..", 2) == 0)
			depth--;
		else if (len > 0 && !(len == 1 && p[0] == '.'))
			depth++;
		ASSERT(depth >= 0);
		p += len + strspn(p + len, "/");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tar_index *ix = NULL;
	struct rootfs *root = NULL;
	char *text = NULL;
	size_t len = 0;
	if (tar_scan(data, size, &text, &len, NULL))
		return 0;
	int r = tar_index_parse(text, len, size, UINT64_MAX, &ix, NULL);
	ASSERT(r == 0);
	const struct tar_index *layers[] = {ix, ix};
	for (int images = 0; images < 2; images++) {
		if (rootfs_merge(layers, 2, images, NULL, &root, NULL))
			continue;
		for (size_t i = 0; i < root->n; i++) {
			if (root->v[i].kind == ROOTFS_LINK)
				check_link(root, i);
		}
		rootfs_unref(root);
	}
	tar_index_free(ix);
	return 0;
}
