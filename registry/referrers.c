/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/referrers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG_HEX 64 /* of a digest, in the tag schema */

static int no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "no memory for referrers");
}

static void referrer_release(struct referrer *r)
{
	for (size_t i = 0; i < r->annotation_count; i++) {
		free(r->annotations[i].key);
		free(r->annotations[i].value);
	}
	free(r->annotations);
	free(r->artifact_type);
}

void referrers_release(struct referrers *l)
{
	for (size_t i = 0; i < l->n; i++)
		referrer_release(&l->v[i]);
	free(l->v);
	*l = (struct referrers){0};
}

/* A new one at the end of the list, zeroed. */
static int append(struct referrers *l, struct referrer **ret, struct err *err)
{
	if (l->n >= REFERRERS_MAX)
		return err_set(err, -EFBIG, "more than %u referrers", REFERRERS_MAX);
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 8;
		struct referrer *v = reallocarray(l->v, room, sizeof(*v));
		if (v == NULL)
			return no_memory(err);
		l->v = v;
		l->room = room;
	}
	*ret = &l->v[l->n++];
	**ret = (struct referrer){0};
	return 0;
}

static int set_type(struct referrer *r, const char *type, struct err *err)
{
	if (type == NULL || type[0] == '\0')
		return 0;
	r->artifact_type = strdup(type);
	return r->artifact_type != NULL ? 0 : no_memory(err);
}

static int copy_annotations(struct referrer *r, const struct annotation *v, size_t n,
			    struct err *err)
{
	if (n == 0)
		return 0;
	r->annotations = calloc(n, sizeof(*r->annotations));
	if (r->annotations == NULL)
		return no_memory(err);
	for (size_t i = 0; i < n; i++) {
		struct annotation *a = &r->annotations[r->annotation_count++];
		a->key = strdup(v[i].key);
		a->value = strdup(v[i].value);
		if (a->key == NULL || a->value == NULL)
			return no_memory(err);
	}
	return 0;
}

static int count_bytes(struct referrers *l, const struct manifest *m, struct err *err)
{
	l->bytes += m->desc.size;
	if (l->bytes > REFERRERS_BYTES_MAX)
		return err_set(err, -EFBIG, "more than %u bytes of referrers", REFERRERS_BYTES_MAX);
	return 0;
}

int referrers_add_index(struct referrers *l, const struct manifest *index, bool from_api,
			struct err *err)
{
	int rc = count_bytes(l, index, err);

	for (size_t i = 0; rc == 0 && i < index->layer_count; i++) {
		const struct manifest_entry *e = &index->layers[i];
		struct referrer *r;
		if (!digest_is_set(&e->desc.digest))
			continue;
		rc = append(l, &r, err);
		if (rc < 0)
			return rc;
		r->desc = e->desc;
		rc = set_type(r, e->artifact_type, err);
		r->type_is_own = from_api && r->artifact_type != NULL;
		if (rc == 0)
			rc = copy_annotations(r, e->annotations, e->annotation_count, err);
	}
	return rc;
}

int referrers_add_manifest(struct referrers *l, const struct manifest *m, struct err *err)
{
	const char *type = m->artifact_type;
	struct referrer *r = NULL;
	int rc = count_bytes(l, m, err);

	if (rc == 0)
		rc = append(l, &r, err);
	if (rc < 0)
		return rc;
	if (type == NULL && !m->is_index)
		type = m->config.desc.media_type;
	r->desc = m->desc;
	r->type_is_own = true;
	rc = set_type(r, type, err);
	if (rc == 0)
		rc = copy_annotations(r, m->annotations, m->annotation_count, err);
	return rc;
}

int referrers_add_cosign(struct referrers *l, const struct descriptor *desc, const char *kind,
			 struct err *err)
{
	struct referrer *r;
	int rc = append(l, &r, err);

	if (rc < 0)
		return rc;
	r->desc = *desc;
	r->cosign = kind;
	return 0;
}

static int order_digests(const struct referrer *a, const struct referrer *b)
{
	return memcmp(&a->desc.digest, &b->desc.digest, sizeof(a->desc.digest));
}

/* The order of what was said is not always the same, so it must not decide. */
static int order(const void *p, const void *q)
{
	const struct referrer *a = p, *b = q;
	int by = order_digests(a, b);

	if (by != 0)
		return by;
	if (a->type_is_own != b->type_is_own)
		return a->type_is_own ? -1 : 1;
	if ((a->artifact_type != NULL) != (b->artifact_type != NULL))
		return a->artifact_type != NULL ? -1 : 1;
	return a->artifact_type != NULL ? strcmp(a->artifact_type, b->artifact_type) : 0;
}

void referrers_sort(struct referrers *l)
{
	size_t kept = 0;

	if (l->n == 0)
		return;
	qsort(l->v, l->n, sizeof(*l->v), order);
	for (size_t i = 1; i < l->n; i++) {
		struct referrer *last = &l->v[kept];
		if (order_digests(last, &l->v[i]) != 0) {
			l->v[++kept] = l->v[i];
			continue;
		}
		if (last->cosign == NULL)
			last->cosign = l->v[i].cosign;
		referrer_release(&l->v[i]);
	}
	l->n = kept + 1;
}

void referrers_tag(const struct digest *d, char ret[TAG_MAX + 1])
{
	char hex[DIGEST_HEX_MAX];

	digest_hex(d, hex);
	(void)snprintf(ret, TAG_MAX + 1, "%s-%.*s", digest_alg_name(d), TAG_HEX, hex);
}

bool referrers_cosign_tag(const struct digest *d, size_t i, char ret[TAG_MAX + 1],
			  const char **ret_kind)
{
	static const char *const kinds[] = {"sig", "att", "sbom"};
	char hex[DIGEST_HEX_MAX];

	if (i >= ARRAY_LEN(kinds) || d->len * 2 > TAG_HEX)
		return false;
	digest_hex(d, hex);
	(void)snprintf(ret, TAG_MAX + 1, "%s-%.*s.%s", digest_alg_name(d), TAG_HEX, hex, kinds[i]);
	*ret_kind = kinds[i];
	return true;
}
