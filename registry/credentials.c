/* SPDX-License-Identifier: Apache-2.0 */
/* What an entry of a file says. Finding the file: credentials_files.c. */
#include "registry/credentials.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "registry/json_util.h"

#define SECRET_MAX (64u << 10) /* of a token or password: bytes */

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
	c->kind = CREDENTIAL_PASSWORD;
	c->user = strdup(pair);
	c->secret = strndup(colon + 1, len - (size_t)(colon + 1 - pair));
	explicit_bzero(pair, len);
	free(pair);
	return c->user && c->secret ? 0 : -ENOMEM;
}

static const char *text_of(const json_t *entry, const char *key)
{
	const char *s = json_string_value(json_object_get(entry, key));

	return s && *s ? s : NULL;
}

static bool is_header_safe(const char *s)
{
	size_t n = 0;

	for (; s[n]; n++)
		if ((unsigned char)s[n] < 0x21 || (unsigned char)s[n] > 0x7e)
			return false;
	return n <= SECRET_MAX;
}

static int take_token(enum credential_kind kind, const char *token, struct credential *c)
{
	if (!is_header_safe(token))
		return -EINVAL;
	c->kind = kind;
	c->secret = strdup(token);
	return c->secret ? 0 : -ENOMEM;
}

/* The user's name stands beside the token, if anywhere in `auth`. */
static int take_identity(const char *token, const char *user, const char *auth,
			 struct credential *c)
{
	struct credential beside = {0};
	int r;

	if (!user && auth && take_auth(auth, &beside) == 0)
		user = beside.user;
	r = take_token(CREDENTIAL_IDENTITY, token, c);
	if (r == 0) {
		c->user = strdup(user && *user ? user : "<token>");
		r = c->user ? 0 : -ENOMEM;
	}
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

	if (bearer) {
		r = take_token(CREDENTIAL_BEARER, bearer, c);
	} else if (identity) {
		r = take_identity(identity, user, auth, c);
	} else if (auth) {
		r = take_auth(auth, c);
	} else if (user && password) {
		c->kind = CREDENTIAL_PASSWORD;
		c->user = strdup(user);
		c->secret = strdup(password);
		r = c->user && c->secret ? 0 : -ENOMEM;
	} else {
		return 0;
	}
	if (r == 0 && c->user && strchr(c->user, ':'))
		r = -EINVAL;
	if (r == 0)
		r = identify(c);
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
 * written as a URL means its host. */
static size_t match_len(const char *key, const char *host, const char *repo)
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
	if (sep || path_len == 0 ||
	    (path_len == 2 && (!strncmp(path, "v1", 2) || !strncmp(path, "v2", 2))))
		return 1;
	if (strncmp(path, repo, path_len) != 0 || (repo[path_len] != '\0' && repo[path_len] != '/'))
		return 0;
	return 1 + path_len;
}

int credentials_parse(const char *text, size_t len, const char *host, const char *repo,
		      struct credential *ret, struct err *err)
{
	AUTO_JSON json_t *root = NULL;
	struct credential c = {0};
	const char *key;
	json_t *auths, *entry, *best = NULL;
	size_t best_len = 0;
	bool best_exact = false;
	int r;

	if (json_util_parse(text, len, "the file", &root, err) < 0)
		return -EACCES;
	auths = json_object_get(root, "auths");
	json_object_foreach (auths, key, entry) {
		size_t n = match_len(key, host, repo);
		bool exact = strncasecmp(key, host, strlen(host)) == 0;

		if (n > best_len || (n == best_len && n > 0 && exact && !best_exact)) {
			best = entry;
			best_len = n;
			best_exact = exact;
		}
	}
	r = best ? take_entry(best, &c) : 0;
	if (r <= 0) {
		credential_release(&c);
		if (r == -EINVAL)
			return err_set(err, -EACCES, "its entry for %s cannot be understood", host);
		return r;
	}
	*ret = c;
	return r;
}
