/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/xattr.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cache/store.h"
#include "fs/catalog.h"
#include "fs/tree.h"

#define PREFIX     "user.oci."
#define ANNOTATION "annotation."
#define LAYER      "layer."

/* The kernel refuses longer lists and values. */
#define XATTR_MAX (64u << 10)

/* What there is to say of a node. */
struct subject {
	const struct digest *digest; /* of content, or of the manifest of a directory */
	uint64_t size;
	const char *media_type;          /* "" if unknown */
	bool content;                    /* it is a file: kind, cached, verified */
	bool several;                    /* found in more than one repository */
	const struct manifest *manifest; /* NULL if none is known here */
	struct image *image;             /* a reference, which keeps it alive */
	struct blob *tar;                /* a reference: the bytes lie in it, */
	uint64_t at;                     /* from here on; NULL: in a blob of their own, if any */
};

static void subject_release(struct subject *s)
{
	image_unref(s->image);
	blob_unref(s->tar);
}

static int copy(const char *text, char **ret)
{
	if (!text || text[0] == '\0')
		return -ENODATA;
	*ret = strdup(text);
	return *ret ? 0 : -ENOMEM;
}

static const char *kind_of(struct op *op, const struct subject *s)
{
	struct blob *blob = s->tar ? blob_ref(s->tar) : NULL;
	char head[WASM_SNIFF_LEN];
	size_t len = s->size < sizeof(head) ? (size_t)s->size : sizeof(head);
	if (!blob && store_get(op->fs->store, s->digest, &blob, NULL))
		return NULL;
	int64_t n = file_pread_full(blob_fd(blob), head, len, s->at);
	blob_unref(blob);
	return n < 0 ? NULL : content_kind(head, (size_t)n);
}

static bool is_verified(struct op *op, const struct subject *s)
{
	struct blob *blob = s->tar ? blob_ref(s->tar) : NULL;
	if (!blob && store_get(op->fs->store, s->digest, &blob, NULL))
		return false;
	blob_unref(blob);
	return true;
}

static int get_content(struct op *op, const struct subject *s, const char *name, char **ret)
{
	char text[DIGEST_STRING_MAX];
	if (strcmp(name, "digest") == 0) {
		digest_string(s->digest, text);
		return copy(text, ret);
	}
	if (strcmp(name, "size") == 0) {
		snprintf(text, sizeof(text), "%" PRIu64, s->size);
		return copy(text, ret);
	}
	if (strcmp(name, "media-type") == 0)
		return copy(s->media_type, ret);
	if (!s->content)
		return -ENODATA;
	if (strcmp(name, "kind") == 0)
		return copy(kind_of(op, s), ret);
	if (strcmp(name, "cached") == 0)
		return copy(s->tar || store_has(op->fs->store, s->digest, NULL) ? "1" : "0", ret);
	if (strcmp(name, "verified") == 0)
		return copy(is_verified(op, s) ? "1" : "0", ret);
	return -ENODATA;
}

static int get_layer_title(const struct manifest *m, const char *rest, char **ret)
{
	size_t i = 0, digits = strspn(rest, "0123456789");
	if (digits == 0 || digits > 6 || strcmp(rest + digits, ".title") != 0 || m->is_index)
		return -ENODATA;
	for (size_t k = 0; k < digits; k++)
		i = 10 * i + (size_t)(rest[k] - '0');
	return i < m->layer_count ? copy(m->layers[i].title, ret) : -ENODATA;
}

static int get_manifest(const struct manifest *m, const char *name, char **ret)
{
	if (strcmp(name, "artifact-type") == 0)
		return copy(m->artifact_type, ret);
	if (strcmp(name, "title") == 0)
		return copy(annotation_get(m->annotations, m->annotation_count,
					   "org.opencontainers.image.title"),
			    ret);
	if (strncmp(name, ANNOTATION, strlen(ANNOTATION)) == 0)
		return copy(
		    annotation_get(m->annotations, m->annotation_count, name + strlen(ANNOTATION)),
		    ret);
	if (strncmp(name, LAYER, strlen(LAYER)) == 0)
		return get_layer_title(m, name + strlen(LAYER), ret);
	return -ENODATA;
}

/* Where it comes from, as a reference without tag: "ghcr.io/org/hello". manifest.json is content,
 * one node wherever it is found: it says so as long as that was in one place. */
static int get_source(struct op *op, const struct node *node, char **ret)
{
	char repo[NODE_REPO_MAX];
	bool content = node_kind_is_content(node->kind);
	if (content && node->several)
		return -ENODATA;
	int r = content ? node_content_repo(op->fs->nodes, node->id, repo)
			: tree_repo(op, node->id, repo);
	if (r)
		return r;
	return asprintf(ret, "%s/%s", source_title(op->site->source), repo) < 0 ? -ENOMEM : 0;
}

/* What lies in an archive: nothing is waited for to look at it. */
static void find_member(struct op *op, const struct node *node, struct subject *s)
{
	char text[NODE_REPO_MAX];
	struct place place;
	if (store_has(op->fs->store, s->digest, NULL) ||
	    node_content_place(op->fs->nodes, node->id, text) || place_parse(text, &place))
		return;
	if (place.member && tree_member_at_hand(op, node, &place, &s->tar, &s->at))
		s->at = 0;
}

/* -ENODATA: a node without attributes. */
static int subject_of(struct op *op, const struct node *node, struct descriptor *desc,
		      struct subject *s)
{
	char repo[NODE_REPO_MAX];
	bool unknown;
	int r;
	*s = (struct subject){0};
	switch (node->kind) {
	case NODE_CONTENT:
	case NODE_CONTENT_WASM:
	case NODE_CONTENT_MODE:
	case NODE_MAIN_WASM:
		desc->media_type[0] = '\0';
		if (node_content_repo(op->fs->nodes, node->id, repo) ||
		    catalog_named(op->site->catalog, repo, &node->digest, desc) != KNOWN_FRESH)
			desc->media_type[0] = '\0';
		*s = (struct subject){.digest = &node->digest,
				      .size = node->size,
				      .media_type = desc->media_type,
				      .content = true,
				      .several = node->several};
		r = tree_content_image(op, node, &unknown, &s->image);
		if (r)
			return r;
		find_member(op, node, s);
		break;
	case NODE_TAG:
	case NODE_MANIFEST:
		r = tree_image(op, node, &s->image);
		if (r)
			return r;
		*desc = s->image->manifest->desc;
		s->digest = &desc->digest;
		s->size = desc->size;
		s->media_type = desc->media_type;
		break;
	case NODE_FREE:
	case NODE_ROOT:
	case NODE_HOST:
	case NODE_NAMESPACE:
	case NODE_TAGS:
	case NODE_MANIFESTS:
	case NODE_MANIFEST_ALG:
	case NODE_BLOBS:
	case NODE_BLOB_ALG:
	case NODE_LAYERS:
	case NODE_FILES:
	case NODE_INDEX_JSON:
	case NODE_OCI_LAYOUT:
	case NODE_PLATFORMS:
	case NODE_REFERRERS:
	case NODE_REFERRER_TYPE:
	case NODE_PACKAGES:
	case NODE_PACKAGE_SPACE:
	case NODE_PACKAGE:
	case NODE_REFERENCE:
	case NODE_PACKAGE_VERSION:
	case NODE_LINK:
	case NODE_KIND_COUNT:
		return -ENODATA;
	}
	if (s->image)
		s->manifest = s->image->manifest;
	return 0;
}

int xattr_get(struct op *op, const struct node *node, const char *name, char **ret)
{
	struct subject s;
	struct descriptor desc;
	if (strncmp(name, PREFIX, strlen(PREFIX)) != 0)
		return -ENODATA;
	name += strlen(PREFIX);
	int r = subject_of(op, node, &desc, &s);
	if (r)
		return r;
	r = get_content(op, &s, name, ret);
	if (r == -ENODATA && s.manifest)
		r = strcmp(name, "source") == 0 ? get_source(op, node, ret)
						: get_manifest(s.manifest, name, ret);
	subject_release(&s);
	if (r == 0 && strlen(*ret) > XATTR_MAX) {
		free(*ret);
		*ret = NULL;
		r = -E2BIG;
	}
	return r;
}

struct list {
	char *text;
	size_t len, room;
};

/* Names beyond what the kernel takes are left out. */
static int add(struct list *l, const char *a, const char *b, const char *c)
{
	size_t len = strlen(PREFIX) + strlen(a) + strlen(b) + strlen(c) + 1;
	if (len > 256 || l->len + len > XATTR_MAX)
		return 0;
	if (l->len + len > l->room) {
		size_t room = 2 * l->room + 512;
		char *text = realloc(l->text, room);
		if (!text)
			return -ENOMEM;
		l->text = text;
		l->room = room;
	}
	snprintf(l->text + l->len, len, "%s%s%s%s", PREFIX, a, b, c);
	l->len += len;
	return 0;
}

static int list_manifest(const struct manifest *m, struct list *l)
{
	char digits[24];
	int r = 0;
	if (m->artifact_type)
		r = add(l, "artifact-type", "", "");
	if (r == 0 &&
	    annotation_get(m->annotations, m->annotation_count, "org.opencontainers.image.title"))
		r = add(l, "title", "", "");
	for (size_t i = 0; i < m->annotation_count && r == 0; i++)
		r = add(l, ANNOTATION, m->annotations[i].key, "");
	for (size_t i = 0; i < m->layer_count && r == 0 && !m->is_index; i++) {
		snprintf(digits, sizeof(digits), "%zu", i);
		if (m->layers[i].title)
			r = add(l, LAYER, digits, ".title");
	}
	return r;
}

static int list_subject(struct op *op, const struct subject *s, struct list *l)
{
	int r = add(l, "digest", "", "");
	if (r == 0)
		r = add(l, "size", "", "");
	if (r == 0 && s->media_type[0])
		r = add(l, "media-type", "", "");
	if (r == 0 && s->content && kind_of(op, s))
		r = add(l, "kind", "", "");
	if (r == 0 && s->content)
		r = add(l, "cached", "", "");
	if (r == 0 && s->content)
		r = add(l, "verified", "", "");
	if (r == 0 && s->manifest && !s->several)
		r = add(l, "source", "", "");
	if (r == 0 && s->manifest)
		r = list_manifest(s->manifest, l);
	return r;
}

int xattr_list(struct op *op, const struct node *node, char **ret, size_t *ret_len)
{
	struct subject s;
	struct descriptor desc;
	struct list l = {0};
	/* Listings ask this of each tag, and cost no request for any. */
	bool unasked = node->kind == NODE_TAG && !digest_is_set(&node->digest);
	int r = unasked ? -ENODATA : subject_of(op, node, &desc, &s);
	if (r == -ENODATA) {
		*ret = NULL;
		*ret_len = 0;
		return 0;
	}
	if (r)
		return r;
	r = list_subject(op, &s, &l);
	subject_release(&s);
	if (r) {
		free(l.text);
		return r;
	}
	*ret = l.text;
	*ret_len = l.len;
	return 0;
}
