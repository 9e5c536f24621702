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
	if (manifest_names_new(m, NULL, NULL, &i->names) ||
	    (m->is_index && platform_names(m, &i->platforms))) {
		image_unref(i);
		return -ENOMEM;
	}
	bool complete =
	    m->is_index || (!image_config_matters(m->config.desc.media_type) && !image_lock(i));
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

/* Of a blob of at most `most` bytes; larger ones are NULL, whatever the manifest said. New. */
static int read_all(const struct blob *b, size_t most, char **ret, size_t *ret_len, struct err *err)
{
	*ret = NULL;
	if (blob_size(b) > most)
		return 0;
	*ret_len = (size_t)blob_size(b);
	AUTO_FREE char *bytes = malloc(*ret_len + 1);
	if (!bytes)
		return err_set(err, -ENOMEM, "no memory for a config");
	if (file_pread_full(blob_fd(b), bytes, *ret_len, 0) != (int64_t)*ret_len)
		return err_set(err, -EIO, "cannot read a cached config");
	*ret = steal_ptr(&bytes);
	return 0;
}

int image_config_read(const struct blob *b, struct image_config **ret, struct err *err)
{
	AUTO_FREE char *bytes = NULL;
	size_t len = 0;
	*ret = NULL;
	int r = read_all(b, IMAGE_CONFIG_MAX, &bytes, &len, err);
	if (r == 0 && bytes)
		r = image_config_parse(bytes, len, ret, err);
	return r == -EPROTO ? 0 : r;
}

int image_lock_read(const struct blob *b, struct spin_lock **ret, struct err *err)
{
	AUTO_FREE char *bytes = NULL;
	size_t len = 0;
	*ret = NULL;
	int r = read_all(b, SPIN_LOCK_MAX, &bytes, &len, err);
	if (r == 0 && bytes)
		r = spin_lock_parse(bytes, len, ret, err);
	return r == -EPROTO ? 0 : r;
}

const struct descriptor *image_lock(const struct image *i)
{
	const struct manifest *m = i->manifest;
	const struct descriptor *lock = NULL;
	if (m->is_index)
		return NULL;
	if (i->names->lock_layer >= 0)
		lock = &m->layers[i->names->lock_layer].desc;
	else if (spin_lock_is(m->config.desc.media_type))
		lock = &m->config.desc;
	return lock && digest_is_set(&lock->digest) && lock->size <= SPIN_LOCK_MAX ? lock : NULL;
}

int image_configure(struct image *i, const struct image_config *config,
		    const struct spin_lock *lock)
{
	struct manifest_names *none = NULL, *full = NULL;
	int r = manifest_names_new(i->manifest, config, lock, &full);
	if (r == 0 && !atomic_compare_exchange_strong(&i->full, &none, full))
		manifest_names_free(full);
	return r;
}
