/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/image.h"

#include <errno.h>
#include <stdatomic.h>

int image_new(struct manifest *m, struct image **ret)
{
	struct image *i = calloc(1, sizeof(*i));
	if (!i || manifest_names_new(m, &i->names)) {
		free(i);
		manifest_unref(m);
		return -ENOMEM;
	}
	i->manifest = m;
	atomic_init(&i->refs, 1);
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
	manifest_unref(i->manifest);
	free(i);
}
