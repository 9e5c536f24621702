/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/layout_referrers.h"

#include <errno.h>
#include <stdlib.h>

#include "registry/layout_index.h"

/* 1: *ret is the manifest of the entry. 0: there is none. */
static int read_entry(const struct layout_dir *l, const struct manifest_entry *e,
		      struct manifest **ret, struct err *err)
{
	AUTO_FREE char *bytes = NULL;
	struct err why = {""};
	size_t len;

	if (!digest_is_set(&e->desc.digest) ||
	    (e->desc.media_type[0] != '\0' && !media_type_is_manifest(e->desc.media_type)))
		return 0;
	int rc = layout_dir_read_blob(l, &e->desc.digest, &bytes, &len, &why);
	if (rc == 0)
		rc = manifest_parse(bytes, len, &e->desc.digest, "", ret, &why);
	if (rc == 0)
		return 1;
	/* What is not there, or is no manifest, refers to nothing. */
	if (rc == -ENOENT || rc == -EPROTO || rc == -EOPNOTSUPP)
		return 0;
	return err_set(err, rc, "%s", why.text);
}

static int add_subjects(const struct layout_dir *l, const struct manifest *index,
			const struct digest *subject, struct call *call, struct referrers *found,
			struct err *err)
{
	for (size_t i = 0; i < index->layer_count; i++) {
		struct manifest *m = NULL;
		int rc = call_check(call, err);
		if (rc == 0)
			rc = read_entry(l, &index->layers[i], &m, err);
		if (rc == 1 && m->has_subject && digest_equal(&m->subject.digest, subject))
			rc = referrers_add_manifest(found, m, err);
		manifest_unref(m);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int add_tagged(const struct layout_dir *l, const struct manifest *index,
		      const struct digest *subject, struct referrers *found, struct err *err)
{
	char tag[TAG_MAX + 1];
	struct manifest *m = NULL;
	const char *kind;
	int rc = 0;

	referrers_tag(subject, tag);
	const struct manifest_entry *e = layout_index_by_tag(index, tag);
	if (e != NULL)
		rc = read_entry(l, e, &m, err);
	if (rc == 1 && media_type_is(m->desc.media_type, MEDIA_TYPE_INDEX))
		rc = referrers_add_index(found, m, false, err);
	manifest_unref(m);
	for (size_t i = 0; rc >= 0 && referrers_cosign_tag(subject, i, tag, &kind); i++) {
		e = layout_index_by_tag(index, tag);
		if (e != NULL && digest_is_set(&e->desc.digest))
			rc = referrers_add_cosign(found, &e->desc, kind, err);
	}
	return rc < 0 ? rc : 0;
}

int layout_referrers_find(struct layout_dir *l, const struct digest *subject, struct call *call,
			  struct referrers *ret, struct err *err)
{
	struct referrers found = {0};
	struct manifest *index = NULL;
	int rc = layout_dir_index(l, &index, err);

	if (rc == 0)
		rc = add_subjects(l, index, subject, call, &found, err);
	if (rc == 0)
		rc = add_tagged(l, index, subject, &found, err);
	manifest_unref(index);
	if (rc < 0) {
		referrers_release(&found);
		return rc;
	}
	referrers_sort(&found);
	*ret = found;
	return 0;
}
