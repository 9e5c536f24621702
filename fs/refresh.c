/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/refresh.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/catalog.h"
#include "fs/fs_impl.h"
#include "fs/tree.h"
#include "registry/reference.h"

struct asked {
	struct refresh *ret;
	struct site *site;
	char path[REPOSITORY_MAX]; /* of namespaces, as the mount shows them */
	const char *rest;          /* what follows them, without a '/' in front; "": nothing */
	struct err *err;
};

static int no_such(const struct asked *a, const char *what)
{
	return err_set(a->err, -ENOENT, "there can be nothing of that name: %s", what);
}

static int say(const struct asked *a, unsigned count)
{
	a->ret->count += count;
	a->ret->what = a->ret->count > 0 ? REFRESHED : REFRESHED_NOTHING;
	return 0;
}

static int immutable(const struct asked *a, const char *what)
{
	snprintf(a->ret->of, sizeof(a->ret->of), "%s", what);
	a->ret->what = REFRESHED_IMMUTABLE;
	return 0;
}

/* What the origin calls it. */
static int repository(const struct asked *a, const char *path, char ret[REPOSITORY_MAX])
{
	return source_repository(a->site->source, path, ret) ? no_such(a, path) : 0;
}

static int forget_tag(const struct asked *a, const char *path, const char *tag, bool lingers)
{
	char repo[REPOSITORY_MAX];
	int r = repository(a, path, repo);
	if (r)
		return r;
	snprintf(a->ret->of, sizeof(a->ret->of), "the tag %s of %s", tag, path);
	a->ret->lingers = lingers;
	return say(a, catalog_forget_tag(a->site->catalog, repo, tag));
}

static int forget_digest(const struct asked *a, const char *path, const struct digest *d,
			 const char *below)
{
	char repo[REPOSITORY_MAX], text[DIGEST_STRING_MAX];
	int r = repository(a, path, repo);
	if (r)
		return r;
	digest_string(d, text);
	bool referrers = strncmp(below, "referrers", strlen("referrers")) == 0;
	snprintf(a->ret->of, sizeof(a->ret->of), "%s %s of %s",
		 referrers ? "who refers to" : "whether there is a", text, path);
	unsigned n = catalog_forget_digest(a->site->catalog, repo, d, referrers);
	return n == 0 && !referrers ? immutable(a, text) : say(a, n);
}

/* A directory of names: all that is below, and if it is one the repository itself. */
static int forget_below(const struct asked *a)
{
	char prefix[2 * REPOSITORY_MAX], repo[REPOSITORY_MAX] = "";
	int r = a->path[0] ? repository(a, a->path, repo) : 0;
	if (r)
		return r;
	snprintf(prefix, sizeof(prefix), "%s%s", a->site->prefix, a->path);
	snprintf(a->ret->of, sizeof(a->ret->of), "%s%s", a->path[0] ? a->path : "all of ",
		 a->path[0] ? " and what is below it" : source_title(a->site->source));
	a->ret->lingers = true;
	unsigned n = catalog_forget_below(a->site->catalog, a->path[0] ? prefix : "");
	if (repo[0] && strcmp(repo, prefix) != 0)
		n += catalog_forget_below(a->site->catalog, repo);
	/* Which repositories there are is one list for all. */
	return say(a, n + catalog_forget_listing(a->site->catalog, a->site->prefix));
}

/* "sha256/<hex>/…" in manifests/ or blobs/. */
static int forget_by_digest(const struct asked *a, const char *rest)
{
	struct digest d;
	size_t alg_len = strcspn(rest, "/");
	const char *hex = rest + alg_len + strspn(rest + alg_len, "/");
	size_t hex_len = strcspn(hex, "/");
	if (rest[0] == '\0' || hex[0] == '\0')
		return immutable(a, "what is known so far by its digest");
	if (digest_parse_parts(rest, alg_len, hex, hex_len, &d))
		return no_such(a, rest);
	const char *below = hex + hex_len + strspn(hex + hex_len, "/");
	return forget_digest(a, a->path, &d, below);
}

static int forget_listing(const struct asked *a, bool and_tags)
{
	char repo[REPOSITORY_MAX];
	int r = repository(a, a->path, repo);
	if (r)
		return r;
	snprintf(a->ret->of, sizeof(a->ret->of), "the tags of %s", a->path);
	unsigned n = catalog_forget_listing(a->site->catalog, repo);
	return say(a, n + (and_tags ? catalog_forget_tags(a->site->catalog, repo) : 0));
}

/* tags/…, manifests/…, blobs/…, index.json, oci-layout. */
static int forget_entry(const struct asked *a)
{
	size_t len = strcspn(a->rest, "/");
	const char *below = a->rest + len + strspn(a->rest + len, "/");
	char tag[TAG_MAX + 2];
	if (strncmp(a->rest, "index.json", len) == 0)
		return forget_listing(a, true);
	if (strncmp(a->rest, "tags", len) != 0)
		return strncmp(a->rest, "oci-layout", len) == 0 ? immutable(a, "oci-layout")
								: forget_by_digest(a, below);
	if (below[0] == '\0')
		return forget_listing(a, false);
	snprintf(tag, sizeof(tag), "%.*s", (int)strcspn(below, "/"), below);
	return reference_is_tag(tag, strlen(tag)) ? forget_tag(a, a->path, tag, true)
						  : no_such(a, below);
}

/* NAME:TAG or NAME@DIGEST; NAME: is the directory of that name. */
static int forget_reference(const struct asked *a, const char *entry)
{
	struct entry_reference ref;
	char path[2 * REPOSITORY_MAX];
	if (reference_parse_entry(entry, strlen(entry), &ref))
		return no_such(a, entry);
	int n = snprintf(path, sizeof(path), "%s%s%.*s", a->path, a->path[0] ? "/" : "",
			 (int)ref.name_len, entry);
	if (n >= REPOSITORY_MAX)
		return no_such(a, entry);
	return digest_is_set(&ref.digest) ? forget_digest(a, path, &ref.digest, "")
					  : forget_tag(a, path, ref.tag, false);
}

static int add_component(struct asked *a, const char *name)
{
	size_t len = strlen(a->path);
	if (!reference_is_component(name, strlen(name)) || len + strlen(name) + 2 > sizeof(a->path))
		return no_such(a, name);
	snprintf(a->path + len, sizeof(a->path) - len, "%s%s", len ? "/" : "", name);
	return 0;
}

/* Goes down namespaces as far as the path does. */
static int forget(struct asked *a)
{
	char name[NAME_MAX + 1];
	while (a->rest[0] != '\0') {
		size_t len = strcspn(a->rest, "/");
		if (len >= sizeof(name))
			return no_such(a, a->rest);
		memcpy(name, a->rest, len);
		name[len] = '\0';
		if (a->path[0] && tree_is_fixed_entry(name))
			return forget_entry(a);
		bool escaped = len > 1 && name[len - 1] == ':';
		if (escaped)
			name[len - 1] = '\0';
		if (!escaped && strpbrk(name, ":@"))
			return forget_reference(a, name);
		int r = escaped && !tree_is_fixed_entry(name) ? no_such(a, name)
							      : add_component(a, name);
		if (r)
			return r;
		a->rest += len + strspn(a->rest + len, "/");
	}
	return forget_below(a);
}

/* Of all registries, or where packages are. */
static int forget_sites(struct fs *fs, bool packages, struct refresh *ret)
{
	struct site *site;
	unsigned n = 0;
	for (unsigned i = 0; (site = sites_at(&fs->sites, i)); i++) {
		if (!packages || site->for_packages)
			n += catalog_forget_below(site->catalog, "");
	}
	snprintf(ret->of, sizeof(ret->of), "%s",
		 packages ? "where packages are" : "all that this mount shows");
	ret->count = n;
	ret->lingers = true;
	ret->what = n > 0 ? REFRESHED : REFRESHED_NOTHING;
	return 0;
}

static int forget_host(struct fs *fs, struct asked *a)
{
	char name[NAME_MAX + 1];
	size_t len = strcspn(a->rest, "/");
	snprintf(name, sizeof(name), "%.*s", (int)len, a->rest);
	a->rest += len + strspn(a->rest + len, "/");
	a->site = sites_find(&fs->sites, name);
	if (a->site)
		return forget(a);
	if (!sites_admit(&fs->sites, name))
		return no_such(a, name);
	snprintf(a->ret->of, sizeof(a->ret->of), "all of %s", name);
	return say(a, 0);
}

int fs_refresh(struct fs *fs, const char *path, struct refresh *ret, struct err *err)
{
	struct asked a = {.ret = ret, .rest = path + strspn(path, "/"), .err = err};
	size_t len = strcspn(a.rest, "/");
	*ret = (struct refresh){0};
	if (a.rest[0] == '\0')
		return forget_sites(fs, false, ret);
	if (len == strlen(TREE_PACKAGES) && strncmp(a.rest, TREE_PACKAGES, len) == 0)
		return forget_sites(fs, true, ret);
	if (fs->sites.several)
		return forget_host(fs, &a);
	a.site = sites_at(&fs->sites, 0);
	return forget(&a);
}
