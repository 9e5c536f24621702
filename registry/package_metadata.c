/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/package_metadata.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "registry/json_util.h"
#include "registry/reference.h"

static const char word_protocol[] = "protocol=", word_registry[] = "registry=",
		  word_prefix[] = "prefix=";

/* Printable, and in one piece. */
static bool is_word(const char *s, size_t room)
{
	size_t len = strlen(s);

	for (size_t i = 0; i < len; i++)
		if (s[i] <= ' ' || s[i] > '~')
			return false;
	return len < room;
}

static int take_registry(const char *s, struct package_metadata *m, struct err *err)
{
	char source[HOST_NAME_SIZE];
	struct source_spec spec;

	if (!s)
		return 0;
	if (host_name_parse(s, source, &spec) < 0)
		return err_set(err, -EINVAL, "the OCI registry is no HOST[:PORT]");
	host_name_write(&spec, m->registry);
	return 0;
}

static int take_prefix(const char *s, struct package_metadata *m, struct err *err)
{
	if (!s)
		return 0;
	if (!is_word(s, sizeof(m->prefix)))
		return err_set(err, -EINVAL, "the namespace prefix is none");
	memcpy(m->prefix, s, strlen(s) + 1);
	return 0;
}

static int take_protocol(const char *s, struct package_metadata *m, struct err *err)
{
	if (!s)
		return 0;
	if (!*s || !is_word(s, sizeof(m->protocol)))
		return err_set(err, -EINVAL, "the protocol is none");
	memcpy(m->protocol, s, strlen(s) + 1);
	return 0;
}

/* Of several without a preference it is OCI. */
static const char *preferred(const struct package_metadata_fields *f)
{
	if (f->preferred)
		return f->preferred;
	return f->protocols == 1 ? f->protocol : NULL;
}

int package_metadata_make(const struct package_metadata_fields *f, struct package_metadata *ret,
			  struct err *err)
{
	struct package_metadata m = {0};
	int r = take_protocol(preferred(f), &m, err);

	if (r == 0)
		r = take_registry(f->old_registry ? f->old_registry : f->registry, &m, err);
	if (r == 0)
		r = take_prefix(f->old_prefix ? f->old_prefix : f->prefix, &m, err);
	if (r == 0)
		*ret = m;
	return r;
}

static int take_strings(json_t *root, json_t *oci, struct package_metadata_fields *f,
			struct err *err)
{
	int r = json_util_string(root, "preferredProtocol", &f->preferred, err);

	if (r == 0)
		r = json_util_string(root, "ociRegistry", &f->old_registry, err);
	if (r == 0)
		r = json_util_string(root, "ociNamespacePrefix", &f->old_prefix, err);
	if (r == 0 && oci)
		r = json_util_string(oci, "registry", &f->registry, err);
	if (r == 0 && oci)
		r = json_util_string(oci, "namespacePrefix", &f->prefix, err);
	return r;
}

int package_metadata_parse(const char *bytes, size_t len, struct package_metadata *ret,
			   struct err *err)
{
	static const char what[] = "the metadata of packages";
	AUTO_JSON json_t *root = NULL;
	struct package_metadata_fields f = {0};
	json_t *oci = NULL, *value;
	const char *key;
	int r;

	if (len > PACKAGE_METADATA_MAX)
		return err_set(err, -EFBIG, "%s: more than %u bytes", what, PACKAGE_METADATA_MAX);
	r = json_util_parse(bytes, len, what, &root, err);
	if (r < 0)
		return r;
	r = json_util_object(root, PACKAGE_OCI, &oci, err);
	if (r == 0)
		r = take_strings(root, oci, &f, err);
	if (r < 0)
		return err_wrap(err, r, "%s", what);
	json_object_foreach (root, key, value)
		if (json_is_object(value)) {
			f.protocol = key;
			f.protocols++;
		}
	r = package_metadata_make(&f, ret, err);
	return r < 0 ? err_wrap(err, -EPROTO, "%s", what) : 0;
}

static int add_word(struct names *l, const char *key, const char *value)
{
	char word[sizeof(word_protocol) + REPOSITORY_MAX + HOST_NAME_SIZE];
	int n = snprintf(word, sizeof(word), "%s%s", key, value);

	return *value ? names_add(l, word, (size_t)n) : 0;
}

int package_metadata_words(const struct package_metadata *m, struct names *ret)
{
	struct names l = {0};
	int r = add_word(&l, word_protocol, m->protocol);

	if (r == 0)
		r = add_word(&l, word_registry, m->registry);
	if (r == 0)
		r = add_word(&l, word_prefix, m->prefix);
	if (r < 0) {
		names_release(&l);
		return r;
	}
	names_sort(&l);
	*ret = l;
	return 0;
}

/* What stands behind the key; NULL: another word. */
static const char *value_of(const char *word, const char *key)
{
	size_t len = strlen(key);

	return strncmp(word, key, len) == 0 && word[len] ? word + len : NULL;
}

int package_metadata_of_words(const struct names *words, struct package_metadata *ret)
{
	struct package_metadata_fields f = {0};
	const char *value;

	for (size_t i = 0; i < words->n; i++) {
		if ((value = value_of(words->v[i], word_protocol)))
			f.preferred = value;
		else if ((value = value_of(words->v[i], word_registry)))
			f.registry = value;
		else if ((value = value_of(words->v[i], word_prefix)))
			f.prefix = value;
		else
			return -EPROTO;
	}
	return package_metadata_make(&f, ret, NULL) < 0 ? -EPROTO : 0;
}

int package_metadata_repository(const struct package_metadata *m, const char *namespace,
				const char *name, char ret[REPOSITORY_MAX], struct err *err)
{
	int n = snprintf(ret, REPOSITORY_MAX, "%s%s/%s", m->prefix, namespace, name);

	if (n < REPOSITORY_MAX && reference_is_repository(ret, (size_t)n))
		return 0;
	return err_set(err, -EPROTO,
		       "its metadata puts the package at '%s%s/%s', which can be no repository",
		       m->prefix, namespace, name);
}
