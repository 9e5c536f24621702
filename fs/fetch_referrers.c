/* SPDX-License-Identifier: Apache-2.0 */
/* Who refers to a manifest, as the names below referrers/: "<type>/<alg>-<hex>".
 *
 * The type is the manifest's own. Where only an index of somebody's has one, or a
 * tag of cosign's and no type at all, the manifest is read for it. */
#include <stdio.h>
#include <string.h>

#include "base/names.h"
#include "fs/catalog.h"
#include "fs/fetch_impl.h"
#include "fs/image.h"
#include "fs/referrer_name.h"
#include "registry/referrers.h"

/* Beyond so many the index's word counts: reading them costs a request each. */
#define REFERRERS_READ_MAX 128

/* Its own type: what it says, else its config's, else (for what uses the config of
 * a container image, as cosign's signatures do) its first layer's. */
static const char *own_type(const struct manifest *m)
{
	if (m->artifact_type && m->artifact_type[0])
		return m->artifact_type;
	if (m->is_index)
		return m->desc.media_type;
	if (m->layer_count > 0 && referrer_config_says_nothing(m->config.desc.media_type))
		return m->layers[0].desc.media_type;
	return m->config.desc.media_type;
}

static int name_type(const char *media_type, char ret[REFERRER_TYPE_MAX], struct err *err)
{
	int r = referrer_type_name(media_type, ret);
	return r ? err_errno(err, r, "cannot hash") : 0;
}

/* Reads the manifest for its type. One that is not there, or is none, is listed as
 * others describe it; a registry that fails fails the listing. */
static int read_type(struct fetcher *f, const struct flight_job *job, const struct referrer *one,
		     char type[REFERRER_TYPE_MAX], struct err *err)
{
	struct image *image = NULL;
	int r = fetch_image(f, job->want->repo, &one->desc.digest, job->call, &image, err);
	if (r == 0) {
		r = name_type(own_type(image->manifest), type, err);
		image_unref(image);
		return r;
	}
	return r == -ENOENT || r == -EPROTO || r == -EBADMSG || r == -EOPNOTSUPP ? 0 : r;
}

static int add(struct fetcher *f, const struct flight_job *job, const struct referrer *one,
	       size_t *read, struct names *ret, struct err *err)
{
	char name[REFERRER_NAME_MAX], type[REFERRER_TYPE_MAX];
	bool own = one->type_is_own && one->artifact_type && one->artifact_type[0] &&
		   !referrer_config_says_nothing(one->artifact_type);
	int named = name_type(one->artifact_type ? one->artifact_type : one->cosign, type, err);
	if (named)
		return named;
	if (!own && *read < REFERRERS_READ_MAX) {
		++*read;
		int r = read_type(f, job, one, type, err);
		if (r)
			return r;
	}
	size_t len = referrer_name(type, &one->desc.digest, name);
	return names_add(ret, name, len) ? err_set(err, -ENOMEM, "no memory for referrers") : 0;
}

static int list(struct fetcher *f, const struct flight_job *job, const struct referrers *all,
		struct names *ret, struct err *err)
{
	AUTO_FREE struct descriptor *named = calloc(all->n + 1, sizeof(*named));
	size_t read = 0;
	if (!named)
		return err_set(err, -ENOMEM, "no memory for referrers");
	for (size_t i = 0; i < all->n; i++)
		named[i] = all->v[i].desc;
	int r = fetch_note_named(f, job->want->repo, named, all->n, err);
	for (size_t i = 0; r == 0 && i < all->n; i++) {
		r = add(f, job, &all->v[i], &read, ret, err);
	}
	names_sort(ret);
	return r;
}

int fetch_run_referrers(struct fetcher *f, const struct flight_job *job, struct err *err)
{
	const struct want *w = job->want;
	char key[REFERRERS_KEY_MAX];
	struct referrers all = {0};
	struct names names = {0};
	referrers_key(w->repo, &w->digest, key);
	int r = source_referrers(f->o.source, w->repo, &w->digest, job->call, &all, err);
	if (r == -ENOENT)
		catalog_listing_absent(f->o.catalog, key);
	if (r == 0)
		r = list(f, job, &all, &names, err);
	referrers_release(&all);
	if (r) {
		names_release(&names);
		return r;
	}
	return fetch_keep_listing(f, key, &names, true, err);
}
