/* SPDX-License-Identifier: Apache-2.0 */
/* memo — a table of small values, bounded in number and, where they hold on to
 * memory of different sizes, in bytes; it forgets the least recently used.
 * Layer: fs/.
 *
 * Values are copied in and out. Where they hold references, retain runs on each
 * copy handed out or kept, release on each copy forgotten (outside the lock).
 *
 * Threads: any; one lock, a leaf, never held over release. retain must only
 * count.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

struct memo;

struct memo_type {
	size_t max;        /* entries */
	size_t value_size; /* bytes, at most MEMO_VALUE_MAX */
	/* What values hold on to, in all at most bytes_max, and of a value of its own.
	 * The youngest is kept whatever it weighs. NULL: they weigh nothing. */
	size_t bytes_max;
	size_t (*bytes)(const void *value);
	void (*retain)(void *value);  /* may be NULL */
	void (*release)(void *value); /* may be NULL */
};

#define MEMO_VALUE_MAX 1024

NODISCARD int memo_new(const struct memo_type *type, struct memo **ret);
void memo_free(struct memo *m); /* NULL is fine */

bool memo_get(struct memo *m, const void *key, size_t key_len, void *ret_value);
/* Out of memory: as if it had been forgotten at once. */
void memo_put(struct memo *m, const void *key, size_t key_len, const void *value);
void memo_drop(struct memo *m, const void *key, size_t key_len);
/* All that `is` says so of, under the lock: it must not block. */
typedef bool (*memo_fn)(void *ctx, const void *key, size_t key_len, const void *value);
void memo_drop_where(struct memo *m, memo_fn is, void *ctx);
