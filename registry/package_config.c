/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/package_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "registry/package_name.h"
#include "registry/toml.h"

/* What a namespace or a package is mapped to. */
struct mapping {
	char *key; /* "wasi", "wasi:http" */
	char registry[HOST_NAME_SIZE];
	struct package_metadata *metadata; /* or NULL */
};

/* [registry."HOST"] */
struct backend {
	char registry[HOST_NAME_SIZE];
	char protocol[PACKAGE_PROTOCOL_MAX];
};

struct package_config {
	char fallback[HOST_NAME_SIZE]; /* default_registry; "": none */
	struct mapping *namespaces, *packages;
	size_t namespace_count, package_count;
	struct backend *backends;
	size_t backend_count;
};

static const struct {
	const char *namespace, *registry;
} built_in[] = {{"wasi", "wasi.dev"}, {"ba", "bytecodealliance.org"}};

static int bad(struct err *err, const struct toml *t, const char *what)
{
	return err_set(err, -EINVAL, "line %u: '%s': %s", t->line, t->key ? t->key : "?", what);
}

static int no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "out of memory");
}

/* ---- what is named ---- */

/* Without the text: somebody may have put a password there. */
static int take_host(const struct toml *t, const char *text, char ret[HOST_NAME_SIZE],
		     struct err *err)
{
	char source[HOST_NAME_SIZE];
	struct source_spec spec;

	if (host_name_parse(text, source, &spec) < 0)
		return err_set(err, -EINVAL, "line %u: a registry is a HOST or HOST:PORT", t->line);
	host_name_write(&spec, ret);
	return 0;
}

static int take_string(const struct toml *table, const char *key, const char **ret, struct err *err)
{
	const struct toml *t = table ? toml_get(table, key) : NULL;

	if (t && t->kind != TOML_STRING)
		return bad(err, t, "not a string");
	*ret = t ? t->string : NULL;
	return 0;
}

static int take_table(const struct toml *table, const char *key, const struct toml **ret,
		      struct err *err)
{
	const struct toml *t = toml_get(table, key);

	if (t && t->kind != TOML_TABLE)
		return bad(err, t, "not a table");
	*ret = t;
	return 0;
}

/* As in JSON, but that the types are TOML's. */
static int take_metadata(const struct toml *t, struct mapping *m, struct err *err)
{
	struct package_metadata_fields f = {0};
	struct err why = {""};
	const struct toml *oci = NULL;
	int r = take_table(t, PACKAGE_OCI, &oci, err);

	if (r == 0)
		r = take_string(t, "preferredProtocol", &f.preferred, err);
	if (r == 0)
		r = take_string(t, "ociRegistry", &f.old_registry, err);
	if (r == 0)
		r = take_string(t, "ociNamespacePrefix", &f.old_prefix, err);
	if (r == 0)
		r = take_string(oci, "registry", &f.registry, err);
	if (r == 0)
		r = take_string(oci, "namespacePrefix", &f.prefix, err);
	if (r < 0)
		return r;
	for (const struct toml *one = t->first; one; one = one->next)
		if (one->kind == TOML_TABLE) {
			f.protocol = one->key;
			f.protocols++;
		}
	m->metadata = calloc(1, sizeof(*m->metadata));
	if (!m->metadata)
		return no_memory(err);
	r = package_metadata_make(&f, m->metadata, &why);
	return r < 0 ? bad(err, t, why.text) : 0;
}

/* "HOST", or {registry = "HOST", metadata = {…}}. */
static int take_mapping(const struct toml *t, struct mapping *m, struct err *err)
{
	const struct toml *registry, *metadata;
	int r;

	m->key = strdup(t->key);
	if (!m->key)
		return no_memory(err);
	if (t->kind == TOML_STRING)
		return take_host(t, t->string, m->registry, err);
	if (t->kind != TOML_TABLE)
		return bad(err, t, "neither a registry nor {registry = …, metadata = {…}}");
	registry = toml_get(t, "registry");
	metadata = toml_get(t, "metadata");
	if (!registry || registry->kind != TOML_STRING || !metadata || metadata->kind != TOML_TABLE)
		return bad(err, t, "a table of registry = \"HOST\" and metadata = {…}");
	r = take_host(registry, registry->string, m->registry, err);
	return r < 0 ? r : take_metadata(metadata, m, err);
}

static bool is_namespace(const char *key)
{
	return package_is_label(key, strlen(key));
}

static bool is_package(const char *key)
{
	const char *colon = strchr(key, ':');

	return colon && package_is_label(key, (size_t)(colon - key)) && is_namespace(colon + 1);
}

/* ---- the tables ---- */

static size_t count(const struct toml *table)
{
	size_t n = 0;

	for (const struct toml *t = table->first; t; t = t->next)
		n++;
	return n;
}

static int take_mappings(const struct toml *root, const char *key, bool (*is_key)(const char *),
			 const char *what, struct mapping **ret, size_t *ret_n, struct err *err)
{
	const struct toml *table = NULL;
	int r = take_table(root, key, &table, err);

	if (r < 0 || !table || !table->first)
		return r;
	*ret = calloc(count(table), sizeof(**ret));
	if (!*ret)
		return no_memory(err);
	for (const struct toml *t = table->first; t && r == 0; t = t->next) {
		if (!is_key(t->key))
			return bad(err, t, what);
		r = take_mapping(t, &(*ret)[(*ret_n)++], err);
	}
	return r;
}

/* The one that is named, else the only one there is. */
static int take_backend(const struct toml *t, struct backend *b, struct err *err)
{
	const char *named = NULL, *only = NULL;
	size_t n = 0;
	int r = take_string(t, "default", &named, err);

	if (r == 0 && !named)
		r = take_string(t, "type", &named, err);
	if (r < 0)
		return r;
	for (const struct toml *one = t->first; one; one = one->next)
		if (one->kind == TOML_TABLE) {
			only = one->key;
			n++;
		}
	if (!named && n == 1)
		named = only;
	if (named && strlen(named) >= sizeof(b->protocol))
		return bad(err, t, "a protocol of that name is none");
	if (named)
		memcpy(b->protocol, named, strlen(named) + 1);
	return 0;
}

static int take_backends(const struct toml *root, struct package_config *c, struct err *err)
{
	const struct toml *table = NULL;
	int r = take_table(root, "registry", &table, err);

	if (r < 0 || !table || !table->first)
		return r;
	c->backends = calloc(count(table), sizeof(*c->backends));
	if (!c->backends)
		return no_memory(err);
	for (const struct toml *t = table->first; t && r == 0; t = t->next) {
		struct backend *b = &c->backends[c->backend_count++];

		if (t->kind != TOML_TABLE)
			return bad(err, t, "registries are tables: [registry.\"HOST\".oci]");
		r = take_host(t, t->key, b->registry, err);
		if (r == 0)
			r = take_backend(t, b, err);
	}
	return r;
}

static int take_all(const struct toml *root, struct package_config *c, struct err *err)
{
	const struct toml *fallback = toml_get(root, "default_registry");
	const char *text = NULL;
	int r = take_string(root, "default_registry", &text, err);

	if (r == 0 && text)
		r = take_host(fallback, text, c->fallback, err);
	if (r == 0)
		r = take_mappings(root, "namespace_registries", is_namespace,
				  "no namespace: words of lower-case letters and digits, joined by "
				  "'-'",
				  &c->namespaces, &c->namespace_count, err);
	if (r == 0)
		r = take_mappings(root, "package_registry_overrides", is_package,
				  "no package: \"NAMESPACE:NAME\"", &c->packages, &c->package_count,
				  err);
	return r < 0 ? r : take_backends(root, c, err);
}

int package_config_parse(const char *text, size_t len, struct package_config **ret, struct err *err)
{
	struct package_config *c;
	struct toml *root = NULL;
	int r;

	if (len > PACKAGE_CONFIG_MAX)
		return err_set(err, -EFBIG, "more than %u bytes", PACKAGE_CONFIG_MAX);
	r = toml_parse(text, len, &root, err);
	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c));
	r = c ? take_all(root, c, err) : no_memory(err);
	toml_free(root);
	if (r < 0) {
		package_config_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

static void free_mappings(struct mapping *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(v[i].key);
		free(v[i].metadata);
	}
	free(v);
}

void package_config_free(struct package_config *c)
{
	if (!c)
		return;
	free_mappings(c->namespaces, c->namespace_count);
	free_mappings(c->packages, c->package_count);
	free(c->backends);
	free(c);
}

/* ---- what is asked ---- */

/* Of "namespace:name". */
static bool is_in(const char *key, const char *namespace)
{
	size_t len = strlen(namespace);

	return strncmp(key, namespace, len) == 0 && key[len] == ':';
}

static const struct mapping *find_package(const struct package_config *c, const char *namespace,
					  const char *name)
{
	for (size_t i = 0; i < c->package_count; i++)
		if (is_in(c->packages[i].key, namespace) &&
		    strcmp(c->packages[i].key + strlen(namespace) + 1, name) == 0)
			return &c->packages[i];
	return NULL;
}

static const struct mapping *find_namespace(const struct package_config *c, const char *namespace)
{
	for (size_t i = 0; i < c->namespace_count; i++)
		if (strcmp(c->namespaces[i].key, namespace) == 0)
			return &c->namespaces[i];
	return NULL;
}

static const char *find_built_in(const char *namespace)
{
	for (size_t i = 0; i < ARRAY_LEN(built_in); i++)
		if (strcmp(built_in[i].namespace, namespace) == 0)
			return built_in[i].registry;
	return NULL;
}

static const char *find_protocol(const struct package_config *c, const char *registry)
{
	for (size_t i = 0; i < c->backend_count; i++)
		if (strcmp(c->backends[i].registry, registry) == 0 && c->backends[i].protocol[0])
			return c->backends[i].protocol;
	return NULL;
}

int package_config_find(const struct package_config *c, const char *namespace, const char *name,
			struct package_registry *ret)
{
	const struct mapping *package = find_package(c, namespace, name);
	const struct mapping *all = find_namespace(c, namespace);
	struct package_registry found = {0};

	if (package)
		found = (struct package_registry){package->registry, package->metadata, NULL};
	else if (all)
		found.registry = all->registry;
	else if (c->fallback[0])
		found.registry = c->fallback;
	else
		found.registry = find_built_in(namespace);
	if (!found.registry)
		return -ENOENT;
	if (!found.metadata && all)
		found.metadata = all->metadata;
	found.protocol = find_protocol(c, found.registry);
	*ret = found;
	return 0;
}

int package_config_namespaces(const struct package_config *c, struct names *ret)
{
	int r = 0;

	for (size_t i = 0; i < c->namespace_count && r == 0; i++)
		r = names_add(ret, c->namespaces[i].key, strlen(c->namespaces[i].key));
	for (size_t i = 0; i < c->package_count && r == 0; i++)
		r = names_add(ret, c->packages[i].key, strcspn(c->packages[i].key, ":"));
	return r;
}

int package_config_packages(const struct package_config *c, const char *namespace,
			    struct names *ret)
{
	int r = 0;

	for (size_t i = 0; i < c->package_count && r == 0; i++) {
		const char *name = c->packages[i].key + strlen(namespace) + 1;

		if (is_in(c->packages[i].key, namespace))
			r = names_add(ret, name, strlen(name));
	}
	return r;
}
