/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/packages.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/home.h"
#include "fs/catalog.h"
#include "fs/log.h"
#include "fs/tree.h"

/* ---- the configuration ---- */

/* New, NULL at *ret where there is nothing to look for. -ENOMEM. */
static int usual_path(char **ret)
{
	AUTO_FREE char *config = NULL;
	int r = home_config(&config);
	if (r || !config)
		return r;
	return asprintf(ret, "%s/wasm-pkg/config.toml", config) < 0 ? -ENOMEM : 0;
}

static int load(const char *path, bool named, struct package_config **ret, struct err *err)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int r = path ? file_read_followed(path, PACKAGE_CONFIG_MAX, &text, &len) : -ENOENT;
	if (r == -ENOENT && !named)
		return package_config_parse("", 0, ret, err);
	if (r == -EFBIG)
		return err_set(err, -EACCES, "%s: more than %u bytes", path, PACKAGE_CONFIG_MAX);
	if (r)
		return err_set(err, -EACCES, "%s: %s", path, strerror(-r));
	r = package_config_parse(text, len, ret, err);
	return r < 0 ? err_wrap(err, r == -ENOMEM ? r : -EACCES, "%s", path) : 0;
}

int packages_open(struct packages *p, const char *file, struct err *err)
{
	AUTO_FREE char *usual = NULL;
	lock_init(&p->lock);
	if (file)
		return load(file, true, &p->config, err);
	if (usual_path(&usual))
		return err_set(err, -ENOMEM, "out of memory");
	int r = load(usual, false, &p->config, &p->broken);
	if (r == -ENOMEM)
		return err_set(err, r, "out of memory");
	if (r)
		log_warning("packages", "%s; there are no packages in this mount", p->broken.text);
	return 0;
}

void packages_close(struct packages *p)
{
	package_config_free(p->config);
	names_release(&p->found);
	lock_release(&p->lock);
}

/* ---- where a package is ---- */

struct quest {
	struct op *op;
	const char *namespace, *name;
	struct package_registry from;
	struct package_metadata metadata;
};

static int find_registry(struct quest *q)
{
	const struct packages *p = &q->op->fs->packages;
	if (!p->config)
		return err_set(&q->op->err, -EACCES, "%s", p->broken.text);
	if (package_config_find(p->config, q->namespace, q->name, &q->from) == 0)
		return 0;
	return err_set(&q->op->err, -EACCES,
		       "%s:%s: nothing says which registry has it; name one in wkg's "
		       "configuration (default_registry, namespace_registries)",
		       q->namespace, q->name);
}

static int check_protocol(struct quest *q, const char *protocol)
{
	if (!protocol || !*protocol || strcmp(protocol, PACKAGE_OCI) == 0)
		return 0;
	bool local = strcmp(protocol, "local") == 0 && q->from.protocol;
	return err_set(&q->op->err, -EOPNOTSUPP, "%s:%s: %s keeps it by '%s', and not as OCI%s",
		       q->namespace, q->name, q->from.registry, protocol,
		       local ? ": if that directory is in this mount, the mount needs a "
			       "configuration of its own (--package-config)"
			     : "");
}

/* Of a listing that is known; false: its words are none. */
static bool take_words(struct listing *l, struct package_metadata *ret)
{
	bool good = package_metadata_of_words(&l->names, ret) == 0;
	listing_unref(l);
	return good;
}

static int ask_metadata(struct quest *q)
{
	struct op *op = q->op;
	struct site *site;
	struct listing *l = NULL;
	int r = sites_packages(&op->fs->sites, q->from.registry, &site, &op->err);
	if (r)
		return r;
	enum known known = catalog_listing(site->catalog, "", &l, NULL);
	bool have = known == KNOWN_FRESH || known == KNOWN_STALE;
	if (have && !take_words(l, &q->metadata))
		known = KNOWN_NOT;
	if (known == KNOWN_FRESH)
		return 0;
	struct want w = tree_want(WANT_PACKAGES, "");
	if (known != KNOWN_STALE || !(op->accept_stale || op->place_asked)) {
		op_enter(op, site);
		op->place_asked = known == KNOWN_STALE;
		return op_want(op, &w, known == KNOWN_STALE ? OP_STALE_TAG_MS : 0);
	}
	if (op->site == site && op_failed(op, &w))
		log_failure("fs", op->failure_err.text,
			    "packages of %s: taken for where they were before: %s",
			    q->from.registry, op->failure_err.text);
	return 0;
}

static int find_metadata(struct quest *q)
{
	int r = check_protocol(q, q->from.protocol);
	if (r)
		return r;
	if (q->from.metadata)
		q->metadata = *q->from.metadata;
	else
		r = ask_metadata(q);
	return r || q->from.protocol ? r : check_protocol(q, q->metadata.protocol);
}

static int find_repository(struct quest *q, char ret[REPOSITORY_MAX])
{
	struct err *err = &q->op->err;
	int r = package_metadata_repository(&q->metadata, q->namespace, q->name, ret, err);
	return r ? err_wrap(err, r, "%s", q->from.registry) : 0;
}

/* The site that serves it, or why none does. */
static int find_site(struct quest *q, const char *repo, struct site **ret)
{
	const char *host = q->metadata.registry[0] ? q->metadata.registry : q->from.registry;
	char source[HOST_NAME_SIZE];
	struct source_spec spec;
	struct err *err = &q->op->err;
	int r = host_name_parse(host, source, &spec);
	if (r == 0)
		r = sites_serving(&q->op->fs->sites, &spec, ret, err);
	if (r != -ENOENT && r != -EINVAL)
		return r;
	return err_set(err, -EACCES,
		       "%s:%s lies in %s/%s, and this mount does not serve that registry: mount "
		       "%s, alone or beside others, or mount with --all",
		       q->namespace, q->name, host, repo, host);
}

/* A component that would be a fixed entry is reached by its other spelling. */
static int make_path(const struct site *site, const char *below, char *ret, size_t room)
{
	size_t len = (size_t)snprintf(ret, room, "%s", site->name);
	for (bool first = true; *below; first = false) {
		size_t n = strcspn(below, "/");
		char component[NAME_COMPONENT_MAX + 1];
		if (n >= sizeof(component))
			return -ENAMETOOLONG;
		memcpy(component, below, n);
		component[n] = '\0';
		len += (size_t)snprintf(ret + len, room - len, "%s%s%s", len ? "/" : "", component,
					!first && tree_is_fixed_entry(component) ? ":" : "");
		if (len >= room)
			return -ENAMETOOLONG;
		below += n + (below[n] == '/');
	}
	return 0;
}

/* That this registry's page is late, or not to be had, says nothing of the one it leads to. */
static void turn_to(struct op *op, struct site *site)
{
	if (op->site && op->site->for_packages && op->place_asked)
		op->accept_stale = false;
	op_enter(op, site);
}

int packages_locate(struct op *op, const char *namespace, const char *name,
		    struct package_place *ret)
{
	struct quest q = {.op = op, .namespace = namespace, .name = name};
	int r = find_registry(&q);
	if (r == 0)
		r = find_metadata(&q);
	if (r == 0)
		r = find_repository(&q, ret->repo);
	if (r == 0)
		r = find_site(&q, ret->repo, &ret->site);
	if (r)
		return r;
	const char *prefix = ret->site->prefix;
	if (strncmp(ret->repo, prefix, strlen(prefix)) != 0)
		return err_set(
		    &op->err, -EACCES,
		    "%s:%s lies in %s/%s, and of that registry this mount shows %s only: "
		    "mount all of it",
		    namespace, name, source_title(ret->site->source), ret->repo, prefix);
	r = make_path(ret->site, ret->repo + strlen(prefix), ret->path, sizeof(ret->path));
	if (r == 0)
		turn_to(op, ret->site);
	return r;
}

/* ---- what is listed ---- */

void packages_note(struct packages *p, const char *namespace, const char *name)
{
	char text[2 * REPOSITORY_MAX];
	int n = snprintf(text, sizeof(text), "%s:%s", namespace, name);
	lock_take(&p->lock);
	if (n < (int)sizeof(text) && p->found.n < PACKAGES_FOUND_MAX &&
	    !names_has(&p->found, text) && names_add(&p->found, text, (size_t)n) == 0)
		names_sort(&p->found);
	lock_drop(&p->lock);
}

/* All namespaces, or the names in one. */
static int add_found(struct packages *p, const char *namespace, struct names *ret)
{
	int r = 0;
	lock_take(&p->lock);
	for (size_t i = 0; i < p->found.n && r == 0; i++) {
		const char *one = p->found.v[i];
		size_t len = strcspn(one, ":");
		if (!namespace)
			r = names_add(ret, one, len);
		else if (len == strlen(namespace) && strncmp(one, namespace, len) == 0)
			r = names_add(ret, one + len + 1, strlen(one + len + 1));
	}
	lock_drop(&p->lock);
	return r;
}

int packages_list(struct packages *p, const char *namespace, struct names *ret)
{
	int r = 0;
	if (p->config && namespace)
		r = package_config_packages(p->config, namespace, ret);
	else if (p->config)
		r = package_config_namespaces(p->config, ret);
	return r ? r : add_found(p, namespace, ret);
}
