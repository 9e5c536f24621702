/* SPDX-License-Identifier: Apache-2.0 */
/* source_impl — what an implementation of registry/source.h provides.
 * Layer: registry/, internal: included only by source.c and by the files that
 * implement a source.
 *
 * An implementation embeds struct source as its first member, fills in ops,
 * and offers one opener. Every operation has the contract of the function of
 * the same name in registry/source.h; source.c only forwards.
 */
#pragma once

#include "registry/reference.h"
#include "registry/source.h"

struct source_ops {
	void (*free)(struct source *s);
	const char *(*origin)(const struct source *s);
	const char *(*title)(const struct source *s);
	bool (*is_local)(const struct source *s);
	int (*repository)(const struct source *s, const char *path, char ret[REPOSITORY_MAX]);
	int (*down)(struct source *s, struct err *err);
	void (*health)(struct source *s, struct source_health *ret);
	size_t (*mirrors)(struct source *s, struct source_mirror *ret, size_t max);   /* or NULL */
	void (*requests)(struct source *s, size_t host, struct source_requests *ret); /* or NULL */
	bool (*warning)(struct source *s, char ret[SOURCE_WARNING_MAX]);              /* or NULL */
	int (*resolve)(struct source *s, const char *repo, const char *tag,
		       const struct descriptor *known, struct call *call, struct descriptor *ret,
		       struct err *err);
	int (*document)(struct source *s, const char *repo, const char *reference,
			struct call *call, struct document *ret, struct err *err);
	int (*stat)(struct source *s, const char *repo, const struct digest *d, bool doubted,
		    struct call *call, struct descriptor *ret, bool *ret_is_manifest,
		    struct err *err);
	int (*blob)(struct source *s, const char *repo, const struct digest *d, uint64_t size,
		    uint64_t offset, const struct sink *sink, struct call *call,
		    _Atomic uint64_t *progress, struct err *err);
	int (*part)(struct source *s, const struct source_part *part, const struct sink *sink,
		    struct call *call, struct source_etag *etag, struct err *err); /* or NULL */
	bool (*in_parts)(const struct source *s, const char *repo);                /* or NULL */
	int (*tags)(struct source *s, const char *repo, bool first_page, struct call *call,
		    struct names *ret, bool *ret_whole, struct err *err);
	int (*untagged)(struct source *s, const char *repo, struct call *call,
			struct descriptor **ret, size_t *ret_n, struct err *err); /* or NULL */
	int (*referrers)(struct source *s, const char *repo, const struct digest *d,
			 struct call *call, struct referrers *ret, struct err *err);
	int (*catalog)(struct source *s, struct call *call, struct names *ret, bool *ret_whole,
		       struct err *err);
	int (*packages)(struct source *s, struct call *call, struct package_metadata *ret,
			struct err *err); /* or NULL */
};

struct source {
	const struct source_ops *ops;
};

/* Both: errnos of source_open. `spec` is copied as far as it is needed. */
NODISCARD int http_source_open(const struct source_options *o, const struct source_spec *spec,
			       struct source **ret, struct err *err);
NODISCARD int layout_source_open(const struct source_options *o, const struct source_spec *spec,
				 struct source **ret, struct err *err);
