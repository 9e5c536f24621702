/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/site.h"

#include <stdio.h>
#include <string.h>

#include "fs/catalog.h"
#include "fs/fetch.h"
#include "fs/layers.h"

/* "namespace/", from how the source names a path of two components (which no
 * registry's own rules for short names touch). */
static void set_prefix(struct site *site)
{
	static const char probe[] = "a/b";
	char name[REPOSITORY_MAX];
	if (source_repository(site->source, probe, name))
		return;
	size_t len = strlen(name);
	if (len > strlen(probe))
		snprintf(site->prefix, sizeof(site->prefix), "%.*s", (int)(len - strlen(probe)),
			 name);
}

/* What it says of its packages is kept apart from what it says of itself: nobody has entered
 * that registry. */
static void set_origin(struct site *site)
{
	snprintf(site->origin, sizeof(site->origin), "%s%s", site->for_packages ? "packages:" : "",
		 source_origin(site->source));
}

int site_open(struct site *site, const struct source_options *o, struct err *err)
{
	int r = reference_parse_source(o->spec, &site->spec, err);
	if (r == 0)
		r = source_open(o, &site->source, err);
	if (r)
		return r;
	host_name_settle(&site->spec, NULL);
	set_prefix(site);
	set_origin(site);
	return 0;
}

int site_equip(struct site *site, const struct fs_options *o, struct store *store,
	       struct refs *refs, struct streams *streams, struct err *err)
{
	struct catalog_options catalog = {.refs = refs,
					  .origin = site->origin,
					  .tag_ttl_ms = o->tag_ttl_ms,
					  .list_ttl_ms = o->list_ttl_ms};
	int r = catalog_new(&catalog, &site->catalog);
	if (r == 0)
		r = layers_new(&site->layers);
	struct fetcher_options fetcher = {.source = site->source,
					  .store = store,
					  .catalog = site->catalog,
					  .layers = site->layers,
					  .streams = streams,
					  .timeout_ms = o->timeout_ms,
					  .offline = o->offline};
	if (r == 0)
		r = fetcher_new(&fetcher, &site->fetcher);
	return r ? err_set(err, r, "no memory for a mount's tables") : 0;
}

int site_start(struct site *site, struct err *err)
{
	int r = fetcher_start(site->fetcher);
	return r ? err_errno(err, r, "cannot start a thread") : 0;
}

void site_stop(struct site *site)
{
	fetcher_stop(site->fetcher);
}

void site_close(struct site *site)
{
	fetcher_free(site->fetcher);
	layers_free(site->layers);
	catalog_free(site->catalog);
	source_free(site->source);
	memset(site, 0, sizeof(*site));
}
