/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/image_reference.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define FORMS "write HOST[:PORT]/NAME:TAG or HOST[:PORT]/NAME@sha256:HEX"

static int refuse(struct err *err, const char *s, const char *why)
{
	/* A password that was written into a URL must not be said again. */
	const char *at = strchr(s, '@');
	const char *slash = strstr(s, "://");
	slash = strchr(slash != NULL ? slash + 3 : s, '/');
	if (at != NULL && (slash == NULL || at < slash))
		return err_set(err, -EINVAL, "the reference: %s; " FORMS, why);
	return err_set(err, -EINVAL, "'%s': %s; " FORMS, s, why);
}

static size_t scheme_len(const char *s)
{
	static const char *const schemes[] = {"https://", "http://"};
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		if (strncasecmp(s, schemes[i], strlen(schemes[i])) == 0)
			return strlen(schemes[i]);
	}
	return 0;
}

/* The registry: everything before `slash`. */
static int parse_registry(const char *s, const char *slash, struct image_reference *r,
			  struct err *err)
{
	char text[IMAGE_SOURCE_SIZE], host[HOST_NAME_SIZE];
	size_t skip = scheme_len(s), len = (size_t)(slash - s);
	struct err why;
	if (len >= sizeof(text))
		return refuse(err, s, "the host is too long");
	memcpy(text, s, len);
	text[len] = '\0';
	if (reference_parse_source(text, &r->spec, &why) < 0 || r->spec.kind != SOURCE_REGISTRY)
		return refuse(err, s, "what stands before the first '/' is no HOST[:PORT]");
	if (skip == 0 && !host_name_is_qualified(&r->spec) &&
	    strcmp(r->spec.host, "localhost") != 0)
		return refuse(err, s,
			      "which registry? there is no HOST with a dot or a port before the "
			      "first '/' (Docker Hub is docker.io)");
	host_name_settle(&r->spec, host);
	snprintf(r->source, sizeof(r->source), "%.*s%s", (int)skip, s, host);
	return 0;
}

/* The repository and what follows it. */
static int parse_name(const char *s, const char *name, struct image_reference *r, struct err *err)
{
	const char *last = strrchr(name, '@');
	size_t end = last != NULL ? (size_t)(last - name) : strlen(name);
	const char *colon = memrchr(name, ':', end);
	const char *slash = memrchr(name, '/', end);
	if (colon != NULL && slash != NULL && colon < slash)
		colon = NULL;
	size_t len = colon != NULL ? (size_t)(colon - name) : end;
	if (!reference_is_repository(name, len))
		return refuse(err, s,
			      len == 0 ? "no repository is named"
				       : "the repository is not one: lower-case letters, digits, "
					 "'.', '_', '-' and '/'");
	memcpy(r->path, name, len);
	if (colon != NULL) {
		size_t tag_len = end - len - 1;
		if (!reference_is_tag(colon + 1, tag_len))
			return refuse(err, s, "the tag is not one: letters, digits, '.', '_', '-'");
		memcpy(r->tag, colon + 1, tag_len);
	}
	if (last == NULL) {
		if (colon == NULL)
			memcpy(r->tag, "latest", sizeof("latest"));
		return 0;
	}
	int rc = digest_parse(last + 1, strlen(last + 1), &r->digest);
	r->tag[0] = '\0';
	if (rc == -EOPNOTSUPP)
		return err_set(err, rc, "'%s': only sha256 and sha512 can be verified", s);
	return rc < 0 ? refuse(err, s, "the digest is not one") : 0;
}

int image_reference_parse(const char *s, struct image_reference *ret, struct err *err)
{
	struct image_reference r = {0};
	size_t skip = scheme_len(s);
	if (strlen(s) > IMAGE_REFERENCE_MAX)
		return err_set(err, -EINVAL, "a reference is too long; " FORMS);
	const char *slash = strchr(s + skip, '/');
	if (slash == NULL)
		return refuse(err, s,
			      s[0] == '\0' ? "a reference is empty" : "no registry is named");
	int rc = parse_registry(s, slash, &r, err);
	if (rc == 0)
		rc = parse_name(s, slash + 1, &r, err);
	if (rc == 0)
		*ret = r;
	return rc;
}
