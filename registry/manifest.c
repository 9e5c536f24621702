/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/manifest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "registry/json_util.h"
#include "registry/rfc3339.h"
#include "registry/source.h"

#define DOCKER_IMAGE  "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_LIST   "application/vnd.docker.distribution.manifest.list.v2+json"
#define DOCKER_V1     "application/vnd.docker.distribution.manifest.v1+json"
#define DOCKER_V1_JWS "application/vnd.docker.distribution.manifest.v1+prettyjws"

bool media_type_is(const char *content_type, const char *media_type)
{
	size_t n = strlen(media_type);

	if (strncasecmp(content_type, media_type, n) != 0)
		return false;
	const char *rest = content_type + n;
	rest += strspn(rest, " \t");
	return *rest == '\0' || *rest == ';';
}

static bool is_any_of(const char *type, const char *const v[], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (media_type_is(type, v[i]))
			return true;
	}
	return false;
}

static bool is_index_type(const char *type)
{
	static const char *const v[] = {MEDIA_TYPE_INDEX, DOCKER_LIST};
	return is_any_of(type, v, ARRAY_LEN(v));
}

static bool is_image_type(const char *type)
{
	static const char *const v[] = {MEDIA_TYPE_MANIFEST, DOCKER_IMAGE};
	return is_any_of(type, v, ARRAY_LEN(v));
}

bool media_type_is_manifest(const char *media_type)
{
	return is_index_type(media_type) || is_image_type(media_type);
}

static bool is_schema1_type(const char *type)
{
	static const char *const v[] = {DOCKER_V1, DOCKER_V1_JWS};
	return is_any_of(type, v, ARRAY_LEN(v));
}

/* What servers say that do not know what they serve. */
static bool is_generic_type(const char *type)
{
	static const char *const v[] = {"", "application/json", "text/plain",
					"application/octet-stream"};
	return is_any_of(type, v, ARRAY_LEN(v));
}

const char *annotation_get(const struct annotation *v, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(v[i].key, key) == 0)
			return v[i].value;
	}
	return NULL;
}

static void annotations_free(struct annotation *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(v[i].key);
		free(v[i].value);
	}
	free(v);
}

static void entry_release(struct manifest_entry *e)
{
	free(e->digest_text);
	free(e->title);
	free(e->artifact_type);
	free(e->fault);
	free(e->os);
	free(e->architecture);
	free(e->variant);
	annotations_free(e->annotations, e->annotation_count);
}

static void manifest_free(struct manifest *m)
{
	entry_release(&m->config);
	for (size_t i = 0; i < m->layer_count; i++)
		entry_release(&m->layers[i]);
	free(m->layers);
	free(m->artifact_type);
	annotations_free(m->annotations, m->annotation_count);
	free(m);
}

struct manifest *manifest_ref(struct manifest *m)
{
	__atomic_add_fetch(&m->refs, 1, __ATOMIC_RELAXED);
	return m;
}

void manifest_unref(struct manifest *m)
{
	if (m != NULL && __atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL) == 0)
		manifest_free(m);
}

static int copy_text(const char *s, char **ret, struct err *err)
{
	if (s == NULL)
		return 0;
	*ret = strdup(s);
	return *ret != NULL ? 0 : err_set(err, -ENOMEM, "no memory for a manifest");
}

static int copy_string(const json_t *o, const char *key, char **ret, struct err *err)
{
	const char *s;
	int rc = json_util_string(o, key, &s, err);

	return rc < 0 ? rc : copy_text(s, ret, err);
}

/* Media types go into headers and attributes. */
static int copy_media_type(const char *s, char ret[MEDIA_TYPE_MAX], struct err *err)
{
	size_t len = s != NULL ? strlen(s) : 0;

	if (len >= MEDIA_TYPE_MAX)
		return err_set(err, -EPROTO, "a media type of %zu bytes", len);
	for (size_t i = 0; i < len; i++) {
		if (s[i] < 0x20 || s[i] > 0x7e)
			return err_set(err, -EPROTO, "a media type that is not ASCII text");
	}
	if (len > 0)
		memcpy(ret, s, len);
	ret[len] = '\0';
	return 0;
}

/* People's own texts; a NUL in one is left out, as in any name made of it. */
static int copy_annotation(const json_t *value, char **ret, struct err *err)
{
	const char *s = json_string_value(value);
	size_t len = json_string_length(value), kept = 0;

	*ret = malloc(len + 1);
	if (*ret == NULL)
		return err_set(err, -ENOMEM, "no memory for a manifest");
	for (size_t i = 0; i < len; i++) {
		if (s[i] != '\0')
			(*ret)[kept++] = s[i];
	}
	(*ret)[kept] = '\0';
	return 0;
}

/* `budget` is what is left of MANIFEST_ANNOTATIONS_MAX. */
static int parse_annotations(const json_t *o, size_t *budget, struct annotation **ret,
			     size_t *ret_count, struct err *err)
{
	json_t *map;
	int rc = json_util_object(o, "annotations", &map, err);
	if (rc < 0 || map == NULL || json_object_size(map) == 0)
		return rc;
	if (json_object_size(map) > *budget)
		return err_set(err, -EFBIG, "more than %d annotations", MANIFEST_ANNOTATIONS_MAX);
	*budget -= json_object_size(map);
	*ret = calloc(json_object_size(map), sizeof(**ret));
	if (*ret == NULL)
		return err_set(err, -ENOMEM, "no memory for a manifest");
	const char *key;
	json_t *value;
	json_object_foreach (map, key, value) {
		struct annotation *a = &(*ret)[(*ret_count)++];
		if (!json_is_string(value))
			return err_set(err, -EPROTO, "annotation %s is not a string", key);
		rc = copy_text(key, &a->key, err);
		if (rc == 0)
			rc = copy_annotation(value, &a->value, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int parse_digest(const json_t *o, struct manifest_entry *e, struct err *err)
{
	const char *text;
	int rc = json_util_string(o, "digest", &text, err);
	if (rc < 0)
		return rc;
	if (text == NULL)
		return err_set(err, -EPROTO, "no digest");
	rc = digest_parse(text, strlen(text), &e->desc.digest);
	if (rc < 0 && rc != -EOPNOTSUPP)
		return err_set(err, -EPROTO, "'%s' is not a digest", text);
	return copy_text(text, &e->digest_text, err);
}

static int parse_platform(const json_t *o, struct manifest_entry *e, struct err *err)
{
	json_t *platform;
	int rc = json_util_object(o, "platform", &platform, err);
	if (rc < 0 || platform == NULL)
		return rc;
	rc = copy_string(platform, "os", &e->os, err);
	if (rc == 0)
		rc = copy_string(platform, "architecture", &e->architecture, err);
	if (rc == 0)
		rc = copy_string(platform, "variant", &e->variant, err);
	return rc;
}

/* podman and CRI-O name the files of model artifacts by the second. */
static const char *find_title(const struct manifest_entry *e)
{
	static const char *const keys[] = {"org.opencontainers.image.title",
					   "org.cnai.model.filepath"};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const char *s = annotation_get(e->annotations, e->annotation_count, keys[i]);
		if (s != NULL && s[0] != '\0')
			return s;
	}
	return NULL;
}

/* OCI image spec, descriptor.md "Properties". */
static int parse_descriptor(const json_t *o, size_t *budget, struct manifest_entry *e,
			    struct err *err)
{
	const char *type;

	if (!json_is_object(o))
		return err_set(err, -EPROTO, "not an object");
	int rc = json_util_string(o, "mediaType", &type, err);
	if (rc == 0)
		rc = copy_media_type(type, e->desc.media_type, err);
	if (rc == 0)
		rc = parse_digest(o, e, err);
	if (rc == 0)
		rc = json_util_size(o, "size", &e->desc.size, err);
	if (rc == 0)
		rc = copy_string(o, "artifactType", &e->artifact_type, err);
	if (rc == 0)
		rc = parse_annotations(o, budget, &e->annotations, &e->annotation_count, err);
	if (rc == 0)
		rc = copy_text(find_title(e), &e->title, err);
	return rc;
}

static int parse_entry(const json_t *o, size_t *budget, bool platform, struct manifest_entry *e,
		       struct err *err)
{
	int rc = parse_descriptor(o, budget, e, err);
	return rc == 0 && platform ? parse_platform(o, e, err) : rc;
}

/* What was read of it is forgotten, but for what says whose entry it was. */
static int keep_fault(const json_t *o, size_t *budget, struct manifest_entry *e,
		      const struct err *why, struct err *err)
{
	entry_release(e);
	*e = (struct manifest_entry){0};
	int rc = copy_text("", &e->digest_text, err);
	if (rc == 0)
		rc = copy_text(why->text, &e->fault, err);
	if (rc == 0 && json_is_object(o))
		rc = parse_annotations(o, budget, &e->annotations, &e->annotation_count, err);
	return rc == -EPROTO ? 0 : rc;
}

static int parse_entries(const json_t *doc, size_t *budget, bool listing, struct manifest *m,
			 struct err *err)
{
	const char *key = m->is_index ? "manifests" : "layers";
	json_t *list;
	int rc = json_util_array(doc, key, &list, err);
	if (rc < 0)
		return rc;
	size_t n = json_array_size(list);
	if (n == 0)
		return 0;
	if (n > MANIFEST_LAYERS_MAX)
		return err_set(err, -EFBIG, "%zu %s, more than %d", n, key, MANIFEST_LAYERS_MAX);
	m->layers = calloc(n, sizeof(*m->layers));
	if (m->layers == NULL)
		return err_set(err, -ENOMEM, "no memory for a manifest");
	for (size_t i = 0; i < n; i++) {
		struct manifest_entry *e = &m->layers[i];
		const json_t *o = json_array_get(list, i);
		struct err own = {""};
		m->layer_count = i + 1;
		rc = parse_entry(o, budget, m->is_index, e, &own);
		if (rc == -EPROTO && listing)
			rc = keep_fault(o, budget, e, &own, &own);
		if (rc < 0)
			return err_set(err, rc, "%s[%zu]: %s", key, i, own.text);
	}
	return 0;
}

static int parse_config(const json_t *doc, size_t *budget, struct manifest *m, struct err *err)
{
	json_t *o;
	int rc = json_util_object(doc, "config", &o, err);
	if (rc < 0)
		return rc;
	if (o == NULL)
		return err_set(err, -EPROTO, "a manifest without config");
	rc = parse_descriptor(o, budget, &m->config, err);
	return rc < 0 ? err_wrap(err, rc, "config") : 0;
}

static int parse_subject(const json_t *doc, size_t *budget, struct manifest *m, struct err *err)
{
	struct manifest_entry e = {0};
	json_t *o;
	int rc = json_util_object(doc, "subject", &o, err);
	if (rc < 0 || o == NULL)
		return rc;
	rc = parse_descriptor(o, budget, &e, err);
	m->has_subject = true;
	m->subject = e.desc;
	entry_release(&e);
	return rc < 0 ? err_wrap(err, rc, "subject") : 0;
}

/* A document that two clients could take for different things is refused
 * (CVE-2021-41190), so type and shape must agree. */
static int check_shape(const json_t *doc, const char *type, struct manifest *m, struct err *err)
{
	bool image =
	    json_object_get(doc, "layers") != NULL || json_object_get(doc, "config") != NULL;
	bool index = json_object_get(doc, "manifests") != NULL;

	if (image && index)
		return err_set(err, -EPROTO, "both an index and an image manifest");
	if (!image && !index)
		return err_set(err, -EPROTO, "neither an index nor an image manifest");
	if ((is_index_type(type) && image) || (is_image_type(type) && index))
		return err_set(err, -EPROTO, "of type %s, with the fields of an %s", type,
			       image ? "image manifest" : "index");
	m->is_index = index;
	return 0;
}

static int check_schema(const json_t *doc, const char *type, const char *content_type,
			struct err *err)
{
	const json_t *version = json_object_get(doc, "schemaVersion");

	if (is_schema1_type(content_type) || (type != NULL && is_schema1_type(type)) ||
	    (json_is_integer(version) && json_integer_value(version) == 1))
		return err_set(err, -EOPNOTSUPP, "a schema 1 manifest, which cannot be verified");
	if (version != NULL && (!json_is_integer(version) || json_integer_value(version) != 2))
		return err_set(err, -EPROTO, "schemaVersion is not 2");
	return 0;
}

/* The type of the document: its own, else the origin's, else by its shape. */
static int parse_type(const json_t *doc, const char *content_type, struct manifest *m,
		      struct err *err)
{
	const char *type;
	int rc = json_util_string(doc, "mediaType", &type, err);
	if (rc < 0)
		return rc;
	rc = check_schema(doc, type, content_type, err);
	if (rc < 0)
		return rc;
	if (type != NULL && !is_generic_type(content_type) && !media_type_is(content_type, type))
		return err_set(err, -EPROTO, "served as %s, but calls itself %s", content_type,
			       type);
	bool known = is_index_type(content_type) || is_image_type(content_type);
	if (type == NULL && known)
		type = content_type;
	rc = check_shape(doc, type != NULL ? type : "", m, err);
	if (rc < 0)
		return rc;
	if (type == NULL)
		type = m->is_index ? MEDIA_TYPE_INDEX : MEDIA_TYPE_MANIFEST;
	rc = copy_media_type(type, m->desc.media_type, err);
	if (rc == 0)
		m->desc.media_type[strcspn(m->desc.media_type, "; \t")] = '\0';
	return rc;
}

static int parse_document(const json_t *doc, const char *content_type, bool listing,
			  struct manifest *m, struct err *err)
{
	size_t budget = MANIFEST_ANNOTATIONS_MAX;
	int rc = parse_type(doc, content_type, m, err);

	if (rc == 0)
		rc = copy_string(doc, "artifactType", &m->artifact_type, err);
	if (rc == 0 && !m->is_index)
		rc = parse_config(doc, &budget, m, err);
	if (rc == 0)
		rc = parse_entries(doc, &budget, listing, m, err);
	if (rc == 0)
		rc = parse_subject(doc, &budget, m, err);
	if (rc == 0)
		rc = parse_annotations(doc, &budget, &m->annotations, &m->annotation_count, err);
	if (rc < 0)
		return rc;
	const char *created =
	    annotation_get(m->annotations, m->annotation_count, "org.opencontainers.image.created");
	if (created == NULL || !rfc3339_parse_ms(created, &m->created_ms))
		m->created_ms = 0;
	return 0;
}

static int parse(const char *bytes, size_t len, const struct digest *digest,
		 const char *content_type, bool listing, struct manifest **ret, struct err *err)
{
	AUTO_JSON json_t *doc = NULL;

	if (len > SOURCE_DOCUMENT_MAX)
		return err_set(err, -EFBIG, "a manifest of %zu bytes, more than %u", len,
			       SOURCE_DOCUMENT_MAX);
	if (is_schema1_type(content_type))
		return err_set(err, -EOPNOTSUPP, "a schema 1 manifest, which cannot be verified");
	int rc = json_util_parse(bytes, len, "the manifest", &doc, err);
	if (rc < 0)
		return rc;
	struct manifest *m = calloc(1, sizeof(*m));
	if (m == NULL)
		return err_set(err, -ENOMEM, "no memory for a manifest");
	m->refs = 1;
	m->desc.digest = *digest;
	m->desc.size = len;
	rc = parse_document(doc, content_type, listing, m, err);
	if (rc < 0) {
		manifest_unref(m);
		return err_wrap(err, rc, "the manifest");
	}
	*ret = m;
	return 0;
}

int manifest_parse(const char *bytes, size_t len, const struct digest *digest,
		   const char *content_type, struct manifest **ret, struct err *err)
{
	return parse(bytes, len, digest, content_type, false, ret, err);
}

int manifest_parse_listing(const char *bytes, size_t len, struct manifest **ret, struct err *err)
{
	const struct digest unknown = {0};
	return parse(bytes, len, &unknown, MEDIA_TYPE_INDEX, true, ret, err);
}
