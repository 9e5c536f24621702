/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/image.h"

#include <errno.h>
#include <stdatomic.h>

#include "fs/platform.h"

int image_new(struct manifest *m, struct image **ret)
{
	struct image *i = calloc(1, sizeof(*i));
	if (!i) {
		manifest_unref(m);
		return -ENOMEM;
	}
	i->manifest = m;
	atomic_init(&i->refs, 1);
	if (manifest_names_new(m, &i->names) || (m->is_index && platform_names(m, &i->platforms))) {
		image_unref(i);
		return -ENOMEM;
	}
	*ret = i;
	return 0;
}

struct image *image_ref(struct image *i)
{
	atomic_fetch_add(&i->refs, 1);
	return i;
}

void image_unref(struct image *i)
{
	if (!i || atomic_fetch_sub(&i->refs, 1) != 1)
		return;
	manifest_names_free(i->names);
	platform_names_free(i->platforms, i->manifest->layer_count);
	manifest_unref(i->manifest);
	free(i);
}
