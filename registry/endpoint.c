/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct endpoint *endpoint_add(struct endpoint_list *l)
{
	struct endpoint *more;

	if (l->n == ENDPOINTS_MAX)
		return NULL;
	more = realloc(l->v, (l->n + 1) * sizeof(*more));
	if (!more)
		return NULL;
	l->v = more;
	more += l->n++;
	*more = (struct endpoint){.capabilities = ENDPOINT_PULL | ENDPOINT_RESOLVE};
	return more;
}

static void release(struct endpoint *e)
{
	url_release(&e->url);
	free(e->api);
	free(e->repo_prefix);
	free(e->repo_base);
	names_release(&e->ca);
	/* Some hold a password. */
	for (size_t i = 0; i < e->headers.n; i++)
		explicit_bzero(e->headers.v[i], strlen(e->headers.v[i]));
	names_release(&e->headers);
	for (size_t i = 0; i < e->pair_count; i++) {
		free(e->pairs[i].cert);
		free(e->pairs[i].key);
	}
	free(e->pairs);
}

void endpoint_list_release(struct endpoint_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		release(&l->v[i]);
	free(l->v);
	*l = (struct endpoint_list){0};
}

struct endpoint_group *endpoint_group_add(struct endpoint_groups *groups)
{
	struct endpoint_group *more = realloc(groups->v, (groups->n + 1) * sizeof(*more));

	if (!more)
		return NULL;
	groups->v = more;
	more += groups->n++;
	*more = (struct endpoint_group){0};
	return more;
}

void endpoint_group_release(struct endpoint_group *g)
{
	free(g->path);
	free(g->prefix);
	free(g->blocked);
	endpoint_list_release(&g->list);
	*g = (struct endpoint_group){0};
}

void endpoint_groups_release(struct endpoint_groups *groups)
{
	for (size_t i = 0; i < groups->n; i++)
		endpoint_group_release(&groups->v[i]);
	free(groups->v);
	names_release(&groups->helpers);
	*groups = (struct endpoint_groups){0};
}

/* Without '/' at its end, and with one where there are several. */
static size_t clean_path(char *path, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		if (path[i] != '/' || n == 0 || path[n - 1] != '/')
			path[n++] = path[i];
	while (n > 0 && path[n - 1] == '/')
		n--;
	path[n] = '\0';
	return n;
}

int endpoint_set_url(struct endpoint *e, const char *s, bool override)
{
	AUTO_FREE char *text = NULL, *path = NULL;
	struct url url = {0};
	const char *add;
	size_t len;
	int r;

	if (asprintf(&text, "%s%s", strstr(s, "://") ? "" : "https://", s) < 0) {
		text = NULL;
		return -ENOMEM;
	}
	r = url_parse(text, &url);
	if (r < 0)
		return r;
	len = (size_t)url_path_len(&url);
	path = strndup(url.target, len);
	r = !path ? -ENOMEM : url.target[len] ? -EINVAL : 0;
	if (r == 0) {
		len = clean_path(path, len);
		add = override || (len >= 3 && strcmp(path + len - 3, "/v2") == 0) ? "" : "/v2";
		if (asprintf(&e->api, "%s%s", path, add) < 0) {
			e->api = NULL;
			r = -ENOMEM;
		}
	}
	if (r < 0)
		url_release(&url);
	else
		e->url = url;
	return r;
}

int endpoint_add_pair(struct endpoint *e, char *cert, char *key)
{
	struct endpoint_pair *more = NULL;

	if (e->pair_count < ENDPOINT_FILES_MAX)
		more = realloc(e->pairs, (e->pair_count + 1) * sizeof(*more));
	if (!more) {
		free(cert);
		free(key);
		return e->pair_count < ENDPOINT_FILES_MAX ? -ENOMEM : -EFBIG;
	}
	e->pairs = more;
	more[e->pair_count++] = (struct endpoint_pair){.cert = cert, .key = key};
	return 0;
}
