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
#include "registry/hosts_toml.h"

static int no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "out of memory");
}

/* ---- where ---- */

static int add_root(struct endpoint_roots *roots, size_t *n, const char *dir, const char *below)
{
	char *path;

	if (!dir || !*dir)
		return 0;
	if (asprintf(&path, "%s%s", dir, below) < 0)
		return -ENOMEM;
	roots->certs[(*n)++] = path;
	return 0;
}

int endpoint_roots_get(const char *hosts_dir, struct endpoint_roots *ret)
{
	static const char *const tools[] = {"/containers/certs.d", "/docker/certs.d"};
	struct endpoint_roots roots = {.hosts_dir = hosts_dir ? hosts_dir : ENDPOINT_HOSTS_DIR};
	const char *config = getenv("XDG_CONFIG_HOME");
	const char *home = getenv("HOME");
	AUTO_FREE char *dot_config = NULL;
	size_t n = 0;
	int r = 0;

	if ((!config || !*config) && home && *home) {
		if (asprintf(&dot_config, "%s/.config", home) < 0)
			return -ENOMEM;
		config = dot_config;
	}
	for (size_t i = 0; i < ARRAY_LEN(tools) && r == 0; i++) {
		r = add_root(&roots, &n, config, tools[i]);
		if (r == 0)
			r = add_root(&roots, &n, "/etc", tools[i]);
	}
	if (r < 0) {
		endpoint_roots_release(&roots);
		return r;
	}
	*ret = roots;
	return 0;
}

void endpoint_roots_release(struct endpoint_roots *roots)
{
	for (size_t i = 0; i < ENDPOINT_CERTS_MAX; i++) {
		free(roots->certs[i]);
		roots->certs[i] = NULL;
	}
}

/* Whether it is there: 1, 0. What cannot be looked at may say something. */
static int is_there(const char *path, struct err *err)
{
	struct stat st;

	if (stat(path, &st) == 0)
		return S_ISDIR(st.st_mode);
	if (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG)
		return 0;
	return err_set(err, -EACCES, "%s: %s", path, strerror(errno));
}

/* dir/name, with what stands behind the last ':' of a host with a port between
 * underscores if `spelled`. 1: *ret is a directory. */
static int look(const char *dir, const char *host, bool spelled, char **ret, struct err *err)
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
	r = is_there(path, err);
	if (r == 1)
		*ret = path;
	else
		free(path);
	return r;
}

static int find_hosts_dir(const char *dir, const char *host, char **ret, struct err *err)
{
	int r = look(dir, host, true, ret, err);

	if (r == 0)
		r = look(dir, host, false, ret, err);
	if (r == 0)
		r = look(dir, "_default", false, ret, err);
	return r;
}

/* ---- reading ---- */

/* A link is followed: what is mounted into a container is made of them. 1: *text
 * is new. 0: there is no such file. */
static int read_file(const char *path, size_t max, char **text, size_t *len, struct err *err)
{
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int64_t n;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(err, -EACCES, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > max)
		return err_set(err, -EACCES, "%s: no file of at most %zu bytes", path, max);
	*text = malloc((size_t)st.st_size + 1);
	if (!*text)
		return no_memory(err);
	n = file_pread_full(fd, *text, (size_t)st.st_size, 0);
	if (n < 0) {
		free(*text);
		return err_set(err, -EACCES, "%s: %s", path, strerror((int)-n));
	}
	*len = (size_t)n;
	(*text)[n] = '\0';
	return 1;
}

/* Whether a file of PEM has such a part: 1, 0. */
static int has_part(const char *path, const char *what, struct err *err)
{
	char *text;
	size_t len;
	int r = read_file(path, ENDPOINT_PEM_MAX, &text, &len, err);

	if (r == 0)
		return err_set(err, -EACCES, "%s: %s", path, strerror(ENOENT));
	if (r < 0)
		return r;
	r = strstr(text, what) != NULL;
	explicit_bzero(text, len);
	free(text);
	return r;
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

static int take_pair(struct endpoint *e, const char *dir, const char *name, struct err *err)
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
	if (access(key, F_OK) < 0) {
		free(key);
		key = NULL;
	}
	r = endpoint_add_pair(e, cert, key);
	return r == -EFBIG ? err_set(err, -EACCES, "%s: too many files", dir)
	       : r < 0     ? no_memory(err)
			   : 0;
}

static int take_cert_file(struct endpoint *e, const char *dir, const char *name, struct err *err)
{
	AUTO_FREE char *path = NULL;
	int stem = (int)(strlen(name) - strlen(".key"));

	if (ends_with(name, ".cert"))
		return take_pair(e, dir, name, err);
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

static int take_certs(struct endpoint *e, const char *dir, struct err *err)
{
	struct dirent **names;
	int n = scandir(dir, &names, is_file_of_certs, alphasort);
	int r = 0;

	if (n < 0)
		return err_set(err, -EACCES, "%s: %s", dir, strerror(errno));
	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = take_cert_file(e, dir, names[i]->d_name, err);
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
	return take_certs(l->v, dir, err);
}

/* Certificates that other tools were given for the registry. */
static int add_certs(const struct endpoint_roots *roots, const char *host, struct endpoint *e,
		     struct err *err)
{
	AUTO_FREE char *dir = NULL;
	int r = 0;

	for (size_t i = 0; i < ENDPOINT_CERTS_MAX && r == 0; i++)
		if (roots->certs[i])
			r = look(roots->certs[i], host, false, &dir, err);
	return r == 1 ? take_certs(e, dir, err) : r;
}

static int check_files(const struct endpoint *e, struct err *err)
{
	for (size_t i = 0; i < e->ca.n; i++) {
		int r = has_part(e->ca.v[i], "-----BEGIN ", err);

		if (r < 0)
			return r;
		if (r == 0)
			return err_set(err, -EACCES, "%s: no certificate in it", e->ca.v[i]);
	}
	for (size_t i = 0; i < e->pair_count; i++) {
		const struct endpoint_pair *p = &e->pairs[i];
		int r = has_part(p->cert, "-----BEGIN ", err);

		if (r == 1)
			r = has_part(p->key ? p->key : p->cert, "PRIVATE KEY-----", err);
		if (r < 0)
			return r;
		if (r == 0)
			return err_set(err, -EACCES, "%s: no %s in it", p->key ? p->key : p->cert,
				       p->key ? "private key" : "certificate with its key");
	}
	return 0;
}

int endpoint_files_load(const struct endpoint_roots *roots, const char *host,
			struct endpoint_list *ret, struct err *err)
{
	struct endpoint_list l = {0};
	AUTO_FREE char *dir = NULL;
	struct endpoint *origin;
	int r = find_hosts_dir(roots->hosts_dir, host, &dir, err);

	if (r == 1)
		r = load_hosts_dir(dir, &l, err);
	else if (r == 0 && !endpoint_add(&l))
		r = no_memory(err);
	if (r == 0) {
		origin = &l.v[l.n - 1];
		if (!origin->url.text && origin->ca.n == 0 && origin->pair_count == 0)
			r = add_certs(roots, host, origin, err);
	}
	for (size_t i = 0; i < l.n && r == 0; i++)
		r = check_files(&l.v[i], err);
	if (r < 0) {
		endpoint_list_release(&l);
		return r;
	}
	*ret = l;
	return 0;
}

/* ---- trust ---- */

static int add_pem(const char *path, char **all, struct err *err)
{
	char *text, *more;
	size_t len;
	int r = read_file(path, ENDPOINT_PEM_MAX, &text, &len, err);

	if (r <= 0)
		return r < 0 ? r : err_set(err, -EACCES, "%s: %s", path, strerror(ENOENT));
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
