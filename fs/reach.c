/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/reach.h"

#include <errno.h>
#include <stdlib.h>

#include "cache/archives.h"
#include "cache/inventory.h"
#include "registry/manifest.h"
#include "registry/source.h"

#define DEPTH_MAX 4 /* indexes in indexes */

static int add_layer(struct store *s, const struct digest *d, struct digest_set *set)
{
	struct archive_record rec;
	int r = digest_set_add(set, d);
	if (r == 0 && archives_load(s, d, &rec, NULL) == 0) {
		r = digest_set_add(set, &rec.tar);
		if (r == 0)
			r = digest_set_add(set, &rec.index);
	}
	return r;
}

static int add(struct store *s, const struct digest *d, unsigned depth, struct digest_set *set,
	       struct err *err);

static int add_parsed(struct store *s, const struct manifest *m, unsigned depth,
		      struct digest_set *set, struct err *err)
{
	int r = 0;
	if (!m->is_index && digest_is_set(&m->config.desc.digest))
		r = digest_set_add(set, &m->config.desc.digest);
	for (size_t i = 0; r == 0 && i < m->layer_count; i++) {
		const struct digest *child = &m->layers[i].desc.digest;
		if (!digest_is_set(child))
			continue;
		r = m->is_index ? add(s, child, depth + 1, set, err) : add_layer(s, child, set);
	}
	return r;
}

static int add(struct store *s, const struct digest *d, unsigned depth, struct digest_set *set,
	       struct err *err)
{
	AUTO_FREE char *bytes = NULL;
	struct manifest *m = NULL;
	struct err ignored;
	size_t len = 0;
	int r = digest_set_add(set, d);
	if (r || depth > DEPTH_MAX)
		return r;
	r = inventory_document(s, d, SOURCE_DOCUMENT_MAX, &bytes, &len, err);
	if (r == -EIO || r == -ENOMEM)
		return r;
	if (r || manifest_parse(bytes, len, d, "", &m, &ignored))
		return 0;
	r = add_parsed(s, m, depth, set, err);
	manifest_unref(m);
	return r;
}

int reach_add(struct store *s, const struct digest *manifest, struct digest_set *set,
	      struct err *err)
{
	int r = add(s, manifest, 0, set, err);
	return r == -ENOMEM ? err_set(err, r, "no memory for what the cache holds") : r;
}
