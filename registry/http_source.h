/* SPDX-License-Identifier: Apache-2.0 */
/* http_source — the source that is a registry. Layer: registry/, internal:
 * shared by http_source.c (what it is), http_manifest.c, http_blob.c,
 * http_list.c, http_referrers.c and http_packages.c (what it answers). The operations are those of
 * registry/source.h.
 *
 * Locks: http_source.lock guards what is remembered of the catalog only.
 */
#pragma once

#include "registry/absences.h"
#include "registry/endpoints.h"
#include "registry/source_impl.h"

struct http_source {
	struct source source; /* first */
	struct endpoints *endpoints;
	char namespace[REPOSITORY_MAX]; /* "" or one that ends in no '/' */
	bool hub, public_only;
	int64_t timeout_ms;
	char *auth_file, *ca_file, *hosts_dir;
	struct proxy *proxy;

	struct absences no_referrers; /* repositories without that API */

	struct lock lock;
	/* guarded by lock */
	int catalog_code;            /* 0, or what the registry refused to list with */
	struct digest catalog_login; /* that was there then; unset: none */
	int64_t catalog_until_ms;
	char catalog_text[ERR_TEXT_MAX];
};

#define HTTP_TARGET_MAX (REPOSITORY_MAX + 256)

/* http_source_open with a tuning, for tests; NULL: the defaults. */
NODISCARD int http_source_open_tuned(const struct source_options *o, const struct source_spec *spec,
				     const struct client_tuning *tuning, struct source **ret,
				     struct err *err);

int http_source_resolve(struct source *s, const char *repo, const char *tag,
			const struct descriptor *known, struct call *call, struct descriptor *ret,
			struct err *err);
int http_source_document(struct source *s, const char *repo, const char *reference,
			 struct call *call, struct document *ret, struct err *err);
int http_source_stat(struct source *s, const char *repo, const struct digest *d, bool doubted,
		     struct call *call, struct descriptor *ret, bool *ret_is_manifest,
		     struct err *err);
int http_source_blob(struct source *s, const char *repo, const struct digest *d, uint64_t size,
		     uint64_t offset, const struct sink *sink, struct call *call,
		     _Atomic uint64_t *progress, struct err *err);
int http_source_part(struct source *s, const struct source_part *part, const struct sink *sink,
		     struct call *call, struct source_etag *etag, struct err *err);
int http_source_tags(struct source *s, const char *repo, bool first_page, struct call *call,
		     struct names *ret, bool *ret_whole, struct err *err);
int http_source_referrers(struct source *s, const char *repo, const struct digest *d,
			  struct call *call, struct referrers *ret, struct err *err);
int http_source_catalog(struct source *s, struct call *call, struct names *ret, bool *ret_whole,
			struct err *err);
int http_source_packages(struct source *s, struct call *call, struct package_metadata *ret,
			 struct err *err);

static inline struct http_source *http_source_of(struct source *s)
{
	return (struct http_source *)s;
}
