/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/registries_conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "registry/credential_helper.h"
#include "registry/reference.h"
#include "registry/toml.h"

static int bad(struct err *err, const struct toml *t, const char *what)
{
	return err_set(err, -EINVAL, "line %u: '%s': %s", t->line, t->key ? t->key : "registry",
		       what);
}

static int no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "out of memory");
}

/* NULL if there is none, or an empty one. */
static int take_string(const struct toml *table, const char *key, const struct toml **ret,
		       struct err *err)
{
	const struct toml *t = toml_get(table, key);

	if (t && t->kind != TOML_STRING)
		return bad(err, t, "not a string");
	*ret = t && *t->string ? t : NULL;
	return 0;
}

/* ---- where ---- */

static int take_location(const struct toml *t, struct endpoint *e, struct err *err)
{
	struct source_spec spec = {0};
	int r = -EINVAL;

	if (!strstr(t->string, "://"))
		r = reference_parse_source(t->string, &spec, NULL);
	if (r < 0 || spec.kind != SOURCE_REGISTRY)
		return bad(err, t, "not HOST[:PORT][/NAMESPACE], without a scheme");
	r = url_make(true, spec.host, spec.port, "/", &e->url);
	e->own_port = spec.port == 0;
	e->api = strdup("/v2");
	e->repo_base = strdup(spec.namespace);
	return r < 0 || !e->api || !e->repo_base ? no_memory(err) : 0;
}

static int take_mirror(const struct toml *t, bool by_digest, const char *path,
		       struct endpoint_list *l, struct err *err)
{
	struct endpoint *e = endpoint_add(l);
	const struct toml *location = NULL, *when = NULL;
	int r;

	if (!e)
		return l->n == ENDPOINTS_MAX ? bad(err, t, "too many mirrors") : no_memory(err);
	if (t->kind != TOML_TABLE)
		return bad(err, t, "mirrors are tables: [[registry.mirror]]");
	r = take_string(t, "location", &location, err);
	if (r == 0 && !location)
		r = bad(err, t, "a mirror without a location");
	if (r == 0)
		r = take_location(location, e, err);
	if (r == 0)
		r = toml_bool(t, "insecure", &e->insecure, err);
	if (r == 0)
		r = take_string(t, "pull-from-mirror", &when, err);
	if (r < 0)
		return r;
	e->repo_prefix = strdup(path);
	if (when && by_digest)
		return bad(err, when, "not together with mirror-by-digest-only");
	if (by_digest || (when && strcmp(when->string, "digest-only") == 0))
		e->capabilities = ENDPOINT_PULL;
	else if (when && strcmp(when->string, "tag-only") == 0)
		e->capabilities = ENDPOINT_RESOLVE;
	else if (when && strcmp(when->string, "all") != 0)
		return bad(err, when, "only all, digest-only and tag-only are known");
	return e->repo_prefix ? 0 : no_memory(err);
}

static int take_mirrors(const struct toml *table, const char *path, struct endpoint_list *l,
			struct err *err)
{
	const struct toml *mirrors = toml_get(table, "mirror");
	bool by_digest = false;
	int r = toml_bool(table, "mirror-by-digest-only", &by_digest, err);

	if (r == 0 && mirrors && mirrors->kind != TOML_ARRAY)
		r = bad(err, mirrors, "mirrors are tables: [[registry.mirror]]");
	for (const struct toml *t = mirrors ? mirrors->first : NULL; t && r == 0; t = t->next)
		r = take_mirror(t, by_digest, path, l, err);
	return r;
}

/* What is asked last: the location, which may be the registry itself. */
static int take_last(const struct toml *table, const struct toml *location, const char *prefix,
		     const char *path, struct endpoint_list *l, struct err *err)
{
	struct endpoint *e = endpoint_add(l);
	int r;

	if (!e)
		return l->n == ENDPOINTS_MAX ? bad(err, table, "too many mirrors") : no_memory(err);
	r = toml_bool(table, "insecure", &e->insecure, err);
	if (r < 0 || !location || strcmp(location->string, prefix) == 0)
		return r;
	e->repo_prefix = strdup(path);
	return e->repo_prefix ? take_location(location, e, err) : no_memory(err);
}

/* ---- which ---- */

/* How a prefix is about the host: NULL, or the path below it. */
static const char *match(const char *prefix, const char *host, bool *wild)
{
	size_t n = strlen(host), len;

	*wild = strncmp(prefix, "*.", 2) == 0;
	if (*wild) {
		len = strlen(prefix + 1);
		return n > len && strcasecmp(host + n - len, prefix + 1) == 0 ? "" : NULL;
	}
	if (strncasecmp(prefix, host, n) != 0 || (prefix[n] && prefix[n] != '/'))
		return NULL;
	return prefix + n + (prefix[n] == '/');
}

static int take_prefix(const struct toml *table, const struct toml *location, char **ret,
		       struct err *err)
{
	const struct toml *t = NULL;
	int r = take_string(table, "prefix", &t, err);
	size_t n;

	if (r < 0)
		return r;
	if (!location && (!t || strncmp(t->string, "*.", 2) != 0))
		return bad(err, table, "a registry without a location");
	t = t ? t : location;
	n = strlen(t->string);
	while (n > 0 && t->string[n - 1] == '/')
		n--;
	*ret = strndup(t->string, n);
	return *ret ? 0 : no_memory(err);
}

/* The group of this prefix, emptied, or a new one. */
static int group_for(struct endpoint_groups *groups, const char *prefix, const char *path,
		     const struct toml *table, struct endpoint_group **ret, struct err *err)
{
	struct endpoint_group *g = NULL;

	for (size_t i = 0; i < groups->n && !g; i++)
		if (groups->v[i].prefix && strcasecmp(groups->v[i].prefix, prefix) == 0)
			g = &groups->v[i];
	if (g)
		endpoint_group_release(g);
	else if (groups->n == ENDPOINT_GROUPS_MAX)
		return bad(err, table, "too many namespaces of one registry");
	else
		g = endpoint_group_add(groups);
	if (!g)
		return no_memory(err);
	g->prefix = strdup(prefix);
	g->path = strdup(path);
	*ret = g;
	return g->prefix && g->path ? 0 : no_memory(err);
}

static int take_registry(const struct toml *table, const char *file, const char *host,
			 struct endpoint_groups *groups, struct err *err)
{
	AUTO_FREE char *prefix = NULL;
	const struct toml *location = NULL;
	struct endpoint_group *g = NULL;
	const char *path;
	bool blocked = false, wild;
	int r;

	if (table->kind != TOML_TABLE)
		return bad(err, table, "registries are tables: [[registry]]");
	r = take_string(table, "location", &location, err);
	if (r == 0)
		r = take_prefix(table, location, &prefix, err);
	if (r == 0)
		r = toml_bool(table, "blocked", &blocked, err);
	if (r < 0)
		return r;
	/* It would be about no registry, and nobody would see why. */
	if (strstr(prefix, "://") || (location && strstr(location->string, "://")))
		return bad(err, table, "no scheme belongs into a prefix or location");
	path = match(prefix, host, &wild);
	if (!path)
		return 0;
	if (*path && !reference_is_repository(path, strlen(path)))
		return bad(err, table, "a prefix that is no namespace (nor may it have a tag)");
	r = group_for(groups, prefix, path, table, &g, err);
	if (r < 0)
		return r;
	g->wild = wild;
	if (blocked) {
		g->blocked = strdup(file);
		return g->blocked ? 0 : no_memory(err);
	}
	r = take_mirrors(table, path, &g->list, err);
	return r < 0 ? r : take_last(table, location, prefix, path, &g->list, err);
}

static int take_helpers(const struct toml *root, struct names *ret, struct err *err)
{
	const struct toml *all = toml_get(root, "credential-helpers");

	if (all && all->kind != TOML_ARRAY)
		return bad(err, all, "not an array of helpers' names");
	if (!all || !all->first)
		return 0;
	names_release(ret);
	for (const struct toml *t = all->first; t; t = t->next) {
		if (t->kind != TOML_STRING || !helper_name_is_good(t->string))
			return bad(err, all,
				   "a helper's name is the NAME of docker-credential-NAME");
		if (ret->n == CREDENTIAL_HELPERS_MAX)
			return bad(err, all, "too many helpers");
		if (names_add(ret, t->string, strlen(t->string)) < 0)
			return no_memory(err);
	}
	return 0;
}

/* The form before 2018: what it blocks must not be passed over. */
static int check_version(const struct toml *root, struct err *err)
{
	static const char *const lists[] = {"block", "insecure"};
	const struct toml *old = toml_get(root, "registries");

	for (size_t i = 0; old && old->kind == TOML_TABLE && i < ARRAY_LEN(lists); i++) {
		const struct toml *t = toml_get(old, lists[i]);

		t = t && t->kind == TOML_TABLE ? toml_get(t, "registries") : NULL;
		if (t && t->first)
			return bad(err, t, "version 1 of this file is not read: use [[registry]]");
	}
	return 0;
}

int registries_conf_parse(const char *text, size_t len, const char *file, const char *host,
			  struct endpoint_groups *groups, struct err *err)
{
	const struct toml *all;
	struct toml *root = NULL;
	int r;

	if (len > REGISTRIES_CONF_MAX)
		return err_set(err, -EFBIG, "more than %u bytes", REGISTRIES_CONF_MAX);
	r = toml_parse(text, len, &root, err);
	if (r < 0)
		return r;
	all = toml_get(root, "registry");
	r = check_version(root, err);
	if (r == 0)
		r = take_helpers(root, &groups->helpers, err);
	if (r == 0 && all && all->kind != TOML_ARRAY)
		r = bad(err, all, "registries are tables: [[registry]]");
	for (const struct toml *t = all ? all->first : NULL; t && r == 0; t = t->next)
		r = take_registry(t, file, host, groups, err);
	toml_free(root);
	return r;
}
