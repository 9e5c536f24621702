/* SPDX-License-Identifier: Apache-2.0 */
/* source — chooses the implementation by the form of the spec, and forwards. */
#include "registry/source.h"

#include <errno.h>
#include <stdlib.h>

#include "registry/source_impl.h"

int source_open(const struct source_options *o, struct source **ret, struct err *err)
{
	struct source_spec spec = {0};
	int r = reference_parse_source(o->spec, &spec, err);

	if (r < 0)
		return r;
	switch (spec.kind) {
	case SOURCE_REGISTRY:
		return http_source_open(o, &spec, ret, err);
	case SOURCE_LAYOUT:
		return layout_source_open(o, &spec, ret, err);
	}
	return err_set(err, -EINVAL, "%s: not a source", o->spec);
}

void source_free(struct source *s)
{
	if (s)
		s->ops->free(s);
}

void document_release(struct document *d)
{
	free(d->bytes);
	d->bytes = NULL;
}

const char *source_origin(const struct source *s)
{
	return s->ops->origin(s);
}

const char *source_title(const struct source *s)
{
	return s->ops->title(s);
}

bool source_is_local(const struct source *s)
{
	return s->ops->is_local(s);
}

int source_repository(const struct source *s, const char *path, char ret[REPOSITORY_MAX])
{
	return s->ops->repository(s, path, ret);
}

int source_down(struct source *s, struct err *err)
{
	return s->ops->down(s, err);
}

void source_health(struct source *s, struct source_health *ret)
{
	s->ops->health(s, ret);
}

size_t source_mirrors(struct source *s, struct source_mirror *ret, size_t max)
{
	return s->ops->mirrors ? s->ops->mirrors(s, ret, max) : 0;
}

const char *source_outcome_name(enum source_outcome o)
{
	static const char *const names[SOURCE_OUTCOMES] = {
	    [SOURCE_OUTCOME_2XX] = "2xx",
	    [SOURCE_OUTCOME_3XX] = "3xx",
	    [SOURCE_OUTCOME_4XX] = "4xx",
	    [SOURCE_OUTCOME_5XX] = "5xx",
	    [SOURCE_OUTCOME_OTHER] = "other",
	    [SOURCE_OUTCOME_RESOLVE] = "resolve",
	    [SOURCE_OUTCOME_CONNECT] = "connect",
	    [SOURCE_OUTCOME_TLS] = "tls",
	    [SOURCE_OUTCOME_CERTIFICATE] = "certificate",
	    [SOURCE_OUTCOME_ADDRESS] = "address",
	    [SOURCE_OUTCOME_PROXY] = "proxy",
	    [SOURCE_OUTCOME_TIMEOUT] = "timeout",
	    [SOURCE_OUTCOME_SLOW] = "slow",
	    [SOURCE_OUTCOME_CUT] = "cut",
	    [SOURCE_OUTCOME_PROTOCOL] = "protocol",
	    [SOURCE_OUTCOME_LOCAL] = "local",
	    [SOURCE_OUTCOME_GIVEN_UP] = "given_up",
	};
	return names[o];
}

void source_requests(struct source *s, size_t host, struct source_requests *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (s->ops->requests)
		s->ops->requests(s, host, ret);
}

bool source_warning(struct source *s, char ret[SOURCE_WARNING_MAX])
{
	return s->ops->warning && s->ops->warning(s, ret);
}

int source_resolve(struct source *s, const char *repo, const char *tag,
		   const struct descriptor *known, struct call *call, struct descriptor *ret,
		   struct err *err)
{
	return s->ops->resolve(s, repo, tag, known, call, ret, err);
}

int source_document(struct source *s, const char *repo, const char *reference, struct call *call,
		    struct document *ret, struct err *err)
{
	return s->ops->document(s, repo, reference, call, ret, err);
}

int source_stat(struct source *s, const char *repo, const struct digest *d, bool doubted,
		struct call *call, struct descriptor *ret, bool *ret_is_manifest, struct err *err)
{
	return s->ops->stat(s, repo, d, doubted, call, ret, ret_is_manifest, err);
}

int source_blob(struct source *s, const char *repo, const struct digest *d, uint64_t size,
		uint64_t offset, const struct sink *sink, struct call *call,
		_Atomic uint64_t *progress, struct err *err)
{
	return s->ops->blob(s, repo, d, size, offset, sink, call, progress, err);
}

bool source_in_parts(const struct source *s, const char *repo)
{
	return s->ops->part && s->ops->in_parts && s->ops->in_parts(s, repo);
}

int source_part(struct source *s, const struct source_part *part, const struct sink *sink,
		struct call *call, struct source_etag *etag, struct err *err)
{
	return s->ops->part(s, part, sink, call, etag, err);
}

int source_tags(struct source *s, const char *repo, bool first_page, struct call *call,
		struct names *ret, bool *ret_whole, struct err *err)
{
	bool whole = false;
	int r = s->ops->tags(s, repo, first_page, call, ret, &whole, err);

	if (r == 0 && ret_whole)
		*ret_whole = whole;
	return r;
}

int source_untagged(struct source *s, const char *repo, struct call *call, struct descriptor **ret,
		    size_t *ret_n, struct err *err)
{
	*ret = NULL;
	*ret_n = 0;
	return s->ops->untagged ? s->ops->untagged(s, repo, call, ret, ret_n, err) : 0;
}

int source_referrers(struct source *s, const char *repo, const struct digest *d, struct call *call,
		     struct referrers *ret, struct err *err)
{
	return s->ops->referrers(s, repo, d, call, ret, err);
}

int source_catalog(struct source *s, struct call *call, struct names *ret, bool *ret_whole,
		   struct err *err)
{
	bool whole = false;
	int r = s->ops->catalog(s, call, ret, &whole, err);

	if (r == 0 && ret_whole)
		*ret_whole = whole;
	return r;
}

int source_packages(struct source *s, struct call *call, struct package_metadata *ret,
		    struct err *err)
{
	if (!s->ops->packages)
		return err_set(err, -ENOENT, "%s: no packages there", source_title(s));
	return s->ops->packages(s, call, ret, err);
}
