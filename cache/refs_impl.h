/* SPDX-License-Identifier: Apache-2.0 */
/* refs_impl — what the files of refs share. Layer: cache/; internal. */
#pragma once

#include <sys/queue.h>

#include "base/lock.h"
#include "cache/named.h"
#include "cache/refs.h"
#include "cache/store_impl.h"

#define REFS_PATH_MAX       1024
#define REFS_NAMED_FILE_MAX (1ull << 30) /* no further than this is read, or appended */

struct named_set;
TAILQ_HEAD(named_list, named_set);

struct refs {
	struct store *store;
	size_t named_max; /* NAMED_MAX and REFS_NAMED_FILE_MAX; tests lower them */
	uint64_t file_max;
	struct lock lock;        /* a leaf; never held across I/O */
	struct cond changed;     /* a set is no longer busy */
	struct named_list named; /* guarded by lock; used last comes first */
	size_t n_named, n_digests;
};

/* "refs/<origin>/r/<repository><below>" */
NODISCARD int refs_repo_path(const char *origin, const char *repo, const char *below,
			     char out[REFS_PATH_MAX]);
/* That directory, made if need be. The fd is the caller's. */
NODISCARD int refs_make_repo(struct store *s, const char *repo, const char *path, struct err *err);
/* A whole file, by rename. */
NODISCARD int refs_replace(struct store *s, int dirfd, const char *name, const void *data,
			   size_t len, struct err *err);

/* refs_named.c */
void named_sets_init(struct refs *r);
void named_sets_release(struct refs *r);
