/* SPDX-License-Identifier: Apache-2.0 */
/* pull — fills the cache ahead of time: what references name, whole. Layer: fs/.
 *
 * Each reference is resolved (its tag is asked anew), its manifest fetched, of an index those for
 * the platforms that are wanted, and then their configs and layers, by the same flights that
 * readers of a mount join. Nothing is carried twice: within a pull by its tables, within a process
 * by its flights, between processes by the locks of partials; a tag is asked with HEAD, so that a
 * manifest that is here is not sent again. What is here already is not hashed again: a mount does
 * that when it serves it. What a killed pull has left is continued.
 *
 * A reference is done when all of it stands in the cache at once; at the end that is looked at
 * again, since a cache may be too small for all of them.
 *
 * Pins (cache/pins.h) are made once a reference is there whole, and what was evicted
 * until then is fetched again.
 *
 * Life: pull_new → pull_add, any number of times → pull_seal → "done" is reported; at any time
 * pull_cancel, or, where `idle_ms` is set, when pull_report was not called for so long. pull_free
 * may come at any time, and cancels. The fs outlives it: pull_free returns at once, pulls_wait when
 * the threads of all have ended; after fs_stop_fetching or fs_serve that is soon.
 *
 * Threads: PULL_THREADS of each pull, which wait for flights; the functions here from any thread,
 * and none of them blocks but pulls_wait. Locks: one of each pull, a leaf.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define PULL_THREADS        8
#define PULL_BLOBS          10 /* under way at once: as many as a registry's pools take */
#define PULL_REFERENCES_MAX 100000
#define PULL_EVENTS_MAX     1000 /* in one report */

struct fs;
struct pull;

struct pull_options {
	const char *platform; /* NULL: as a mount chooses; "all"; OS/ARCH[/VARIANT]. Copied. */
	bool pin;
	int64_t idle_ms; /* 0: it does not depend on being asked about */
};

/* "all" or OS/ARCH[/VARIANT]. */
bool pull_is_platform(const char *s);

NODISCARD int pull_new(struct fs *fs, const struct pull_options *o, struct pull **ret,
		       struct err *err);
/* -EINVAL: no reference; -EOPNOTSUPP; -ENOENT: this fs does not serve its registry; -E2BIG;
 * -ENOMEM; other errors of sites_serving. */
NODISCARD int pull_add(struct pull *p, const char *reference, struct err *err);
void pull_seal(struct pull *p); /* no more come */
void pull_cancel(struct pull *p);
void pull_free(struct pull *p); /* NULL is fine */
/* Until no thread of a pull of this process is left. */
void pulls_wait(void);

/* New object; NULL: no memory.
 *
 *	state        "running", "done"
 *	references, done, failed    so many
 *	bytes        of the blobs that are known to be needed; of these
 *	present        were here, or left by an earlier fetch
 *	received       came over the network, so far
 *	blobs_present, blobs_received
 *	active[]     {digest, size, have}: under way
 *	events[]     from number `since` on, at most PULL_EVENTS_MAX:
 *	               {event: "blob", digest, size, received}: one more is here
 *	               {event: "reference", reference, digest}: all of it is
 *	               {event: "failed", reference, errno, text, hint}
 *	next         the number of the event after these
 */
json_t *pull_report(struct pull *p, uint64_t since);
