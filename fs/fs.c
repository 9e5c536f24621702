/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/fs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/refs.h"
#include "fs/backing.h"
#include "fs/fetch.h"
#include "fs/fs_impl.h"
#include "fs/log.h"
#include "fs/nodes.h"
#include "fs/ops.h"
#include "fs/session.h"

static int open_parts(struct fs *fs, struct err *err)
{
	int r = sites_open(&fs->sites, &fs->o, err);
	if (r == 0)
		r = store_open(&fs->o.store, &fs->store, err);
	if (r == 0)
		r = refs_open(fs->store, &fs->refs, err);
	if (r == 0)
		r = nodes_new(&fs->nodes, err);
	return r ? r : sites_equip(&fs->sites, fs->store, fs->refs, err);
}

static int64_t or_default(int64_t value, int64_t otherwise)
{
	return value > 0 ? value : otherwise;
}

int fs_new(const struct fs_options *o, struct fs **ret, struct err *err)
{
	struct fs *fs = calloc(1, sizeof(*fs));
	if (!fs)
		return err_set(err, -ENOMEM, "no memory for a mount");
	fs->o = *o;
	lock_init(&fs->lock);
	lock_init(&fs->sites.lock);
	open_dirs_init(&fs->open_dirs);
	made_files_init(&fs->made_files);
	fs->o.tag_ttl_ms = or_default(o->tag_ttl_ms, FS_TAG_TTL_MS);
	fs->o.list_ttl_ms = or_default(o->list_ttl_ms, FS_LIST_TTL_MS);
	fs->o.timeout_ms = or_default(o->timeout_ms, FS_TIMEOUT_MS);
	fs->o.source.timeout_ms = fs->o.timeout_ms;
	fs->uid = geteuid();
	fs->gid = getegid();
	int r = open_parts(fs, err);
	if (r) {
		fs_free(fs);
		return r;
	}
	*ret = fs;
	return 0;
}

/* INIT has been answered: what passes through is known now. */
static void on_ready(void *userdata)
{
	struct fs *fs = userdata;
	if (fs->ready)
		fs->ready(fs->ready_ctx);
}

int fs_serve(struct fs *fs, int fuse_fd, void (*ready)(void *ctx), void *ctx, struct err *err)
{
	fs->ready = ready;
	fs->ready_ctx = ctx;
	struct backing_table *backing = NULL;
	int r = backing_new(fuse_fd, !fs->o.no_passthrough, fs->nodes, &backing);
	if (r) {
		close(fuse_fd);
		return err_set(err, r, "no memory for a mount's tables");
	}
	lock_take(&fs->lock);
	fs->backing = backing;
	lock_drop(&fs->lock);
	struct session_options session = {.fd = fuse_fd,
					  .ops = &fs_ops,
					  .userdata = fs,
					  .ready = on_ready,
					  .no_passthrough = fs->o.no_passthrough};
	struct session *s = NULL;
	r = session_new(&session, &s, err);
	if (r)
		return r;
	lock_take(&fs->lock);
	fs->session = s;
	bool stopping = fs->stopping;
	lock_drop(&fs->lock);
	r = store_start(fs->store, err);
	if (r)
		return r;
	r = sites_start(&fs->sites, err);
	if (r == 0)
		r = stopping ? 0 : session_run(s, err);
	sites_stop(&fs->sites);
	return r;
}

void fs_stop(struct fs *fs)
{
	lock_take(&fs->lock);
	fs->stopping = true;
	if (fs->session)
		session_stop(fs->session);
	lock_drop(&fs->lock);
}

void fs_free(struct fs *fs)
{
	if (!fs)
		return;
	backing_free(fs->backing);
	session_free(fs->session);
	made_files_release(&fs->made_files);
	sites_close(&fs->sites);
	nodes_free(fs->nodes);
	refs_close(fs->refs);
	store_close(fs->store);
	open_dirs_release(&fs->open_dirs);
	lock_release(&fs->lock);
	free(fs);
}

/* "ghcr.io,docker.io"; "none" where nothing was given, as fstab(5) has it. */
static void make_title(struct fs *fs, char ret[FS_TITLE_MAX])
{
	struct site *site;
	size_t len = 0;
	snprintf(ret, FS_TITLE_MAX, "none");
	for (unsigned i = 0; (site = sites_at(&fs->sites, i)) && site->given; i++) {
		int n = snprintf(ret + len, FS_TITLE_MAX - len, "%s%s", i ? "," : "",
				 source_title(site->source));
		len = len + (size_t)n < FS_TITLE_MAX ? len + (size_t)n : FS_TITLE_MAX - 1;
	}
}

void fs_status(struct fs *fs, struct fs_status *ret)
{
	struct nodes_usage nodes;
	struct flights_usage flights;
	struct site *site;
	memset(ret, 0, sizeof(*ret));
	make_title(fs, ret->title);
	store_usage(fs->store, &ret->cache);
	nodes_usage(fs->nodes, &nodes);
	ret->nodes = nodes.nodes;
	for (unsigned i = 0; (site = sites_at(&fs->sites, i)); i++) {
		flights_usage(fetcher_flights(site->fetcher), &flights);
		ret->parked += flights.parked;
		ret->fetches += flights.flights;
	}
	lock_take(&fs->lock);
	struct backing_table *backing = fs->backing;
	lock_drop(&fs->lock);
	ret->passthrough = backing && backing_enabled(backing);
	ret->offline = fs->o.offline;
	ret->all = fs->o.all;
}

bool fs_site_status(struct fs *fs, unsigned number, struct fs_site_status *ret)
{
	struct err err = {""};
	struct site *site = sites_at(&fs->sites, number);
	memset(ret, 0, sizeof(*ret));
	if (!site)
		return false;
	snprintf(ret->source, sizeof(ret->source), "%s", source_title(site->source));
	snprintf(ret->origin, sizeof(ret->origin), "%s", source_origin(site->source));
	ret->given = site->given;
	ret->local = source_is_local(site->source);
	ret->down_errno = -source_down(site->source, &err);
	memcpy(ret->down_text, err.text, sizeof(ret->down_text));
	source_health(site->source, &ret->health);
	ret->stale_ms = site->stale_ms;
	size_t n = source_mirrors(site->source, ret->mirrors, FS_STATUS_MIRRORS_MAX);
	ret->mirror_count = n < FS_STATUS_MIRRORS_MAX ? n : FS_STATUS_MIRRORS_MAX;
	return true;
}
