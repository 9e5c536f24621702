/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/cache_known.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/pins.h"
#include "fs/reach.h"
#include "registry/host_name.h"
#include "registry/url.h"

#define LIBRARY "library/"
#define PLAIN   "http:" /* of registry/endpoints.c */

struct reading {
	struct store *store;
	struct refs *refs;
	struct known *to;
	const char *origin;
	char host[SOURCE_HOST_MAX]; /* as people write it */
	const char *repo;
};

static int no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "no memory for what the cache knows");
}

/* As people name the registry: what was asked for without TLS, by a hosts.toml or by a SOURCE, is
 * under the same name. Errors of host_name_of_origin. */
static int host_of_origin(const char *origin, char ret[HOST_NAME_SIZE])
{
	char tls[sizeof("unverified:") + URL_ORIGIN_MAX];
	if (strncmp(origin, PLAIN, strlen(PLAIN)) != 0)
		return host_name_of_origin(origin, ret);
	const char *host = origin + strlen(PLAIN), *port = strrchr(host, ':');
	bool usual = port != NULL && strcmp(port, ":80") == 0;
	int n = usual ? snprintf(tls, sizeof(tls), "unverified:%.*s:443", (int)(port - host), host)
		      : snprintf(tls, sizeof(tls), "unverified:%s", host);
	return n < (int)sizeof(tls) ? host_name_of_origin(tls, ret) : -EINVAL;
}

static void name_origin(const char *origin, char ret[SOURCE_HOST_MAX])
{
	char spelt[HOST_NAME_SIZE], source[HOST_NAME_SIZE];
	struct source_spec spec;
	if (host_of_origin(origin, spelt) < 0 || host_name_parse(spelt, source, &spec) < 0)
		snprintf(ret, SOURCE_HOST_MAX, "%s", origin);
	else
		snprintf(ret, SOURCE_HOST_MAX, "%s", source);
}

static int read_tag(struct reading *r, const char *tag, struct err *err)
{
	struct known *k = r->to;
	struct tag_record rec;
	int rc = refs_tag_load(r->refs, r->origin, r->repo, tag, &rec, err);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	struct known_tag *more = reallocarray(k->tags, k->n_tags + 1, sizeof(*more));
	if (more == NULL)
		return no_memory(err);
	k->tags = more;
	struct known_tag *t = &more[k->n_tags++];
	*t = (struct known_tag){.manifest = rec.desc.digest};
	t->origin = strdup(r->origin);
	t->repo = strdup(r->repo);
	t->tag = strdup(tag);
	if (asprintf(&t->name, "%s/%s:%s", r->host, r->repo, tag) < 0)
		t->name = NULL;
	if (t->name == NULL || t->origin == NULL || t->repo == NULL || t->tag == NULL)
		return no_memory(err);
	return reach_add(r->store, &t->manifest, &t->reach, err);
}

static int read_tags(struct reading *r, struct err *err)
{
	struct names tags = {0};
	int rc = refs_tags(r->refs, r->origin, r->repo, &tags, err);
	for (size_t i = 0; rc == 0 && i < tags.n; i++) {
		if (reference_is_tag(tags.v[i], strlen(tags.v[i])))
			rc = read_tag(r, tags.v[i], err);
	}
	names_release(&tags);
	return rc;
}

static int read_named(struct reading *r, struct err *err)
{
	struct known *k = r->to;
	AUTO_FREE struct descriptor *v = NULL;
	size_t n = 0;
	int rc = refs_named_all(r->refs, r->origin, r->repo, &v, &n, err);
	struct known_repo *more =
	    rc == 0 ? reallocarray(k->repos, k->n_repos + 1, sizeof(*more)) : NULL;
	if (rc < 0 || more == NULL)
		return rc < 0 ? rc : no_memory(err);
	k->repos = more;
	struct known_repo *repo = &more[k->n_repos++];
	*repo = (struct known_repo){.origin = strdup(r->origin), .repo = strdup(r->repo)};
	if (asprintf(&repo->name, "%s/%s", r->host, r->repo) < 0)
		repo->name = NULL;
	if (repo->name == NULL || repo->origin == NULL || repo->repo == NULL)
		return no_memory(err);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = digest_set_add(&repo->named, &v[i].digest);
	return rc < 0 ? no_memory(err) : 0;
}

static int read_origin(struct reading *r, struct err *err)
{
	struct names repos = {0};
	int rc = refs_repos(r->refs, r->origin, &repos, err);
	name_origin(r->origin, r->host);
	for (size_t i = 0; rc == 0 && i < repos.n; i++) {
		r->repo = repos.v[i];
		if (!reference_is_repository(r->repo, strlen(r->repo)))
			continue;
		rc = read_named(r, err);
		if (rc == 0)
			rc = read_tags(r, err);
	}
	names_release(&repos);
	return rc;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct known_tag *)a)->name, ((const struct known_tag *)b)->name);
}

static int repo_by_name(const void *a, const void *b)
{
	return strcmp(((const struct known_repo *)a)->name, ((const struct known_repo *)b)->name);
}

static int add_pin(void *ctx, const struct digest *d)
{
	return digest_set_add(ctx, d);
}

static int read_all(struct store *s, struct known *k, struct err *err)
{
	struct refs *refs = NULL;
	struct names origins = {0};
	int rc = refs_open(s, &refs, err);
	if (rc == 0)
		rc = refs_origins(refs, &origins, err);
	for (size_t i = 0; rc == 0 && i < origins.n; i++) {
		struct reading r = {.store = s, .refs = refs, .to = k, .origin = origins.v[i]};
		rc = read_origin(&r, err);
	}
	names_release(&origins);
	refs_close(refs);
	if (rc == 0)
		rc = pins_each(s, add_pin, &k->pinned, err);
	return rc;
}

int known_read(struct store *s, struct known *ret, struct err *err)
{
	struct known k = {0};
	int rc = read_all(s, &k, err);
	if (rc < 0) {
		known_release(&k);
		return rc;
	}
	if (k.n_tags > 0)
		qsort(k.tags, k.n_tags, sizeof(*k.tags), by_name);
	if (k.n_repos > 0)
		qsort(k.repos, k.n_repos, sizeof(*k.repos), repo_by_name);
	*ret = k;
	return 0;
}

void known_release(struct known *k)
{
	for (size_t i = 0; i < k->n_tags; i++) {
		free(k->tags[i].name);
		free(k->tags[i].origin);
		free(k->tags[i].repo);
		free(k->tags[i].tag);
		digest_set_release(&k->tags[i].reach);
	}
	for (size_t i = 0; i < k->n_repos; i++) {
		free(k->repos[i].name);
		free(k->repos[i].origin);
		free(k->repos[i].repo);
		digest_set_release(&k->repos[i].named);
	}
	free(k->tags);
	free(k->repos);
	digest_set_release(&k->pinned);
	*k = (struct known){0};
}

bool known_is_of(const char *origin, const char *repo, const struct image_reference *r)
{
	char spelt[HOST_NAME_SIZE], asked[HOST_NAME_SIZE];
	if (host_of_origin(origin, spelt) < 0 || host_name_spell(&r->spec, asked) < 0 ||
	    strcmp(spelt, asked) != 0)
		return false;
	if (strcmp(repo, r->path) == 0)
		return true;
	/* The short names of Docker Hub. */
	return strcmp(r->spec.host, "docker.io") == 0 && strchr(r->path, '/') == NULL &&
	       strncmp(repo, LIBRARY, strlen(LIBRARY)) == 0 &&
	       strcmp(repo + strlen(LIBRARY), r->path) == 0;
}
