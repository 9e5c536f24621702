/* SPDX-License-Identifier: Apache-2.0 */
/* fs — one mount as a whole: source, cache, tables and threads. Layer: fs/.
 *
 * Calling sequence (fs/cli/worker.c): fs_new (opens and checks everything that
 * needs no network) → fs_connect (takes the connection over, once nobody else serves
 * it) → fs_serve (starts threads; returns when unmounted or stopped) → fs_free.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "cache/store.h"
#include "fs/flight.h"
#include "fs/metrics.h"
#include "registry/source.h"

#define FS_TAG_TTL_MS  30000
#define FS_LIST_TTL_MS 60000
#define FS_TIMEOUT_MS  60000

#define FS_TITLE_MAX   512 /* of all sources: what a list of mounts shows */

struct fs;

/* What it points to stays until fs_free, unless it says otherwise. */
struct fs_options {
	const char *const *specs; /* the SOURCEs; not looked at after fs_new */
	size_t spec_count;
	bool all;                       /* any host that is entered, at the first level */
	const char *const *allow_hosts; /* with `all`: HOST[:PORT] that may have any address */
	size_t allow_host_count;
	const char *package_config;   /* as in fs/packages.h; not looked at after fs_new */
	struct source_options source; /* of each; its spec is not looked at */
	struct store_options store;
	int64_t tag_ttl_ms, list_ttl_ms, timeout_ms; /* 0: the defaults above */
	uid_t uid;                                   /* whose everything is shown to be */
	gid_t gid;
	mode_t umask; /* taken from every mode but those of links */
	bool offline;
	bool stream;         /* large blobs are read as they arrive (fs/stream.h) */
	bool strict_timeout; /* also of a transfer that advances: the kernel waits no longer */
};

NODISCARD int fs_new(const struct fs_options *o, struct fs **ret, struct err *err);

/* A mount in the kernel, and what stays of it when a worker goes. The fds are borrowed. */
struct fs_connection {
	int fuse_fd;         /* /dev/fuse, INIT answered */
	int nodes_fd;        /* of fs/nodes.h */
	int handover_fd;     /* of fs/handover.h */
	uint32_t generation; /* how many processes have served the mount, this one included */
	bool served_before;  /* this very connection */
	bool refuse_resent;  /* what the process before did not answer is answered with EIO */
	pid_t keeper;        /* 0: nobody serves after us */
};
/* -EPROTO: the tables are another version's. */
NODISCARD int fs_connect(struct fs *fs, const struct fs_connection *c, struct err *err);
/* ready(ctx) runs once requests are answered. 0: unmounted or stopped. */
NODISCARD int fs_serve(struct fs *fs, void (*ready)(void *ctx), void *ctx, struct err *err);
/* Without a mount, for who only fetches (fs/pull.h): instead of fs_connect and fs_serve. */
NODISCARD int fs_start_fetching(struct fs *fs, struct err *err);
void fs_stop_fetching(struct fs *fs);
/* From any thread: parked requests are answered, fs_serve returns within seconds. */
void fs_stop(struct fs *fs);
void fs_free(struct fs *fs); /* NULL is fine */

/* From any thread, never waits for the network or the disk. */
struct fs_status {
	char title[FS_TITLE_MAX];
	struct store_usage cache;
	uint64_t nodes, open_files, parked, parked_max, fetches;
	uint64_t hits, misses; /* of fs/metrics.h */
	bool passthrough, offline, all;
};
void fs_status(struct fs *fs, struct fs_status *ret);

/* Of one registry, or layout, that has a tree here, by number from 0 on. False: there are no
 * more. */
#define FS_STATUS_MIRRORS_MAX 16
struct fs_site_status {
	char source[512];  /* source_title */
	char written[512]; /* the SOURCE, as it was given; else "" */
	char origin[512];
	bool given;     /* as a SOURCE; else it was entered */
	bool local;     /* a layout: there is no host */
	int down_errno; /* 0, or why the origin is known to be down now */
	char down_text[ERR_TEXT_MAX];
	struct source_health health;
	int64_t slow_ms;  /* for how long it is asked after others, since it was slow; 0: not */
	int64_t stale_ms; /* wall clock: a tag was served that the host could not be asked for */
	struct source_mirror mirrors[FS_STATUS_MIRRORS_MAX];
	size_t mirror_count;
};
bool fs_site_status(struct fs *fs, unsigned number, struct fs_site_status *ret);
int64_t fs_tag_ttl_ms(const struct fs *fs);
/* How its requests ended: of the origin (0), or of a mirror by its place + 1. */
bool fs_site_requests(struct fs *fs, unsigned number, size_t host, struct source_requests *ret);
/* Of a host that is asked where Wasm packages are, and has no tree for that. ret_title: of
 * FS_TITLE_MAX. */
bool fs_package_requests(struct fs *fs, unsigned number, char ret_title[FS_TITLE_MAX],
			 struct source_requests *ret);

/* What was asked for of one kind and ended in one way (metrics_outcome_name). Zeros: nothing. */
void fs_operation(struct fs *fs, enum operation o, unsigned outcome, struct histogram_view *ret);

/* A blob that is being fetched. */
struct fs_transfer {
	char source[FS_TITLE_MAX]; /* source_title */
	struct flight_transfer flight;
};
#define FS_TRANSFERS_MAX 128
/* Returns how many it wrote, at most max. */
size_t fs_transfers(struct fs *fs, struct fs_transfer *ret, size_t max);
