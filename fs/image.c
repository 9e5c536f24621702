/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/image.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/file.h"
#include "cache/store.h"
#include "fs/platform.h"
#include "registry/image_config.h"

int image_new(struct manifest *m, struct image **ret)
{
	struct image *i = calloc(1, sizeof(*i));
	if (!i) {
		manifest_unref(m);
		return -ENOMEM;
	}
	i->manifest = m;
	atomic_init(&i->refs, 1);
	if (manifest_names_new(m, NULL, &i->names) ||
	    (m->is_index && platform_names(m, &i->platforms))) {
		image_unref(i);
		return -ENOMEM;
	}
	bool complete = m->is_index || !image_config_matters(m->config.desc.media_type);
	atomic_init(&i->full, complete ? i->names : NULL);
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
	struct manifest_names *full = atomic_load(&i->full);
	if (full != i->names)
		manifest_names_free(full);
	manifest_names_free(i->names);
	platform_names_free(i->platforms, i->manifest->layer_count);
	manifest_unref(i->manifest);
	free(i);
}

const struct manifest_names *image_full(struct image *i)
{
	return atomic_load(&i->full);
}

int image_config_read(const struct blob *b, struct image_config **ret, struct err *err)
{
	*ret = NULL;
	/* Whatever the manifest said of a blob that is here already. */
	if (blob_size(b) > IMAGE_CONFIG_MAX)
		return 0;
	size_t len = (size_t)blob_size(b);
	AUTO_FREE char *bytes = malloc(len + 1);
	if (!bytes)
		return err_set(err, -ENOMEM, "no memory for a config");
	if (file_pread_full(blob_fd(b), bytes, len, 0) != (int64_t)len)
		return err_set(err, -EIO, "cannot read a cached config");
	int r = image_config_parse(bytes, len, ret, err);
	return r == -EPROTO ? 0 : r;
}

int image_configure(struct image *i, const struct image_config *config)
{
	struct manifest_names *none = NULL, *full = NULL;
	int r = manifest_names_new(i->manifest, config, &full);
	if (r == 0 && !atomic_compare_exchange_strong(&i->full, &none, full))
		manifest_names_free(full);
	return r;
}
