/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/endpoint_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/home.h"
#include "registry/hosts_toml.h"
#include "registry/key_pair.h"
#include "registry/registries_conf.h"

static int no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "out of memory");
}

/* ---- where ---- */

static int add_root(char **slot, const char *dir, const char *below)
{
	if (!dir)
		return 0;
	if (asprintf(slot, "%s%s", dir, below) < 0) {
		*slot = NULL;
		return -ENOMEM;
	}
	return 0;
}

int endpoint_roots_get(const char *hosts_dir, struct endpoint_roots *ret)
{
	struct endpoint_roots roots = {.hosts_dir = hosts_dir ? hosts_dir : ENDPOINT_HOSTS_DIR,
				       .named = hosts_dir != NULL};
	AUTO_FREE char *config = NULL;
	int r = home_config(&config);

	r |= add_root(&roots.certs[0], config, "/containers/certs.d");
	r |= add_root(&roots.certs[1], "/etc", "/containers/certs.d");
	r |= add_root(&roots.certs[2], config, "/docker/certs.d");
	r |= add_root(&roots.certs[3], "/etc", "/docker/certs.d");
	r |= add_root(&roots.confs[0], config, "/containers/registries.conf");
	r |= add_root(&roots.confs[1], "/etc", "/containers/registries.conf");
	r |= add_root(&roots.conf_dirs[0], "/etc", "/containers/registries.conf.d");
	r |= add_root(&roots.conf_dirs[1], config, "/containers/registries.conf.d");
	if (r < 0) {
		endpoint_roots_release(&roots);
		return -ENOMEM;
	}
	*ret = roots;
	return 0;
}

void endpoint_roots_release(struct endpoint_roots *roots)
{
	for (size_t i = 0; i < ENDPOINT_CERTS_MAX; i++)
		free(roots->certs[i]);
	for (size_t i = 0; i < ENDPOINT_CONFS_MAX; i++) {
		free(roots->confs[i]);
		free(roots->conf_dirs[i]);
	}
	*roots = (struct endpoint_roots){0};
}

/* Whether it is there, for us: 1, 0. */
static int is_there(const char *path, bool named, struct err *err)
{
	struct stat st;

	if (stat(path, &st) == 0)
		return S_ISDIR(st.st_mode) && (named || access(path, R_OK | X_OK) == 0);
	if (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG ||
	    (errno == EACCES && !named))
		return 0;
	return err_set(err, -EACCES, "%s: %s", path, strerror(errno));
}

/* dir/name, with what stands behind the last ':' of a host with a port between
 * underscores if `spelled`. 1: *ret is a directory. */
static int look(const char *dir, const char *host, bool spelled, bool named, char **ret,
		struct err *err)
{
	const char *colon = strrchr(host, ':');
	char *path;
	int n, r;

	/* One inside an IPv6 address is no port's. */
	if (spelled && (!colon || strchr(colon, ']')))
		return 0;
	if (spelled)
		n = asprintf(&path, "%s/%.*s_%s_", dir, (int)(colon - host), host, colon + 1);
	else
		n = asprintf(&path, "%s/%s", dir, host);
	if (n < 0)
		return no_memory(err);
	r = is_there(path, named, err);
	if (r == 1)
		*ret = path;
	else
		free(path);
	return r;
}

static int find_hosts_dir(const struct endpoint_roots *roots, const char *host, char **ret,
			  bool *ret_named, struct err *err)
{
	const char *dir = roots->hosts_dir;
	int r = look(dir, host, true, roots->named, ret, err);

	if (r == 0)
		r = look(dir, host, false, roots->named, ret, err);
	*ret_named = r == 1;
	if (r == 0)
		r = look(dir, "_default", false, roots->named, ret, err);
	return r;
}

/* ---- reading ---- */

/* A link is followed: what is mounted into a container is made of them. 1: *text
 * is new. 0: there is no such file. */
static int read_file(const char *path, size_t max, char **text, size_t *len, struct err *err)
{
	int r = file_read_followed(path, max, text, len);

	if (r == -ENOENT)
		return 0;
	if (r == -ENOMEM)
		return no_memory(err);
	if (r == -EFBIG || r == -EISDIR || r == -EINVAL)
		return err_set(err, -EACCES, "%s: no file of at most %zu bytes", path, max);
	return r < 0 ? err_set(err, -EACCES, "%s: %s", path, strerror(-r)) : 1;
}

/* All of a file that must be there. */
static int read_pem(const char *path, char **text, struct err *err)
{
	size_t len;
	int r = read_file(path, ENDPOINT_PEM_MAX, text, &len, err);

	return r == 0 ? err_set(err, -EACCES, "%s: %s", path, strerror(ENOENT)) : r;
}

static void wipe(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

/* ---- directories of certificates ---- */

static bool ends_with(const char *s, const char *end)
{
	size_t len = strlen(s), n = strlen(end);

	return len > n && strcmp(s + len - n, end) == 0;
}

static int is_file_of_certs(const struct dirent *d)
{
	return ends_with(d->d_name, ".crt") || ends_with(d->d_name, ".cert") ||
	       ends_with(d->d_name, ".key");
}

static int take_pair(struct endpoint *e, const char *dir, const char *name, bool own,
		     struct err *err)
{
	int stem = (int)(strlen(name) - strlen(".cert"));
	char *cert, *key;
	int r;

	if (asprintf(&cert, "%s/%s", dir, name) < 0)
		return no_memory(err);
	if (asprintf(&key, "%s/%.*s.key", dir, stem, name) < 0) {
		free(cert);
		return no_memory(err);
	}
	if (!own && access(key, R_OK) < 0 && errno == EACCES) {
		free(cert);
		free(key);
		return 0;
	}
	if (access(key, F_OK) < 0) {
		free(key);
		key = NULL;
	}
	r = endpoint_add_pair(e, cert, key);
	return r == -EFBIG ? err_set(err, -EACCES, "%s: too many files", dir)
	       : r < 0     ? no_memory(err)
			   : 0;
}

static int take_cert_file(struct endpoint *e, const char *dir, const char *name, bool own,
			  struct err *err)
{
	AUTO_FREE char *path = NULL;
	int stem = (int)(strlen(name) - strlen(".key"));

	if (ends_with(name, ".cert"))
		return take_pair(e, dir, name, own, err);
	if (asprintf(&path, "%s/%.*s%s", dir, ends_with(name, ".key") ? stem : (int)strlen(name),
		     name, ends_with(name, ".key") ? ".cert" : "") < 0) {
		path = NULL;
		return no_memory(err);
	}
	if (ends_with(name, ".key"))
		return access(path, F_OK) == 0
			   ? 0
			   : err_set(err, -EACCES, "%s is missing, %s is there", path, name);
	if (e->ca.n == ENDPOINT_FILES_MAX)
		return err_set(err, -EACCES, "%s: too many files", dir);
	return names_add(&e->ca, path, strlen(path)) < 0 ? no_memory(err) : 0;
}

/* Whether a file is kept from us. */
static bool is_secret(const char *dir, const char *name)
{
	AUTO_FREE char *path = NULL;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		path = NULL;
	return path && access(path, R_OK) < 0 && errno == EACCES;
}

/* own: all of it is for us. Else what we must not read, and a certificate whose key is
 * that, are left out. */
static int take_certs(struct endpoint *e, const char *dir, bool own, struct err *err)
{
	struct dirent **names;
	int n = scandir(dir, &names, is_file_of_certs, alphasort);
	int r = 0;

	if (n < 0)
		return err_set(err, -EACCES, "%s: %s", dir, strerror(errno));
	for (int i = 0; i < n; i++) {
		if (r == 0 && (own || !is_secret(dir, names[i]->d_name)))
			r = take_cert_file(e, dir, names[i]->d_name, own, err);
		free(names[i]);
	}
	free(names);
	return r;
}

/* ---- what is configured ---- */

static int load_hosts_dir(const char *dir, struct endpoint_list *l, struct err *err)
{
	AUTO_FREE char *path = NULL, *text = NULL;
	size_t len = 0;
	int r;

	if (asprintf(&path, "%s/hosts.toml", dir) < 0) {
		path = NULL;
		return no_memory(err);
	}
	r = read_file(path, HOSTS_TOML_MAX, &text, &len, err);
	if (r < 0)
		return r;
	if (len > 0) {
		r = hosts_toml_parse(text, len, dir, l, err);
		return r == -ENOMEM ? r : r < 0 ? err_wrap(err, -EACCES, "%s", path) : 0;
	}
	if (!endpoint_add(l))
		return no_memory(err);
	return take_certs(l->v, dir, true, err);
}

/* Certificates that other tools were given for the registry. */
static int add_certs(const struct endpoint_roots *roots, const char *host, struct endpoint *e,
		     struct err *err)
{
	AUTO_FREE char *dir = NULL;
	int r = 0;

	for (size_t i = 0; i < ENDPOINT_CERTS_MAX && r == 0; i++)
		if (roots->certs[i])
			r = look(roots->certs[i], host, false, false, &dir, err);
	return r == 1 ? take_certs(e, dir, false, err) : r;
}

static int check_ca(const char *path, struct err *err)
{
	AUTO_FREE char *text = NULL;
	int r = read_pem(path, &text, err);

	if (r < 0)
		return r;
	return strstr(text, "-----BEGIN ")
		   ? 0
		   : err_set(err, -EACCES, "%s: no certificate in it", path);
}

static int check_pair(const struct endpoint_pair *p, struct err *err)
{
	char *cert = NULL, *key = NULL;
	int r = read_pem(p->cert, &cert, err);

	if (r >= 0 && p->key)
		r = read_pem(p->key, &key, err);
	if (r >= 0 && key_pair_check(cert, key ? key : cert, err) < 0)
		r = err_wrap(err, -EACCES, "%s%s%s", p->cert, p->key ? " with " : "",
			     p->key ? p->key : "");
	wipe(cert);
	wipe(key);
	return r < 0 ? r : 0;
}

/* Those that are not shown too: a file that was named and is of no use is a mistake. */
static int check_files(const struct endpoint *e, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < e->ca.n && r == 0; i++)
		r = check_ca(e->ca.v[i], err);
	for (size_t i = 0; i < e->pair_count && r == 0; i++)
		r = check_pair(&e->pairs[i], err);
	return r;
}

/* ---- registries.conf ---- */

/* 1: it was there. */
static int load_conf(const char *path, const char *host, struct endpoint_groups *groups,
		     struct err *err)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int r = path ? read_file(path, REGISTRIES_CONF_MAX, &text, &len, err) : 0;

	if (r <= 0)
		return r;
	r = registries_conf_parse(text, len, path, host, groups, err);
	if (r < 0)
		return r == -ENOMEM ? r : err_wrap(err, -EACCES, "%s", path);
	return 1;
}

static int is_conf(const struct dirent *d)
{
	return ends_with(d->d_name, ".conf");
}

static int load_conf_dir(const char *dir, const char *host, struct endpoint_groups *groups,
			 struct err *err)
{
	struct dirent **names = NULL;
	int n = dir ? scandir(dir, &names, is_conf, alphasort) : 0;
	int r = 0;

	if (n < 0)
		return errno == ENOENT ? 0 : err_set(err, -EACCES, "%s: %s", dir, strerror(errno));
	for (int i = 0; i < n; i++) {
		char *path = NULL;

		if (r >= 0 && asprintf(&path, "%s/%s", dir, names[i]->d_name) < 0) {
			path = NULL;
			r = no_memory(err);
		}
		if (r >= 0)
			r = load_conf(path, host, groups, err);
		free(path);
		free(names[i]);
	}
	free(names);
	return r < 0 ? r : 0;
}

static int load_confs(const struct endpoint_roots *roots, const char *host,
		      struct endpoint_groups *groups, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < ENDPOINT_CONFS_MAX && r == 0; i++)
		r = load_conf(roots->confs[i], host, groups, err);
	for (size_t i = 0; i < ENDPOINT_CONFS_MAX && r >= 0; i++)
		r = load_conf_dir(roots->conf_dirs[i], host, groups, err);
	for (size_t i = 0; i < groups->n && r >= 0; i++) {
		const struct endpoint_list *l = &groups->v[i].list;

		for (size_t j = 0; j < l->n && r >= 0; j++) {
			char name[URL_ORIGIN_MAX];

			if (l->v[j].url.text)
				url_authority(&l->v[j].url, name);
			r = add_certs(roots, l->v[j].url.text ? name : host, &l->v[j], err);
		}
	}
	return r < 0 ? r : 0;
}

/* ---- all of it ---- */

static size_t rank(const struct endpoint_group *g)
{
	return g->wild ? strlen(g->prefix) : SIZE_MAX;
}

/* Of the groups for the whole registry the one that says it best becomes the first,
 * and the others go. */
static void put_first(struct endpoint_groups *groups)
{
	size_t n = 1;

	for (size_t i = 1; i < groups->n; i++) {
		struct endpoint_group *g = &groups->v[i];

		if (*g->path) {
			groups->v[n++] = *g;
		} else if (!groups->v[0].prefix || rank(g) > rank(&groups->v[0])) {
			endpoint_group_release(&groups->v[0]);
			groups->v[0] = *g;
		} else {
			endpoint_group_release(g);
		}
	}
	groups->n = n;
}

/* hosts is used up. */
static int put_hosts(struct endpoint_groups *groups, struct endpoint_list *hosts, struct err *err)
{
	struct endpoint_group *first = &groups->v[0];

	if (hosts->n > 0) {
		endpoint_list_release(&first->list);
		first->list = *hosts;
		*hosts = (struct endpoint_list){0};
	}
	if (!first->path)
		first->path = strdup("");
	for (size_t i = 0; i < groups->n; i++)
		if (groups->v[i].list.n == 0 && !endpoint_add(&groups->v[i].list))
			return no_memory(err);
	return first->path ? 0 : no_memory(err);
}

static int load_all(const struct endpoint_roots *roots, const char *host,
		    struct endpoint_list *hosts, struct endpoint_groups *groups, struct err *err)
{
	AUTO_FREE char *dir = NULL;
	struct endpoint *origin;
	int r = find_hosts_dir(roots, host, &dir, &groups->named, err);

	if (r == 1)
		r = load_hosts_dir(dir, hosts, err);
	if (r == 0 && !endpoint_group_add(groups))
		r = no_memory(err);
	if (r == 0)
		r = load_confs(roots, host, groups, err);
	if (r < 0)
		return r;
	put_first(groups);
	r = put_hosts(groups, hosts, err);
	if (r < 0)
		return r;
	origin = &groups->v[0].list.v[groups->v[0].list.n - 1];
	if (!origin->url.text && origin->ca.n == 0 && origin->pair_count == 0)
		r = add_certs(roots, host, origin, err);
	return r;
}

int endpoint_files_load(const struct endpoint_roots *roots, const char *host,
			struct endpoint_groups *ret, struct err *err)
{
	struct endpoint_groups groups = {0};
	struct endpoint_list hosts = {0};
	int r = load_all(roots, host, &hosts, &groups, err);

	for (size_t i = 0; i < groups.n && r == 0; i++)
		for (size_t j = 0; j < groups.v[i].list.n && r == 0; j++)
			r = check_files(&groups.v[i].list.v[j], err);
	if (r < 0) {
		endpoint_list_release(&hosts);
		endpoint_groups_release(&groups);
		return r;
	}
	*ret = groups;
	return 0;
}

/* ---- trust ---- */

static int add_pem(const char *path, char **all, struct err *err)
{
	char *text, *more;
	int r = read_pem(path, &text, err);

	if (r < 0)
		return r;
	r = asprintf(&more, "%s%s\n", *all ? *all : "", text);
	free(text);
	if (r < 0)
		return no_memory(err);
	free(*all);
	*all = more;
	return 0;
}

int endpoint_pem(const struct endpoint *e, const char *ca_file, char **ret, struct err *err)
{
	char *all = NULL;
	int r = ca_file ? add_pem(ca_file, &all, err) : 0;

	for (size_t i = 0; i < e->ca.n && r == 0; i++)
		r = add_pem(e->ca.v[i], &all, err);
	if (r < 0) {
		free(all);
		return r;
	}
	*ret = all;
	return 0;
}
