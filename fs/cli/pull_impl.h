/* SPDX-License-Identifier: Apache-2.0 */
/* pull_impl — the parts of `wasmocifs pull`. Layer: fs/cli, internal to it.
 *
 *	pull.c       what was asked for, and by whom it is done
 *	pull_ask.c   by a mount's process
 *	pull_show.c  what is seen of it
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/names.h"
#include "fs/cli/options.h"
#include "fs/pull.h"

/* What pull_report has said so far, of one or more pulls after one another. */
struct pull_show {
	bool terminal;
	unsigned width; /* columns */
	unsigned lines; /* of progress that stand there now */
	bool failed;    /* one has */
	uint64_t done, failures, received, present, blobs_received, blobs_present;
	/* Of the present pull, as last said. */
	uint64_t now_received, now_present, now_blobs_received, now_blobs_present;
	struct pull_rate {
		char digest[24]; /* its beginning */
		uint64_t have;
		int64_t at_ms;
		double rate; /* bytes/s */
	} rates[PULL_BLOBS];
	/* Told of each reference that is over. */
	void (*over)(void *ctx, const char *reference);
	void *ctx;
};

void pull_show_init(struct pull_show *s);
void pull_show(struct pull_show *s, const json_t *report);
/* The present pull has ended, or was lost. */
void pull_show_settle(struct pull_show *s);
void pull_show_failure(struct pull_show *s, const char *reference, const char *text,
		       const char *hint);
void pull_show_summary(struct pull_show *s, uint64_t references);

/* By the mounts of this user that have this cache, or any (NULL): what they serve of `references`
 * and have settled was told to `show`. Those that are over are passed over. */
void pull_by_mounts(const struct cli_args *args, const char *cache, const struct names *references,
		    bool (*is_over)(void *ctx, const char *reference), void *ctx,
		    struct pull_show *show);
