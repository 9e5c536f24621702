/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cache/refs.h"
#include "fs/backing.h"
#include "fs/fetch.h"
#include "fs/fs_impl.h"
#include "fs/handover.h"
#include "fs/init.h"
#include "fs/log.h"
#include "fs/nodes.h"
#include "fs/op.h"
#include "fs/ops.h"
#include "fs/session.h"
#include "fs/stream.h"

static int open_parts(struct fs *fs, struct err *err)
{
	int r = packages_open(&fs->packages, fs->o.package_config, err);
	if (r == 0)
		r = sites_open(&fs->sites, &fs->o, err);
	if (r == 0)
		r = store_open(&fs->o.store, &fs->store, err);
	if (r == 0)
		r = refs_open(fs->store, &fs->refs, err);
	if (r == 0 && fs->o.stream && streams_new(fs, &fs->streams))
		r = err_set(err, -ENOMEM, "no memory for a mount's tables");
	return r ? r : sites_equip(&fs->sites, fs->store, fs->refs, fs->streams, err);
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
	/* Whoever waits for that has time left for what he came for. */
	int64_t shortest = fs->o.timeout_ms < OP_HOLD_MS ? fs->o.timeout_ms : OP_HOLD_MS;
	fs->o.store.lock_ms = shortest / 2;
	int r = open_parts(fs, err);
	if (r) {
		fs_free(fs);
		return r;
	}
	*ret = fs;
	return 0;
}

static void on_ready(void *userdata)
{
	struct fs *fs = userdata;
	if (fs->ready)
		fs->ready(fs->ready_ctx);
}

static void on_forget(void *userdata, uint64_t ino, uint64_t count)
{
	struct fs *fs = userdata;
	node_forget(fs->nodes, ino, count);
}

/* What the kernel has open. */
struct opened {
	struct open_file {
		uint64_t fh, node, size; /* node 0: it was made */
		struct node_served served;
	} * v;
	size_t n, room;
};

static void note_open(void *ctx, const struct node *node, const struct node_open *open,
		      const struct node_served *served)
{
	struct opened *o = ctx;
	if (o->n == o->room) {
		size_t room = 2 * o->room + 64;
		struct open_file *v = reallocarray(o->v, room, sizeof(*v));
		if (!v)
			return;
		o->v = v;
		o->room = room;
	}
	o->v[o->n++] =
	    (struct open_file){open->fh, node ? node->id : 0, node ? node->size : 0, *served};
}

/* Holds what the files that are open are read from, as the process before us did, so that nobody
 * evicts it. What is not at hand is brought by the next READ. */
static void adopt_open_files(struct fs *fs)
{
	struct opened o = {0};
	nodes_each_open(fs->nodes, note_open, &o);
	for (size_t i = 0; i < o.n; i++) {
		const struct open_file *f = &o.v[i];
		struct blob *blob = NULL;
		struct err ignored;
		if (store_get(fs->store, &f->served.digest, &blob, &ignored) < 0)
			continue;
		if (f->node)
			backing_adopt(fs->backing, f->node, f->size, blob, f->served.at);
		else
			(void)!made_files_put(&fs->made_files, f->fh, blob);
		blob_unref(blob);
	}
	free(o.v);
}

static int open_session(struct fs *fs, const struct fs_connection *c, struct session **ret,
			struct err *err)
{
	int fd = fcntl(c->fuse_fd, F_DUPFD_CLOEXEC, 0);
	struct session_options o = {.fd = fd,
				    .ops = &fs_ops,
				    .userdata = fs,
				    .forget = on_forget,
				    .ready = on_ready,
				    .handover = fs->handover,
				    .resend = c->served_before,
				    .refuse_resent = c->refuse_resent,
				    .keeper = c->keeper};
	if (fd < 0)
		return err_errno(err, -errno, "cannot start the FUSE session");
	return session_new(&o, ret, err);
}

int fs_connect(struct fs *fs, const struct fs_connection *c, struct err *err)
{
	struct nodes *nodes = NULL;
	struct session *session = NULL;
	struct backing_table *backing = NULL;
	struct init_features features;
	int r = nodes_attach(c->nodes_fd, &nodes, err);
	if (r == 0)
		r = handover_attach(c->handover_fd, &fs->handover, err);
	if (r == 0)
		r = open_session(fs, c, &session, err);
	if (r == 0) {
		store_share_hashed(fs->store, handover_memory(fs->handover, STORE_HASHED_LEN));
		init_features(handover_init(fs->handover), &features);
		r = backing_new(session_fd(session), features.passthrough, nodes, &backing);
		if (r)
			r = err_set(err, r, "no memory for a mount's tables");
	}
	lock_take(&fs->lock);
	fs->nodes = nodes;
	fs->backing = backing;
	fs->session = session;
	lock_drop(&fs->lock);
	fs->took_over = c->served_before;
	open_dirs_start(&fs->open_dirs, c->generation);
	if (r == 0 && c->served_before) {
		backing_close_strays(backing);
		adopt_open_files(fs);
	}
	return r;
}

int fs_start_fetching(struct fs *fs, struct err *err)
{
	int r = store_start(fs->store, err);
	return r ? r : sites_start(&fs->sites, err);
}

void fs_stop_fetching(struct fs *fs)
{
	sites_stop(&fs->sites);
}

int fs_serve(struct fs *fs, void (*ready)(void *ctx), void *ctx, struct err *err)
{
	fs->ready = ready;
	fs->ready_ctx = ctx;
	lock_take(&fs->lock);
	struct session *s = fs->session;
	bool stopping = fs->stopping;
	lock_drop(&fs->lock);
	int r = fs_start_fetching(fs, err);
	if (r == 0 && fs->streams && fs->took_over)
		streams_take_over(fs->streams);
	if (r == 0)
		r = stopping ? 0 : session_run(s, err);
	if (fs->streams)
		streams_stop(fs->streams);
	sites_stop(&fs->sites);
	if (fs->streams)
		streams_end(fs->streams);
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
	streams_free(fs->streams);
	session_free(fs->session);
	made_files_release(&fs->made_files);
	sites_close(&fs->sites);
	packages_close(&fs->packages);
	nodes_free(fs->nodes);
	if (fs->store)
		store_share_hashed(fs->store, NULL);
	handover_free(fs->handover);
	refs_close(fs->refs);
	store_close(fs->store);
	open_dirs_release(&fs->open_dirs);
	lock_release(&fs->lock);
	free(fs);
}

int64_t fs_tag_ttl_ms(const struct fs *fs)
{
	return fs->o.tag_ttl_ms;
}
