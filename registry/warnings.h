/* SPDX-License-Identifier: Apache-2.0 */
/* warnings — what people should know of a registry, above all its Warning headers
 * (OCI distribution spec, "Warnings"; RFC 7234 §5.5). Layer: registry/, internal;
 * no I/O.
 *
 * Of the headers only those of the form 299 - "text" count. Each text is handed out once, by
 * warnings_take, as one line of printable characters; beyond WARNINGS_MAX
 * different ones a host has nothing more to say.
 *
 * Threads: all functions from any thread, but for init and release.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/lock.h"

#define WARNINGS_MAX     16
#define WARNING_TEXT_MAX 256 /* bytes, with the NUL; the rest is cut off */

/* The next text in *s, which moves behind it. False: there is none. */
bool warnings_parse(const char **s, char ret[WARNING_TEXT_MAX]);

struct warnings {
	struct lock lock;
	/* guarded by lock */
	char text[WARNINGS_MAX][WARNING_TEXT_MAX];
	size_t n, taken;
};

void warnings_init(struct warnings *w);
void warnings_release(struct warnings *w);
/* One text, which is cleaned. */
void warnings_add(struct warnings *w, const char *text);
/* All texts of a header's value. */
void warnings_note(struct warnings *w, const char *value);
/* The next that nobody has taken. */
bool warnings_take(struct warnings *w, char ret[WARNING_TEXT_MAX]);
