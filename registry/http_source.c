/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/http_source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void source_free_op(struct source *s)
{
	struct http_source *h = http_source_of(s);

	endpoints_free(h->endpoints);
	proxy_free(h->proxy);
	absences_release(&h->no_referrers);
	lock_release(&h->lock);
	free(h->auth_file);
	free(h->ca_file);
	free(h->hosts_dir);
	free(h);
}

static const char *origin_op(const struct source *s)
{
	return ((const struct http_source *)s)->endpoints->origin;
}

static const char *title_op(const struct source *s)
{
	return ((const struct http_source *)s)->endpoints->title;
}

static bool is_local_op(const struct source *s)
{
	(void)s;
	return false;
}

static int repository_op(const struct source *s, const char *path, char ret[REPOSITORY_MAX])
{
	const struct http_source *h = (const struct http_source *)s;
	const char *above = h->namespace;
	int n;

	if (!*above && h->hub && !strchr(path, '/'))
		above = "library";
	n = snprintf(ret, REPOSITORY_MAX, "%s%s%s", above, *above ? "/" : "", path);
	return n >= REPOSITORY_MAX ? -ENAMETOOLONG : 0;
}

static int down_op(struct source *s, struct err *err)
{
	return endpoints_down(http_source_of(s)->endpoints, err);
}

static void health_op(struct source *s, struct source_health *ret)
{
	endpoints_health(http_source_of(s)->endpoints, ret);
}

static void requests_op(struct source *s, size_t host, struct source_requests *ret)
{
	endpoints_requests(http_source_of(s)->endpoints, host, ret);
}

static size_t mirrors_op(struct source *s, struct source_mirror *ret, size_t max)
{
	return endpoints_mirrors(http_source_of(s)->endpoints, ret, max);
}

static bool warning_op(struct source *s, char ret[SOURCE_WARNING_MAX])
{
	return endpoints_warning(http_source_of(s)->endpoints, ret);
}

static bool in_parts_op(const struct source *s, const char *repo)
{
	return endpoints_are_trusted(((const struct http_source *)s)->endpoints, repo);
}

static const struct source_ops ops = {
    .free = source_free_op,
    .origin = origin_op,
    .title = title_op,
    .is_local = is_local_op,
    .repository = repository_op,
    .down = down_op,
    .health = health_op,
    .mirrors = mirrors_op,
    .requests = requests_op,
    .warning = warning_op,
    .resolve = http_source_resolve,
    .document = http_source_document,
    .stat = http_source_stat,
    .blob = http_source_blob,
    .part = http_source_part,
    .in_parts = in_parts_op,
    .tags = http_source_tags,
    .referrers = http_source_referrers,
    .catalog = http_source_catalog,
    .packages = http_source_packages,
};

/* A file that the user named is looked at now: later nobody would see why. */
static int keep_path(const char *path, const char *option, char **ret, struct err *err)
{
	if (!path)
		return 0;
	if (access(path, R_OK) < 0)
		return err_set(err, -errno, "%s %s: %s", option, path, strerror(errno));
	/* The daemon goes to another directory. */
	*ret = realpath(path, NULL);
	return *ret ? 0 : err_set(err, -errno, "%s %s: %s", option, path, strerror(errno));
}

static int open_endpoints(struct http_source *h, const struct source_spec *spec,
			  const struct client_tuning *tuning, struct err *err)
{
	struct proxy_env env = proxy_env_get();
	struct endpoint_roots roots = {0};
	struct endpoints_options o = {.spec = spec,
				      .roots = &roots,
				      .auth_file = h->auth_file,
				      .public_only = h->public_only,
				      .ca_file = h->ca_file,
				      .tuning = tuning};
	int r = proxy_new(&env, &h->proxy, err);

	if (r < 0)
		return r;
	o.proxy = h->proxy;
	r = endpoint_roots_get(h->hosts_dir, &roots);
	if (r < 0)
		return err_set(err, r, "out of memory");
	r = endpoints_new(&o, &h->endpoints, err);
	endpoint_roots_release(&roots);
	return r;
}

int http_source_open_tuned(const struct source_options *o, const struct source_spec *spec,
			   const struct client_tuning *tuning, struct source **ret, struct err *err)
{
	struct http_source *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return err_set(err, -ENOMEM, "out of memory");
	h->source.ops = &ops;
	absences_init(&h->no_referrers);
	lock_init(&h->lock);
	snprintf(h->namespace, sizeof(h->namespace), "%s", spec->namespace);
	h->hub = strcmp(spec->host, "docker.io") == 0 || strcmp(spec->host, "index.docker.io") == 0;
	h->timeout_ms = o->timeout_ms;
	h->public_only = o->public_only;
	r = keep_path(o->auth_file, "--auth-file", &h->auth_file, err);
	if (r == 0)
		r = keep_path(o->ca_file, "--ca-file", &h->ca_file, err);
	if (r == 0)
		r = keep_path(o->hosts_dir, "--hosts-dir", &h->hosts_dir, err);
	if (r == 0)
		r = open_endpoints(h, spec, tuning, err);
	if (r < 0) {
		source_free_op(&h->source);
		return r;
	}
	*ret = &h->source;
	return 0;
}

int http_source_open(const struct source_options *o, const struct source_spec *spec,
		     struct source **ret, struct err *err)
{
	return http_source_open_tuned(o, spec, NULL, ret, err);
}
