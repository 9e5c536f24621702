/* SPDX-License-Identifier: Apache-2.0 */
/* archive_run — one run of the archive helper (fs/archive_helper.h). Layer: fs/.
 *
 * The helper is handed a descriptor of the file and two pipes, and nothing else of ours.
 * What it writes goes to a sink as it comes; what the sink refuses ends it.
 *
 * Errors: -EPROTO what it read is malformed, also if it died of that; -EFBIG beyond a
 * limit of its own; -EIO it could not be run, was killed, or has fallen silent;
 * -ECANCELED, -ETIMEDOUT the call; whatever the sink says.
 *
 * Threads: any. BLOCKS until the helper has ended.
 */
#pragma once

#include <stddef.h>

#include "base/call.h"

/* After which a helper that writes nothing is not waited for any longer. */
#define ARCHIVE_SILENCE_MS 300000

struct archive_sink {
	int (*write)(void *ctx, const void *data, size_t len, struct err *err);
	void *ctx;
};

/* compression: of fs/archive_helper.h; NULL: to index a tar. */
NODISCARD int archive_run(const char *compression, int fd, const struct archive_sink *sink,
			  struct call *call, struct err *err);
