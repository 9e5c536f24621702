/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/hosts_toml.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "registry/header_field.h"
#include "registry/toml.h"

#define DIAL_MAX_MS (60 * 60 * 1000)

static int bad(struct err *err, const struct toml *t, const char *what)
{
	return err_set(err, -EINVAL, "line %u: '%s': %s", t->line, t->key ? t->key : "?", what);
}

static int no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "out of memory");
}

/* ---- single fields ---- */

static int64_t unit_ns(const char *s, size_t *len)
{
	static const struct {
		const char *name;
		int64_t ns;
	} units[] = {{"ns", 1},         {"us", 1000},       {"\xc2\xb5s", 1000}, {"ms", 1000000},
		     {"s", 1000000000}, {"m", 60000000000}, {"h", 3600000000000}};

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		*len = strlen(units[i].name);
		if (strncmp(s, units[i].name, *len) == 0)
			return units[i].ns;
	}
	return 0;
}

/* One number with its unit; *s moves on. */
static bool add_part(const char **s, int64_t *ns)
{
	int64_t whole = 0, fraction = 0, scale = 1, unit;
	const char *c = *s;
	size_t digits, len;

	for (digits = 0; *c >= '0' && *c <= '9'; c++, digits++)
		if (digits > 12)
			return false;
		else
			whole = whole * 10 + (*c - '0');
	if (*c == '.')
		for (c++; *c >= '0' && *c <= '9'; c++, digits++)
			if (scale < 1000) {
				fraction = fraction * 10 + (*c - '0');
				scale *= 10;
			}
	unit = unit_ns(c, &len);
	if (digits == 0 || unit == 0 || whole > DIAL_MAX_MS * 1000000LL / unit)
		return false;
	*ns += whole * unit + fraction * unit / scale;
	*s = c + len;
	return true;
}

int hosts_toml_duration(const char *s, int64_t *ret_ms)
{
	int64_t ns = 0;

	if (!*s)
		return -EINVAL;
	while (*s)
		if (!add_part(&s, &ns) || ns > DIAL_MAX_MS * 1000000LL)
			return -EINVAL;
	if (ns == 0)
		return -EINVAL;
	*ret_ms = ns < 1000000 ? 1 : ns / 1000000;
	return 0;
}

static int take_dial(const struct toml *table, struct endpoint *e, struct err *err)
{
	const struct toml *t = toml_get(table, "dial_timeout");

	if (t && (t->kind != TOML_STRING || hosts_toml_duration(t->string, &e->dial_ms) < 0))
		return bad(err, t, "no duration like \"200ms\" or \"3s\"");
	return 0;
}

static int take_capabilities(const struct toml *table, struct endpoint *e, struct err *err)
{
	const struct toml *t = toml_get(table, "capabilities");

	if (!t)
		return 0;
	if (t->kind != TOML_ARRAY)
		return bad(err, t, "not an array of strings");
	if (t->first)
		e->capabilities = 0;
	for (const struct toml *one = t->first; one; one = one->next) {
		const char *name = one->kind == TOML_STRING ? one->string : "";

		if (strcasecmp(name, "pull") == 0)
			e->capabilities |= ENDPOINT_PULL;
		else if (strcasecmp(name, "resolve") == 0)
			e->capabilities |= ENDPOINT_RESOLVE;
		else if (strcasecmp(name, "push") != 0 && strcasecmp(name, "referrers") != 0)
			return bad(err, t, "only pull, resolve, push and referrers are known");
	}
	return 0;
}

/* ---- files ---- */

static char *file_path(const char *dir, const char *name)
{
	char *path;

	if (asprintf(&path, "%s%s%s", *name == '/' ? "" : dir, *name == '/' ? "" : "/", name) < 0)
		return NULL;
	return path;
}

static int add_ca(const struct toml *t, const struct toml *one, const char *dir, struct endpoint *e,
		  struct err *err)
{
	AUTO_FREE char *path = NULL;

	if (one->kind != TOML_STRING || !*one->string)
		return bad(err, t, "neither a file's name nor an array of them");
	if (e->ca.n == ENDPOINT_FILES_MAX)
		return bad(err, t, "too many files");
	path = file_path(dir, one->string);
	return path && names_add(&e->ca, path, strlen(path)) == 0 ? 0 : no_memory(err);
}

static int take_ca(const struct toml *table, const char *dir, struct endpoint *e, struct err *err)
{
	const struct toml *t = toml_get(table, "ca");
	int r = 0;

	if (!t)
		return 0;
	if (t->kind != TOML_ARRAY)
		return add_ca(t, t, dir, e, err);
	for (const struct toml *one = t->first; one && r == 0; one = one->next)
		r = add_ca(t, one, dir, e, err);
	return r;
}

/* A file with both, or an array of the certificate's and the key's. */
static int add_client(const struct toml *t, const struct toml *one, const char *dir,
		      struct endpoint *e, struct err *err)
{
	static const char what[] = "neither a file's name nor an array of [certificate, key]";
	const struct toml *cert = one, *key = NULL;
	char *cert_path, *key_path = NULL;
	int r;

	if (one->kind == TOML_ARRAY && one != t) {
		cert = one->first;
		key = cert ? cert->next : NULL;
		if (!key || key->next || key->kind != TOML_STRING || !*key->string)
			return bad(err, t, what);
	}
	if (cert->kind != TOML_STRING || !*cert->string)
		return bad(err, t, what);
	cert_path = file_path(dir, cert->string);
	if (key)
		key_path = file_path(dir, key->string);
	if (!cert_path || (key && !key_path)) {
		free(cert_path);
		free(key_path);
		return no_memory(err);
	}
	r = endpoint_add_pair(e, cert_path, key_path);
	return r == -EFBIG ? bad(err, t, "too many files") : r < 0 ? no_memory(err) : 0;
}

static int take_client(const struct toml *table, const char *dir, struct endpoint *e,
		       struct err *err)
{
	const struct toml *t = toml_get(table, "client");
	int r = 0;

	if (!t)
		return 0;
	if (t->kind != TOML_ARRAY)
		return add_client(t, t, dir, e, err);
	for (const struct toml *one = t->first; one && r == 0; one = one->next)
		r = add_client(t, one, dir, e, err);
	return r;
}

/* ---- header fields ---- */

static int add_header(const struct toml *t, const struct toml *one, struct endpoint *e,
		      struct err *err)
{
	int r;

	if (one->kind != TOML_STRING || !header_field_is_value(one->string))
		return bad(err, t, "a header's value is one line of text, or an array of such");
	r = header_field_add(&e->headers, t->key, one->string);
	return r == -EFBIG ? bad(err, t, "too many headers, or one that is too long")
	       : r < 0     ? no_memory(err)
			   : 0;
}

static int take_headers(const struct toml *table, struct endpoint *e, struct err *err)
{
	const struct toml *all = toml_get(table, "header");
	int r = 0;

	if (!all)
		return 0;
	if (all->kind != TOML_TABLE)
		return bad(err, all, "not a table");
	for (const struct toml *t = all->first; t; t = t->next) {
		if (!header_field_may_set(t->key))
			return bad(err, t, "no header that may be set");
		if (t->kind != TOML_ARRAY)
			r = add_header(t, t, e, err);
		for (const struct toml *one = t->first; one && r == 0; one = one->next)
			r = add_header(t, one, e, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- the whole ---- */

static int take_url(const struct toml *at, const char *url, const struct toml *table,
		    struct endpoint *e, struct err *err)
{
	bool override = false;
	int r = toml_bool(table, "override_path", &override, err);

	if (r < 0)
		return r;
	r = endpoint_set_url(e, url, override);
	/* Unquoted: somebody may have put a password there. */
	if (r == -EINVAL)
		return err_set(err, r,
			       "line %u: no URL of a registry: [http[s]://]HOST[:PORT][/PATH], "
			       "without user and query",
			       at->line);
	return r < 0 ? no_memory(err) : 0;
}

static int take_fields(const struct toml *table, const char *dir, struct endpoint *e,
		       struct err *err)
{
	int r = take_capabilities(table, e, err);

	e->by_namespace = true;
	if (r == 0)
		r = take_ca(table, dir, e, err);
	if (r == 0)
		r = take_client(table, dir, e, err);
	if (r == 0)
		r = toml_bool(table, "skip_verify", &e->skip_verify, err);
	if (r == 0)
		r = take_headers(table, e, err);
	if (r == 0)
		r = take_dial(table, e, err);
	return r;
}

static int take_hosts(const struct toml *root, const char *dir, struct endpoint_list *l,
		      struct err *err)
{
	const struct toml *hosts = toml_get(root, "host");

	if (hosts && hosts->kind != TOML_TABLE)
		return bad(err, hosts, "hosts are tables: [host.\"https://…\"]");
	for (const struct toml *t = hosts ? hosts->first : NULL; t; t = t->next) {
		struct endpoint *e;
		int r;

		/* A name without quotes falls apart at its dots. */
		if (t->kind != TOML_TABLE || (t->how == TOML_IMPLIED && !strpbrk(t->key, ".:")))
			return bad(err, t, "hosts are tables: [host.\"https://…\"]");
		if (l->n == ENDPOINTS_MAX - 1)
			return bad(err, t, "too many hosts");
		e = endpoint_add(l);
		if (!e)
			return no_memory(err);
		r = take_url(t, t->key, t, e, err);
		if (r == 0)
			r = take_fields(t, dir, e, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int take_server(const struct toml *root, const char *dir, struct endpoint_list *l,
		       struct err *err)
{
	const struct toml *server = toml_get(root, "server");
	struct endpoint *e = endpoint_add(l);
	int r = 0;

	if (!e)
		return no_memory(err);
	if (server && server->kind != TOML_STRING)
		return bad(err, server, "not a string");
	if (server && *server->string)
		r = take_url(server, server->string, root, e, err);
	return r < 0 ? r : take_fields(root, dir, e, err);
}

int hosts_toml_parse(const char *text, size_t len, const char *dir, struct endpoint_list *ret,
		     struct err *err)
{
	struct endpoint_list l = {0};
	struct toml *root = NULL;
	int r;

	if (len > HOSTS_TOML_MAX)
		return err_set(err, -EFBIG, "more than %u bytes", HOSTS_TOML_MAX);
	r = toml_parse(text, len, &root, err);
	if (r < 0)
		return r;
	r = take_hosts(root, dir, &l, err);
	if (r == 0)
		r = take_server(root, dir, &l, err);
	toml_free(root);
	if (r < 0) {
		endpoint_list_release(&l);
		return r;
	}
	*ret = l;
	return 0;
}
