/* SPDX-License-Identifier: Apache-2.0 */
/* serve — the part of `wasmocifs mount` that serves: from the open mount to the
 * end of the process. Layer: fs/cli. */
#pragma once

#include "fs/cli/options.h"
#include "fs/fs.h"

struct serving {
	struct fs *fs;          /* owned by serve() */
	int fuse_fd;            /* owned by serve() */
	const char *source;     /* for people */
	const char *mountpoint; /* borrowed */
	unsigned minor;
	int report_fd; /* of fs/cli/daemon.h; -1: in the foreground */
	int ready_fd;  /* -1: none */
};

/* Returns the exit status of the process. Whatever happens, the mount is gone
 * afterwards, and whoever waits has been told. */
int serve(struct serving *s);
