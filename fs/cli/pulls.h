/* SPDX-License-Identifier: Apache-2.0 */
/* pulls — the pulls that a mount's process does for `wasmocifs pull`. Layer: fs/cli.
 *
 * Over the control socket, whose exchanges are short:
 *
 *	{"op":"pull", "references":[…], "pin":bool, "platform":"…" or none, "last":bool}
 *		→ {"id":N, "refused":[{reference, text}]}
 *	{"op":"pull-progress", "id":N, "since":M}
 *		→ what pull_report says
 *
 * With an "id", `pull` adds to that one; "last": no more come. What is refused is not served
 * by this mount. One that is not asked about for PULLS_IDLE_MS is given up: whoever wanted it
 * is gone. After "done" was said it is forgotten.
 *
 * Threads: that of the control socket only.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

#define PULLS_MAX     8
#define PULLS_IDLE_MS 6000

struct fs;
struct pull;

struct pulls {
	struct fs *fs; /* borrowed */
	struct {
		struct pull *pull; /* NULL: free */
		int id;
		long long asked_ms;
	} v[PULLS_MAX];
	int last_id;
};

json_t *pulls_start(struct pulls *p, const json_t *request, struct err *err);
json_t *pulls_progress(struct pulls *p, const json_t *request, struct err *err);
/* Gives all up, and waits until none is left; before fs_free. */
void pulls_release(struct pulls *p);
