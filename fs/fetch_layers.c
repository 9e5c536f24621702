/* SPDX-License-Identifier: Apache-2.0 */
/* Layers of images, unpacked: whole trees, single layers, and the bytes of members.
 *
 * Like blobs they have two kinds of flight. One brings what of them must be fetched, and
 * no more than that; the other unpacks what has come, merges once all has, and never
 * waits for the network. */
#include <stdatomic.h>
#include <string.h>

#include "base/file.h"
#include "cache/archives.h"
#include "cache/store.h"
#include "fs/backing.h"
#include "fs/catalog.h"
#include "fs/fetch_impl.h"
#include "fs/image.h"
#include "fs/layers.h"
#include "fs/rootfs.h"
#include "fs/small_members.h"
#include "fs/unpacked.h"
#include "registry/image_config.h"
#include "registry/inline_blob.h"

/* Of the indexes of all layers of one image, while they are merged. */
#define MERGE_BYTES_MAX (512u << 20)

/* Of the cache, what the layers that are fetched at once may take. */
#define GATHER_PART 4

/* An image, and what its config says of it. */
struct subject {
	struct image *image;
	struct image_config *config; /* NULL: it says nothing */
};

static void subject_release(struct subject *s)
{
	image_unref(s->image);
	image_config_free(s->config);
}

/* ---- what is here ---- */

static bool is_unpacked(struct fetcher *f, const struct digest *layer, bool with_tar)
{
	struct archive_record rec;
	struct unpacked *u = layers_unpacked(f->o.layers, layer);
	unpacked_unref(u);
	if (u && !with_tar)
		return true;
	if (archives_load(f->o.store, layer, &rec, NULL))
		return false;
	return (u || store_has(f->o.store, &rec.index, NULL)) &&
	       (!with_tar || store_has(f->o.store, &rec.tar, NULL));
}

/* In its config. */
static bool has_diff_ids(const struct image *image)
{
	return image->names->root_count > 0 && image->names->root_is_image;
}

/* Whether diff ids are declared in a blob that is not here. */
static bool lacks_config(struct fetcher *f, const struct image *image)
{
	const struct descriptor *config = &image->manifest->config.desc;
	size_t len;
	return has_diff_ids(image) && config->size <= IMAGE_CONFIG_MAX &&
	       digest_is_set(&config->digest) && !inline_blob_known(&config->digest, &len) &&
	       !store_has(f->o.store, &config->digest, NULL);
}

/* The next layer from number *at on that a want is about; false: there is none. */
static bool next_layer(const struct want *w, const struct image *image, size_t *at, size_t *ret)
{
	bool all = w->kind == WANT_ROOTFS;
	if (*at >= (all ? image->names->root_count : 1))
		return false;
	*ret = all ? image->names->root_layers[*at] : (size_t)w->layer;
	++*at;
	return *ret < image->manifest->layer_count;
}

static bool is_here(struct fetcher *f, const struct want *w, const struct digest *layer)
{
	return is_unpacked(f, layer, w->kind == WANT_MEMBER) || store_has(f->o.store, layer, NULL);
}

bool fetch_layers_cached(struct fetcher *f, const struct want *w)
{
	size_t at = 0, i;
	if (w->kind == WANT_MEMBER && store_has(f->o.store, &w->member, NULL))
		return true;
	struct image *image = catalog_image(f->o.catalog, &w->digest);
	if (!image)
		return false;
	bool all = true, some = false, config = !lacks_config(f, image);
	while (config && next_layer(w, image, &at, &i)) {
		const struct digest *d = &image->manifest->layers[i].desc.digest;
		bool here = is_here(f, w, d);
		all &= here;
		some |= here && !is_unpacked(f, d, w->kind == WANT_MEMBER);
	}
	image_unref(image);
	/* What has come is unpacked before more is fetched, so that it can go again. */
	return config && (all || some);
}

bool fetch_layers_unpacked(struct fetcher *f, const struct want *w)
{
	size_t at = 0, i;
	if (w->kind == WANT_MEMBER && store_has(f->o.store, &w->member, NULL))
		return true;
	struct image *image = catalog_image(f->o.catalog, &w->digest);
	bool all = image && !(w->kind == WANT_MEMBER && w->size > BACKING_MIN);
	while (all && next_layer(w, image, &at, &i))
		all =
		    is_unpacked(f, &image->manifest->layers[i].desc.digest, w->kind == WANT_MEMBER);
	image_unref(image);
	return all;
}

/* ---- fetching ---- */

/* How much is fetched at once, so that the cache has room for it, and for what it is
 * unpacked to: the rest in another turn. */
static uint64_t gather_budget(struct fetcher *f)
{
	struct store_usage usage;
	store_usage(f->o.store, &usage);
	return (usage.limit > 0 ? usage.limit : STORE_LIMIT_DEFAULT) / GATHER_PART;
}

static int gather(struct fetcher *f, const struct flight_job *job, const struct image *image,
		  struct err *err)
{
	const struct want *w = job->want;
	size_t n = 0, at = 0, i;
	uint64_t sum = 0, most = gather_budget(f);
	struct descriptor *descs = calloc(image->manifest->layer_count + 1, sizeof(*descs));
	if (!descs)
		return err_set(err, -ENOMEM, "no memory for layers");
	if (lacks_config(f, image))
		descs[n++] = image->manifest->config.desc;
	while (next_layer(w, image, &at, &i)) {
		const struct descriptor *desc = &image->manifest->layers[i].desc;
		if (!digest_is_set(&desc->digest) || is_here(f, w, &desc->digest))
			continue;
		if (sum > 0 && desc->size > most - sum)
			break;
		sum += desc->size < most ? desc->size : most;
		descs[n++] = *desc;
	}
	int r = fetch_gather(f, job, descs, n, err);
	free(descs);
	/* Its manifest names it: that it is not there is a fault, and no absence. */
	return r == -ENOENT ? err_wrap(err, -EPROTO, "the registry lacks a layer of this image")
			    : r;
}

/* ---- unpacking ---- */

static int read_config(struct fetcher *f, const struct flight_job *job, struct subject *s,
		       struct err *err)
{
	const struct descriptor *desc = &s->image->manifest->config.desc;
	struct blob *blob = NULL;
	size_t len;
	if (!has_diff_ids(s->image) || desc->size > IMAGE_CONFIG_MAX ||
	    !digest_is_set(&desc->digest) || inline_blob_known(&desc->digest, &len))
		return 0;
	int r = fetch_from_cache(f, &desc->digest, job->call, &blob, err);
	if (r == 0)
		r = image_config_read(blob, &s->config, err);
	blob_unref(blob);
	return r;
}

static int subject_of(struct fetcher *f, const struct flight_job *job, struct subject *s,
		      struct err *err)
{
	*s = (struct subject){.image = catalog_image(f->o.catalog, &job->want->digest)};
	if (!s->image)
		return -ENOENT;
	int r = read_config(f, job, s, err);
	size_t n = s->image->manifest->layer_count;
	if (r == 0 && s->config && s->config->diff_id_count > 0 && s->config->diff_id_count != n)
		r = err_set(err, -EPROTO, "its config has %zu diff ids, for %zu layers",
			    s->config->diff_id_count, n);
	return r;
}

/* What the layer is declared to unpack to, by the config of an image, or as ORAS does it. */
static bool diff_id_of(const struct subject *s, size_t layer, struct digest *ret)
{
	const struct image_config *c = s->config;
	const struct manifest_entry *e = &s->image->manifest->layers[layer];
	const char *said =
	    annotation_get(e->annotations, e->annotation_count, "io.deis.oras.content.digest");
	if (c && layer < c->diff_id_count && digest_is_set(&c->diff_ids[layer])) {
		*ret = c->diff_ids[layer];
		return true;
	}
	return !has_diff_ids(s->image) && said && digest_parse(said, strlen(said), ret) == 0;
}

/* The layer's tar, made again if only that is gone. */
static int tar_of(struct fetcher *f, const struct digest *layer, const struct digest *tar,
		  struct call *call, struct blob **ret, struct err *err)
{
	struct blob *blob = NULL;
	int r = unpacked_tar(f->o.store, tar, call, ret, err);
	if (r != -ENOENT)
		return r;
	r = fetch_from_cache(f, layer, call, &blob, err);
	if (r == 0)
		r = unpacked_restore(f->o.store, tar, blob, call, ret, err);
	blob_unref(blob);
	return r;
}

/* Whether it is what the image declares. -ENOENT: its bytes would have to tell, and are not
 * in the cache; then it counts as not unpacked, so that the layer is fetched. */
static int check(struct fetcher *f, const struct digest *layer, const struct digest *tar,
		 const struct digest *diff_id, struct call *call, struct err *err)
{
	struct blob *blob = NULL;
	int r = unpacked_check(tar, diff_id, err);
	if (r != -EAGAIN || layers_has_diff_id(f->o.layers, layer, diff_id))
		return r == -EAGAIN ? 0 : r;
	r = tar_of(f, layer, tar, call, &blob, err);
	if (r == 0)
		r = unpacked_check_tar(blob, diff_id, call, err);
	blob_unref(blob);
	if (r == 0)
		layers_put_diff_id(f->o.layers, layer, diff_id);
	if (r == -ENOENT) {
		layers_drop_unpacked(f->o.layers, layer);
		archives_forget(f->o.store, layer);
	}
	return r;
}

/* From memory, the cache, or the layer. -ENOENT: the layer is not in the cache. */
static int unpack_claimed(struct fetcher *f, const struct digest *layer,
			  const struct digest *diff_id, struct call *call, struct unpacked **ret,
			  struct err *err)
{
	struct blob *blob = NULL;
	struct unpacked *u = layers_unpacked(f->o.layers, layer);
	int r = u ? 0 : unpacked_load(f->o.store, layer, call, &u, err);
	if (r == 0)
		r = check(f, &u->layer, &u->tar, diff_id, call, err);
	if (r == -ENOENT) {
		unpacked_unref(u);
		u = NULL;
		r = fetch_from_cache(f, layer, call, &blob, err);
		if (r == 0)
			r = unpacked_make(f->o.store, blob, diff_id, call, &u, err);
		blob_unref(blob);
	}
	if (r) {
		unpacked_unref(u);
		return r;
	}
	layers_put_unpacked(f->o.layers, u);
	*ret = u;
	return 0;
}

/* What is remembered of a layer, whatever image it is of. */
static struct want layer_key(const struct digest *layer)
{
	struct want w;
	memset(&w, 0, sizeof(w));
	w.kind = WANT_LAYER;
	w.digest = *layer;
	w.layer = UINT64_MAX;
	return w;
}

static int unpack(struct fetcher *f, const struct subject *s, size_t layer, struct call *call,
		  struct unpacked **ret, struct err *err)
{
	if (layer >= s->image->manifest->layer_count)
		return err_set(err, -EIO, "the image has no layer %zu", layer);
	const struct manifest_entry *e = &s->image->manifest->layers[layer];
	const struct digest *d = &e->desc.digest;
	if (!digest_is_set(d))
		return err_set(err, -EOPNOTSUPP, "layer %zu: %s: a digest that cannot be verified",
			       layer, e->digest_text);
	struct digest diff_id;
	struct want key = layer_key(d);
	bool declared = diff_id_of(s, layer, &diff_id);
	int r = layers_claim(f->o.layers, d);
	if (r)
		return err_set(err, r, "no memory for layers");
	r = layers_failed(f->o.layers, &key, err);
	if (r == 0)
		r = unpack_claimed(f, d, declared ? &diff_id : NULL, call, ret, err);
	/* Its own fault, and not that of what an image declares of it. */
	if (r == -EPROTO || r == -EFBIG)
		layers_fail(f->o.layers, &key, r, err);
	layers_unclaim(f->o.layers, d);
	return r ? err_wrap(err, r, "layer %zu", layer) : 0;
}

static int merge(struct fetcher *f, const struct flight_job *job, const struct subject *s,
		 struct err *err)
{
	size_t n = 0, at = 0, i, bytes = 0;
	size_t most = s->image->names->root_count;
	AUTO_FREE struct unpacked **v = calloc(most + 1, sizeof(struct unpacked *));
	AUTO_FREE const struct tar_index **indexes =
	    calloc(most + 1, sizeof(const struct tar_index *));
	struct rootfs *root = NULL;
	bool missing = false;
	int r = v && indexes ? 0 : err_set(err, -ENOMEM, "no memory for layers");
	while (r == 0 && next_layer(job->want, s->image, &at, &i)) {
		r = unpack(f, s, i, job->call, &v[n], err);
		if (r == -ENOENT) { /* it has not come yet */
			missing = true;
			r = 0;
			continue;
		}
		if (r)
			break;
		indexes[n] = v[n]->index;
		bytes += tar_index_bytes(v[n++]->index);
		if (bytes > MERGE_BYTES_MAX)
			r = err_set(err, -EFBIG, "its layers have too many members");
	}
	if (r == 0 && !missing)
		r = rootfs_merge(indexes, n, s->image->names->root_is_image, job->call, &root, err);
	if (root)
		layers_put_rootfs(f->o.layers, &job->want->digest, root);
	rootfs_unref(root);
	for (i = 0; i < n; i++)
		unpacked_unref(v[i]);
	return r;
}

/* ---- members ---- */

/* A file that lies in a Spin lock itself. */
static int locked_file(struct fetcher *f, const struct flight_job *job, const struct digest *layer,
		       struct blob **ret, struct err *err)
{
	const struct digest *d = &job->want->member;
	struct spin_lock *lock = NULL;
	struct blob *blob = NULL;
	int r = fetch_from_cache(f, layer, job->call, &blob, err);
	if (r == 0)
		r = image_lock_read(blob, &lock, err);
	blob_unref(blob);
	if (r)
		return r;
	const struct spin_file *file = lock ? spin_lock_inlined(lock, d) : NULL;
	if (!file)
		r = err_set(err, -EIO, "the lock has no such file");
	else
		r = store_put(f->o.store, d, file->bytes, file->len, ret, err);
	spin_lock_free(lock);
	return r;
}

/* By what is in memory even where the layer's index is not. -ENOENT: it does not tell, or
 * the tar cannot be had. */
static int small_member(struct fetcher *f, const struct flight_job *job, const struct subject *s,
			struct blob **ret, struct err *err)
{
	const struct want *w = job->want;
	const struct manifest *m = s->image->manifest;
	if (w->layer >= m->layer_count)
		return -ENOENT;
	struct small_members *known = layers_members(f->o.layers, &m->layers[w->layer].desc.digest);
	struct digest diff_id;
	uint64_t at;
	int r = -ENOENT;
	if (known && small_members_find(known, &w->member, w->size, &at)) {
		bool declared = diff_id_of(s, (size_t)w->layer, &diff_id);
		r = check(f, &known->layer, &known->tar, declared ? &diff_id : NULL, job->call,
			  err);
		if (r == 0)
			r = tar_of(f, &known->layer, &known->tar, job->call, ret, err);
	}
	small_members_unref(known);
	return r;
}

static int member(struct fetcher *f, const struct flight_job *job, const struct subject *s,
		  struct blob **ret, struct err *err)
{
	const struct want *w = job->want;
	struct unpacked *u = NULL;
	struct blob *tar = NULL;
	uint64_t at;
	if (s->image->names->lock_layer >= 0 && (size_t)s->image->names->lock_layer == w->layer)
		return locked_file(f, job, &s->image->manifest->layers[w->layer].desc.digest, ret,
				   err);
	int r = small_member(f, job, s, ret, err);
	if (r != -ENOENT)
		return r;
	r = unpack(f, s, (size_t)w->layer, job->call, &u, err);
	if (r)
		return r;
	const struct tar_member *m = tar_index_find(u->index, &w->member, w->size);
	if (!m)
		r = err_set(err, -EIO, "the layer has no such member");
	if (r == 0)
		r = tar_of(f, &u->layer, &u->tar, job->call, &tar, err);
	if (r == 0 && m->size <= BACKING_MIN && unpacked_in_one_piece(m, &at))
		*ret = blob_ref(tar);
	else if (r == 0)
		r = unpacked_extract(f->o.store, tar, m, job->call, ret, err);
	blob_unref(tar);
	unpacked_unref(u);
	return r;
}

/* ---- jobs ---- */

static int run_local(struct fetcher *f, const struct flight_job *job, struct blob **ret,
		     struct err *err)
{
	const struct want *w = job->want;
	struct subject s;
	struct unpacked *u = NULL;
	job->call->deadline_ms = INT64_MAX;
	atomic_store(job->progress, 1);
	if (w->kind == WANT_MEMBER) {
		int r = fetch_from_cache(f, &w->member, job->call, ret, err);
		if (r != -ENOENT)
			return r;
	}
	int r = subject_of(f, job, &s, err);
	if (r == 0 && w->kind == WANT_ROOTFS)
		r = merge(f, job, &s, err);
	else if (r == 0 && w->kind == WANT_LAYER)
		r = unpack(f, &s, (size_t)w->layer, job->call, &u, err);
	else if (r == 0)
		r = member(f, job, &s, ret, err);
	unpacked_unref(u);
	subject_release(&s);
	return fetch_look_again(r);
}

static int run_remote(struct fetcher *f, const struct flight_job *job, struct err *err)
{
	const struct want *w = job->want;
	struct image *image = NULL;
	int r = fetch_image(f, w->repo, &w->digest, job->call, &image, err);
	if (r == 0)
		r = gather(f, job, image, err);
	image_unref(image);
	return r;
}

int fetch_run_layers(struct fetcher *f, const struct flight_job *job, struct blob **ret,
		     struct err *err)
{
	char digest[DIGEST_STRING_MAX];
	const struct want *w = job->want;
	if (!w->local)
		return run_remote(f, job, err);
	int r = run_local(f, job, ret, err);
	if (r == 0)
		return 0;
	digest_string(&w->digest, digest);
	layers_fail(f->o.layers, w, r, err);
	return err_wrap(err, r, "%s: %s@%s", source_title(f->o.source), w->repo, digest);
}
