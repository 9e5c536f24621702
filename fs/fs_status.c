/* SPDX-License-Identifier: Apache-2.0 */
/* What a mount says of itself. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "fs/backing.h"
#include "fs/fetch.h"
#include "fs/fs.h"
#include "fs/fs_impl.h"
#include "fs/nodes.h"
#include "fs/op.h"

/* "ghcr.io,docker.io"; "none" where nothing was given, as fstab(5) has it. Word for word: `mount
 * -a` goes by it to tell what is mounted already. */
static void make_title(struct fs *fs, char ret[FS_TITLE_MAX])
{
	struct site *site;
	size_t len = 0;
	snprintf(ret, FS_TITLE_MAX, "none");
	for (unsigned i = 0; (site = sites_at(&fs->sites, i)) && site->given; i++) {
		int n =
		    snprintf(ret + len, FS_TITLE_MAX - len, "%s%s", i ? "," : "", site->written);
		len = len + (size_t)n < FS_TITLE_MAX ? len + (size_t)n : FS_TITLE_MAX - 1;
	}
}

void fs_status(struct fs *fs, struct fs_status *ret)
{
	struct nodes_usage nodes = {0};
	struct flights_usage flights;
	struct site *site;
	memset(ret, 0, sizeof(*ret));
	make_title(fs, ret->title);
	store_usage(fs->store, &ret->cache);
	for (unsigned i = 0; (site = sites_at(&fs->sites, i)); i++) {
		flights_usage(fetcher_flights(site->fetcher), &flights);
		ret->parked += flights.parked;
		ret->fetches += flights.flights;
	}
	ret->parked_max = OP_PARKED_MAX;
	lock_take(&fs->lock);
	struct backing_table *backing = fs->backing;
	struct nodes *table = fs->nodes;
	lock_drop(&fs->lock);
	if (table)
		nodes_usage(table, &nodes);
	ret->nodes = nodes.nodes;
	ret->open_files = nodes.handles;
	ret->passthrough = backing && backing_enabled(backing);
	ret->hits = atomic_load(&fs->metrics.hits);
	ret->misses = atomic_load(&fs->metrics.misses);
	ret->offline = fs->o.offline;
	ret->all = fs->o.all;
}

/* Those that have a tree are numbered by themselves, and so are the others. */
static struct site *find_site(struct fs *fs, unsigned number, bool for_packages)
{
	struct site *site;
	for (unsigned i = 0, n = 0; (site = sites_at(&fs->sites, i)); i++) {
		if (site->for_packages == for_packages && n++ == number)
			break;
	}
	return site;
}

bool fs_site_status(struct fs *fs, unsigned number, struct fs_site_status *ret)
{
	struct err err = {""};
	struct site *site = find_site(fs, number, false);
	memset(ret, 0, sizeof(*ret));
	if (!site)
		return false;
	snprintf(ret->source, sizeof(ret->source), "%s", source_title(site->source));
	snprintf(ret->written, sizeof(ret->written), "%s", site->written);
	snprintf(ret->origin, sizeof(ret->origin), "%s", source_origin(site->source));
	ret->given = site->given;
	ret->local = source_is_local(site->source);
	ret->down_errno = -source_down(site->source, &err);
	memcpy(ret->down_text, err.text, sizeof(ret->down_text));
	source_health(site->source, &ret->health);
	ret->stale_ms = site->stale_ms;
	int64_t slow_ms = site->slow_until_ms - clock_ms();
	ret->slow_ms = slow_ms > 0 ? slow_ms : 0;
	size_t n = source_mirrors(site->source, ret->mirrors, FS_STATUS_MIRRORS_MAX);
	ret->mirror_count = n < FS_STATUS_MIRRORS_MAX ? n : FS_STATUS_MIRRORS_MAX;
	return true;
}

bool fs_site_requests(struct fs *fs, unsigned number, size_t host, struct source_requests *ret)
{
	struct site *site = find_site(fs, number, false);
	if (site)
		source_requests(site->source, host, ret);
	return site != NULL;
}

bool fs_package_requests(struct fs *fs, unsigned number, char ret_title[FS_TITLE_MAX],
			 struct source_requests *ret)
{
	struct site *site = find_site(fs, number, true);
	if (!site)
		return false;
	snprintf(ret_title, FS_TITLE_MAX, "%s", source_title(site->source));
	source_requests(site->source, 0, ret);
	return true;
}

void fs_operation(struct fs *fs, enum operation o, unsigned outcome, struct histogram_view *ret)
{
	histogram_read(&fs->metrics.operations[o][outcome], ret);
}

size_t fs_transfers(struct fs *fs, struct fs_transfer *ret, size_t max)
{
	struct flight_transfer found[FS_TRANSFERS_MAX];
	struct site *site;
	size_t n = 0;
	for (unsigned i = 0; n < max && (site = sites_at(&fs->sites, i)); i++) {
		size_t most = max - n < FS_TRANSFERS_MAX ? max - n : FS_TRANSFERS_MAX;
		size_t got = flights_transfers(fetcher_flights(site->fetcher), found, most);
		for (size_t k = 0; k < got; k++, n++) {
			snprintf(ret[n].source, sizeof(ret[n].source), "%s",
				 source_title(site->source));
			ret[n].flight = found[k];
		}
	}
	return n;
}
