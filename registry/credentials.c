/* SPDX-License-Identifier: Apache-2.0 */
/* What an entry of a file says. Finding the file: credentials_files.c. */
#include "registry/credentials.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "registry/credential_helper.h"
#include "registry/header_field.h"
#include "registry/json_util.h"

#define SECRET_MAX (64u << 10) /* of a token or password: bytes */
#define HUB_KEY    "https://index.docker.io/v1/"

static void wipe_free(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

void credential_release(struct credential *c)
{
	wipe_free(c->user);
	wipe_free(c->secret);
	*c = (struct credential){0};
}

static int identify(struct credential *c)
{
	AUTO_FREE char *all = NULL;
	int n = asprintf(&all, "%d\n%s\n%s", (int)c->kind, c->user ? c->user : "", c->secret);
	int r;

	if (n < 0)
		return -ENOMEM;
	r = digest_of(DIGEST_SHA256, all, (size_t)n, &c->id);
	explicit_bzero(all, (size_t)n);
	return r;
}

static bool is_header_safe(const char *s)
{
	size_t n = 0;

	for (; s[n]; n++)
		if ((unsigned char)s[n] < 0x21 || (unsigned char)s[n] > 0x7e)
			return false;
	return n > 0;
}

int credential_make(enum credential_kind kind, const char *user, const char *secret,
		    struct credential *ret)
{
	struct credential c = {.kind = kind};
	int r;

	if (strlen(secret) > SECRET_MAX || (kind != CREDENTIAL_PASSWORD && !is_header_safe(secret)))
		return -EINVAL;
	if (user && strchr(user, ':'))
		return -EINVAL;
	c.user = user ? strdup(user) : NULL;
	c.secret = strdup(secret);
	r = c.secret && (c.user || !user) ? identify(&c) : -ENOMEM;
	if (r < 0)
		credential_release(&c);
	else
		*ret = c;
	return r;
}

int credential_copy(const struct credential *c, struct credential *ret)
{
	if (c->kind != CREDENTIAL_NONE)
		return credential_make(c->kind, c->user, c->secret, ret);
	*ret = (struct credential){0};
	return 0;
}

int credential_basic(const struct credential *c, char **ret)
{
	AUTO_FREE char *pair = NULL;
	int n = asprintf(&pair, "%s:%s", c->user, c->secret);
	char *line;

	if (n < 0)
		return -ENOMEM;
	line = malloc(sizeof("Basic ") + (size_t)n * 4 / 3 + 8);
	if (line) {
		memcpy(line, "Basic ", 6);
		EVP_EncodeBlock((unsigned char *)line + 6, (const unsigned char *)pair, n);
	}
	explicit_bzero(pair, (size_t)n);
	*ret = line;
	return line ? 0 : -ENOMEM;
}

/* base64, padded or not. New, NUL-terminated. -EINVAL, -ENOMEM. */
static int decode(const char *s, char **ret, size_t *ret_len)
{
	size_t len = strlen(s);
	AUTO_FREE char *padded = NULL;
	char *out;
	size_t full;
	int n;

	while (len > 0 && strchr("=\r\n ", s[len - 1]))
		len--;
	if (len > SECRET_MAX || len % 4 == 1)
		return -EINVAL;
	full = (len + 3) / 4 * 4;
	padded = malloc(full + 1);
	out = malloc(full + 1);
	if (!padded || !out) {
		free(out);
		return -ENOMEM;
	}
	memcpy(padded, s, len);
	memset(padded + len, '=', full - len);
	n = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)padded, (int)full);
	explicit_bzero(padded, full);
	if (n < (int)(full - len)) {
		free(out);
		return -EINVAL;
	}
	*ret_len = (size_t)n - (full - len);
	out[*ret_len] = '\0';
	*ret = out;
	return 0;
}

/* base64 of user:password; some encoders pad the password with NULs. */
static int take_auth(const char *auth, struct credential *c)
{
	char *pair, *colon;
	size_t len;
	int r = decode(auth, &pair, &len);

	if (r < 0)
		return r;
	while (len > 0 && pair[len - 1] == '\0')
		len--;
	colon = memchr(pair, ':', len);
	if (!colon || memchr(pair, '\0', len)) {
		explicit_bzero(pair, len);
		free(pair);
		return -EINVAL;
	}
	*colon = '\0';
	pair[len] = '\0';
	r = credential_make(CREDENTIAL_PASSWORD, pair, colon + 1, c);
	explicit_bzero(pair, len);
	free(pair);
	return r;
}

static const char *text_of(const json_t *entry, const char *key)
{
	const char *s = json_string_value(json_object_get(entry, key));

	return s && *s ? s : NULL;
}

/* The user's name stands beside the token, if anywhere in `auth`. */
static int take_identity(const char *token, const char *user, const char *auth,
			 struct credential *c)
{
	struct credential beside = {0};
	int r;

	if (!user && auth && take_auth(auth, &beside) == 0)
		user = beside.user;
	r = credential_make(CREDENTIAL_IDENTITY, user && *user ? user : "<token>", token, c);
	credential_release(&beside);
	return r;
}

/* 1, 0 for an entry that says nothing (the secret is in a helper), -errno. */
static int take_entry(const json_t *entry, struct credential *c)
{
	const char *bearer = text_of(entry, "registrytoken");
	const char *identity = text_of(entry, "identitytoken");
	const char *auth = text_of(entry, "auth");
	const char *user = text_of(entry, "username");
	const char *password = text_of(entry, "password");
	int r;

	if (bearer)
		r = credential_make(CREDENTIAL_BEARER, NULL, bearer, c);
	else if (identity)
		r = take_identity(identity, user, auth, c);
	else if (auth)
		r = take_auth(auth, c);
	else if (user && password)
		r = credential_make(CREDENTIAL_PASSWORD, user, password, c);
	else
		return 0;
	return r < 0 ? r : 1;
}

static bool is_hub(const char *s, size_t len)
{
	static const char *const names[] = {"docker.io", "index.docker.io", "registry-1.docker.io",
					    "registry.hub.docker.com"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (len == strlen(names[i]) && strncasecmp(s, names[i], len) == 0)
			return true;
	return false;
}

/* How much of host/repo a key names, in bytes; 0: something else. What was
 * written as a URL means its host, and so does all of a legacy file: as docker
 * (ConvertToHostname) and containers (normalizeAuthFileKey) read it. */
static size_t match_len(const char *key, const char *host, const char *repo, bool legacy)
{
	const char *sep = strstr(key, "://");
	const char *path;
	size_t host_len, path_len;

	if (sep)
		key = sep + 3;
	host_len = strcspn(key, "/");
	path = key + host_len;
	path += *path == '/';
	path_len = strlen(path);
	while (path_len > 0 && path[path_len - 1] == '/')
		path_len--;
	if (!(host_len == strlen(host) && strncasecmp(key, host, host_len) == 0) &&
	    !(is_hub(key, host_len) && is_hub(host, strlen(host))))
		return 0;
	if (sep || legacy || path_len == 0 ||
	    (path_len == 2 && (!strncmp(path, "v1", 2) || !strncmp(path, "v2", 2))))
		return 1;
	if (strncmp(path, repo, path_len) != 0 || (repo[path_len] != '\0' && repo[path_len] != '/'))
		return 0;
	return 1 + path_len;
}

void credentials_server_key(const char *host, char ret[CREDENTIALS_KEY_MAX])
{
	snprintf(ret, CREDENTIALS_KEY_MAX, "%s", is_hub(host, strlen(host)) ? HUB_KEY : host);
}

/* The value of the key that names most of host/repo; of two that name the same, the
 * one that is written as the host is. NULL: none does. */
static json_t *best_entry(json_t *object, const char *host, const char *repo, bool legacy)
{
	json_t *entry, *best = NULL;
	const char *key;
	size_t best_len = 0;
	bool best_exact = false;

	json_object_foreach (object, key, entry) {
		size_t n = match_len(key, host, repo, legacy);
		bool exact = strncasecmp(key, host, strlen(host)) == 0;

		if (n > best_len || (n == best_len && n > 0 && exact && !best_exact)) {
			best = entry;
			best_len = n;
			best_exact = exact;
		}
	}
	return best;
}

/* 1: ret names it. 0: none is set; a host whose helper is "" has its login in the
 * file. -EINVAL. */
static int find_helper(const json_t *root, enum credentials_form form, const char *host,
		       char ret[HELPER_NAME_MAX])
{
	const json_t *v = NULL;
	const char *name;

	if (form == CREDENTIALS_DOCKER || form == CREDENTIALS_CONTAINERS)
		v = best_entry(json_object_get(root, "credHelpers"), host, "", false);
	if (!v && form == CREDENTIALS_DOCKER)
		v = json_object_get(root, "credsStore");
	if (!v || json_is_null(v))
		return 0;
	name = json_string_value(v);
	if (!name)
		return -EINVAL;
	if (!*name)
		return 0;
	if (json_string_length(v) != strlen(name) || !helper_name_is_good(name))
		return -EINVAL;
	snprintf(ret, HELPER_NAME_MAX, "%s", name);
	return 1;
}

int credentials_parse(const char *text, size_t len, enum credentials_form form, const char *host,
		      const char *repo, struct credential *ret, char ret_helper[HELPER_NAME_MAX],
		      struct err *err)
{
	AUTO_JSON json_t *root = NULL;
	const json_t *best;
	bool legacy = form == CREDENTIALS_LEGACY;
	int r;

	ret_helper[0] = '\0';
	/* Not in jansson's words: they quote what they do not like. */
	r = json_util_parse(text, len, "", &root, NULL);
	if (r < 0)
		return err_set(err, r == -ENOMEM ? r : -EACCES, "it is not a JSON object");
	r = find_helper(root, form, host, ret_helper);
	if (r < 0)
		return err_set(err, -EACCES, "the credential helper it names for %s is no name",
			       host);
	if (r > 0)
		return r;
	best = best_entry(legacy ? root : json_object_get(root, "auths"), host, repo, legacy);
	r = best ? take_entry(best, ret) : 0;
	if (r == -EINVAL)
		return err_set(err, -EACCES, "its entry for %s cannot be understood", host);
	return r < 0 ? err_set(err, r, "out of memory") : r;
}

/* They are for us to say, whatever a file has. */
static bool is_reserved(const char *name)
{
	static const char *const reserved[] = {"authorization", "accept", "user-agent",
					       "if-none-match"};

	for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
		if (strcasecmp(name, reserved[i]) == 0)
			return true;
	return false;
}

int credentials_parse_headers(const char *text, size_t len, struct names *ret)
{
	AUTO_JSON json_t *root = NULL;
	const char *name;
	json_t *v;
	int r = json_util_parse(text, len, "", &root, NULL);

	if (r < 0)
		return r == -ENOMEM ? r : 0;
	json_object_foreach (json_object_get(root, "HttpHeaders"), name, v) {
		const char *value = json_string_value(v);

		if (!value || strlen(value) != json_string_length(v) || is_reserved(name) ||
		    !header_field_may_set(name) || !header_field_is_value(value))
			continue;
		r = header_field_add(ret, name, value);
		if (r == -ENOMEM)
			return r;
	}
	return 0;
}

static bool has_host(json_t *object, const char *host)
{
	const char *key;
	json_t *entry;

	json_object_foreach (object, key, entry) {
		const char *sep = strstr(key, "://");
		const char *at = sep ? sep + 3 : key;
		size_t len = strcspn(at, "/");

		if (len == strlen(host) && strncasecmp(at, host, len) == 0)
			return true;
	}
	return false;
}

bool credentials_parse_mention(const char *text, size_t len, enum credentials_form form,
			       const char *host)
{
	AUTO_JSON json_t *root = NULL;

	if (json_util_parse(text, len, "", &root, NULL) < 0)
		return false;
	if (form == CREDENTIALS_LEGACY)
		return has_host(root, host);
	return has_host(json_object_get(root, "auths"), host) ||
	       (form != CREDENTIALS_AUTHS && has_host(json_object_get(root, "credHelpers"), host));
}
