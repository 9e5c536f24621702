/* SPDX-License-Identifier: Apache-2.0 */
/* named — the digests that one repository named, in memory. Layer: cache/;
 * internal; no I/O, no lock: the caller keeps threads apart.
 *
 * Entries are only ever added; the first description of a digest stays. The
 * media types of a repository are few, so each is kept once; beyond
 * NAMED_TYPES_MAX different ones, the rest is remembered as unknown ("").
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/descriptor.h"
#include "base/macros.h"

#define NAMED_MAX       (1u << 20) /* digests of one repository */
#define NAMED_TYPES_MAX 256

struct named_entry;

struct named {
	struct named_entry *entries; /* in the order they came */
	size_t n, room;
	uint32_t *slots; /* open addressing: index of the entry + 1, 0 if free */
	size_t n_slots;  /* a power of two, at least twice n */
	uint64_t secret[2];
	char **types;
	size_t n_types;
};

/* 1: added; 0: was there; -ENOMEM; -E2BIG: max (<= NAMED_MAX) are there. */
NODISCARD int named_add(struct named *set, const struct descriptor *d, size_t max);
bool named_find(const struct named *set, const struct digest *d, struct descriptor *ret);
void named_get(const struct named *set, size_t i, struct descriptor *ret);
void named_release(struct named *set); /* empties it */
