/* SPDX-License-Identifier: Apache-2.0 */
/* backing — how an open file's bytes reach its reader. Layer: fs/.
 *
 * Content larger than BACKING_MIN opens in passthrough where the kernel and
 * our privileges allow it: reads then go to the cache file without us. The
 * rest opens in the ordinary way with keep_cache, which opens faster.
 *
 * The kernel's rule (docs/architecture.md, "Passthrough"): all concurrent
 * opens of one inode use one backing id, or all are ordinary. So the mode is a
 * function of the node's size, decided once per session by trying; and while a
 * node has opens of one mode, further opens get the same mode and id, whatever
 * blob file they would come with.
 *
 * Threads: any. One mutex per table; the ioctl is made outside it (no I/O
 * under a lock): an opener that finds another one registering waits for it.
 * That wait is an ioctl long.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct backing_table;
struct blob;
struct nodes;
struct stream;

#define BACKING_MIN (1u << 20) /* bytes: larger than this → passthrough */

/* fuse_fd is borrowed. enabled: INIT agreed upon passthrough. */
NODISCARD int backing_new(int fuse_fd, bool enabled, struct nodes *nodes,
			  struct backing_table **ret);
/* The mount has ended: closes every id. NULL is fine. */
void backing_free(struct backing_table *t);

struct backing_open {
	int32_t backing_id; /* > 0: passthrough; 0: ordinary */
	struct blob *blob;  /* the file that serves this node: a reference of the caller's own.
			     * NULL: a stream does, or it failed */
	uint64_t fh;        /* what RELEASE will say; 0: no memory, or no such node; nothing was
			     * counted, and the OPEN must fail, for nothing may fail after it */
	bool joined;        /* it was open already */
};
/* For the OPEN of this number. Counts one open of the node, of `size` bytes, served from `blob`,
 * from `at` on, or, where the node is open already, from the blob it is open with (so that the id's
 * file is reused and not a refetched one). What the kernel refuses falls back to the ordinary mode.
 */
void backing_get(struct backing_table *t, uint64_t node, uint64_t unique, uint64_t size,
		 struct blob *blob, uint64_t at, struct backing_open *ret);
/* The same of a node that is served by a stream (fs/stream.h), always in the ordinary mode; where
 * it is open already, by what it is open with. The table is one more user of the stream until the
 * node is closed. */
void backing_get_stream(struct backing_table *t, uint64_t node, uint64_t unique, uint64_t size,
			struct stream *stream, struct backing_open *ret);
/* The stream that serves a node that is open: a reference in memory, or NULL. */
struct stream *backing_stream(struct backing_table *t, uint64_t node);
/* What serves the READs of a node that is open: the file, a new reference or NULL, and
 * where in it the node's bytes lie. */
struct blob *backing_blob(struct backing_table *t, uint64_t node, uint64_t *ret_at,
			  uint64_t *ret_size);
/* The same for a node that a process before us opened: from now on this serves it. */
void backing_adopt(struct backing_table *t, uint64_t node, uint64_t size, struct blob *blob,
		   uint64_t at);
void backing_adopt_stream(struct backing_table *t, uint64_t node, uint64_t size,
			  struct stream *stream);
/* RELEASE of one open; again is fine. */
void backing_put(struct backing_table *t, uint64_t fh);
/* An OPEN that was sent again: what the process before did for it. */
void backing_undo(struct backing_table *t, uint64_t unique);
/* After the process before us is gone: closes the ids that it had registered and not put down. */
void backing_close_strays(struct backing_table *t);
/* False once the kernel has refused it for good (EPERM, ENOSYS, …). */
bool backing_enabled(const struct backing_table *t);
