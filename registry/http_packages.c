/* SPDX-License-Identifier: Apache-2.0 */
/* Where the host keeps Wasm packages, as it says itself.
 *
 * wkg takes any failure for "it says nothing", and goes on to ask the host itself. Here only
 * its own word counts as that: whoever is sent to the wrong place by a host that was out of
 * order for a moment is told that a package does not exist. */
#include <errno.h>

#include "registry/http_source.h"
#include "registry/package_metadata.h"

static int take(const struct question *q, const struct answer *a, struct package_metadata *ret,
		struct err *err)
{
	struct err why = {""};
	int r = a->status == 200 ? package_metadata_parse(a->body, a->body_len, ret, &why)
				 : client_refusal(q, a, &why);

	/* Also where it sends us: what lies behind a page of its own is its own word. */
	if (a->status == 404 || a->status == 410)
		return err_set(err, -ENOENT, "%s", why.text);

	if (r < 0 && a->status == 200)
		r = err_wrap(&why, r, "%s: GET %s", a->from->title, q->target);
	/* No other try will better it. */
	if (r == -EPROTO || r == -EFBIG || r == -EACCES)
		return err_set(err, r,
			       "%s; wkg's configuration can say in its place where the packages "
			       "are: NAMESPACE = {registry = ..., metadata = {...}}",
			       why.text);
	return r < 0 ? err_set(err, r, "%s", why.text) : 0;
}

int http_source_packages(struct source *s, struct call *call, struct package_metadata *ret,
			 struct err *err)
{
	struct http_source *h = http_source_of(s);
	struct question q = {.method = "GET",
			     .target = PACKAGE_METADATA_PATH,
			     .repo = "",
			     .accept = "application/json",
			     .body_max = PACKAGE_METADATA_MAX,
			     .anonymous = true};
	struct answer a;
	int r = endpoints_ask(h->endpoints, &q, call, &a, err);

	if (r == 0)
		r = take(&q, &a, ret, err);
	answer_release(&a);
	return r;
}
