/* SPDX-License-Identifier: Apache-2.0 */
/* throttle — says each of many repeated things once, then how often it came.
 * Layer: fs/; a leaf without I/O and without a clock of its own.
 *
 * A key that is new passes at once. While THROTTLE_MS have not gone by since
 * it passed last, it is only counted; the first occurrence after that passes
 * with the count. throttle_due gives out the counts of keys that fell silent.
 * Of more than THROTTLE_KEYS keys, the one that passed longest ago is
 * forgotten: memory is bounded whatever comes.
 *
 * Threads: none; the caller's lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define THROTTLE_MS      60000
#define THROTTLE_KEYS    32
#define THROTTLE_KEY_MAX 128 /* bytes compared, with the NUL */

struct throttle_entry {
	char key[THROTTLE_KEY_MAX]; /* "": free */
	char component[32];         /* of the last occurrence, for throttle_due */
	struct err text;
	int64_t passed_ms; /* when it passed last */
	uint64_t held;     /* occurrences since then */
};

struct throttle {
	struct throttle_entry v[THROTTLE_KEYS];
};

/* True: say it now; *ret_held is how often it was held back before. */
bool throttle_pass(struct throttle *t, const char *component, const char *key,
		   const struct err *text, int64_t now_ms, uint64_t *ret_held);
/* True: *ret is a key whose time has come and that was held back. Call until false. */
bool throttle_due(struct throttle *t, int64_t now_ms, struct throttle_entry *ret);
