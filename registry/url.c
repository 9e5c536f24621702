/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/url.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A blank is encoded like the rest: without CURLU_ALLOW_SPACE later libcurls refuse it. */
#define URL_FLAGS (CURLU_PATH_AS_IS | CURLU_URLENCODE | CURLU_ALLOW_SPACE)

static unsigned default_port(bool https)
{
	return https ? 443 : 80;
}

static void lower(char *s)
{
	for (; *s; s++)
		if (*s >= 'A' && *s <= 'Z')
			*s = (char)(*s - 'A' + 'a');
}

static void format_authority(bool https, const char *host, unsigned port, char out[URL_ORIGIN_MAX])
{
	bool v6 = strchr(host, ':') != NULL;
	int n = snprintf(out, URL_ORIGIN_MAX, "%s%s%s", v6 ? "[" : "", host, v6 ? "]" : "");

	if (port != default_port(https))
		snprintf(out + n, URL_ORIGIN_MAX - (size_t)n, ":%u", port);
}

int url_make(bool https, const char *host, unsigned port, const char *target, struct url *ret)
{
	struct url u = {.https = https, .port = port ? port : default_port(https)};
	char authority[URL_ORIGIN_MAX];
	int n;

	if (strlen(host) >= sizeof(u.host) || !*host || *target != '/')
		return -EINVAL;
	memcpy(u.host, host, strlen(host));
	lower(u.host);
	format_authority(https, u.host, u.port, authority);
	n = asprintf(&u.text, "%s://%s%s", https ? "https" : "http", authority, target);
	if (n < 0)
		return -ENOMEM;
	u.target = u.text + (size_t)n - strlen(target);
	*ret = u;
	return 0;
}

static int part(CURLU *u, CURLUPart which, char **ret)
{
	CURLUcode code = curl_url_get(u, which, ret, CURLU_DEFAULT_PORT);

	if (code != CURLUE_OK)
		*ret = NULL;
	return code == CURLUE_OUT_OF_MEMORY ? -ENOMEM : 0;
}

struct parts {
	char *scheme, *user, *password, *host, *zone, *port, *path, *query;
};

static void parts_release(struct parts *p)
{
	curl_free(p->scheme);
	curl_free(p->user);
	curl_free(p->password);
	curl_free(p->host);
	curl_free(p->zone);
	curl_free(p->port);
	curl_free(p->path);
	curl_free(p->query);
}

static int parts_get(CURLU *u, struct parts *p)
{
	if (part(u, CURLUPART_SCHEME, &p->scheme) < 0 || part(u, CURLUPART_USER, &p->user) < 0 ||
	    part(u, CURLUPART_PASSWORD, &p->password) < 0 ||
	    part(u, CURLUPART_HOST, &p->host) < 0 || part(u, CURLUPART_ZONEID, &p->zone) < 0 ||
	    part(u, CURLUPART_PORT, &p->port) < 0 || part(u, CURLUPART_PATH, &p->path) < 0 ||
	    part(u, CURLUPART_QUERY, &p->query) < 0)
		return -ENOMEM;
	if (!p->scheme || !p->host || !p->port || !p->path || p->user || p->password || p->zone)
		return -EINVAL;
	return 0;
}

static int from_parts(struct parts *p, struct url *ret)
{
	AUTO_FREE char *target = NULL;
	bool https = strcmp(p->scheme, "https") == 0;
	unsigned long port = strtoul(p->port, NULL, 10);
	size_t host_len = strlen(p->host);
	char *host = p->host;

	if (!https && strcmp(p->scheme, "http") != 0)
		return -EINVAL;
	if (port == 0 || port > 65535)
		return -EINVAL;
	if (host[0] == '[' && host[host_len - 1] == ']') {
		host[host_len - 1] = '\0';
		host++;
	}
	if (asprintf(&target, "%s%s%s", p->path, p->query ? "?" : "", p->query ? p->query : "") < 0)
		return -ENOMEM;
	return url_make(https, host, (unsigned)port, target, ret);
}

int url_resolve(const struct url *base, const char *reference, struct url *ret)
{
	struct parts p = {0};
	CURLU *u;
	int r;

	if (strlen(reference) > URL_MAX)
		return -EINVAL;
	u = curl_url();
	if (!u)
		return -ENOMEM;
	if ((base && curl_url_set(u, CURLUPART_URL, base->text, URL_FLAGS) != CURLUE_OK) ||
	    curl_url_set(u, CURLUPART_URL, reference, URL_FLAGS) != CURLUE_OK)
		r = -EINVAL;
	else
		r = parts_get(u, &p);
	if (r == 0)
		r = from_parts(&p, ret);
	parts_release(&p);
	curl_url_cleanup(u);
	return r;
}

int url_parse(const char *s, struct url *ret)
{
	return url_resolve(NULL, s, ret);
}

void url_release(struct url *u)
{
	free(u->text);
	*u = (struct url){0};
}

bool url_same_origin(const struct url *a, const struct url *b)
{
	return a->https == b->https && a->port == b->port && strcmp(a->host, b->host) == 0;
}

void url_origin(const struct url *u, char out[URL_ORIGIN_MAX])
{
	bool v6 = strchr(u->host, ':') != NULL;

	snprintf(out, URL_ORIGIN_MAX, "%s://%s%s%s:%u", u->https ? "https" : "http", v6 ? "[" : "",
		 u->host, v6 ? "]" : "", u->port);
}

void url_authority(const struct url *u, char out[URL_ORIGIN_MAX])
{
	format_authority(u->https, u->host, u->port, out);
}

int url_path_len(const struct url *u)
{
	return (int)strcspn(u->target, "?");
}
