/* SPDX-License-Identifier: Apache-2.0 */
/* cache_impl — what the subcommands of `wasmocifs cache` share. Layer: fs/cli, internal to
 * cache.c (what there is) and cache_change.c (what goes). */
#pragma once

#include <stdint.h>

#include "base/digest_set.h"
#include "cache/inventory.h"
#include "fs/cli/cache_known.h"
#include "fs/cli/options.h"

#define CACHE_WORD_MAX 1024 /* bytes of an operand */

struct cache_command {
	const struct cli_args *args;
	char **operands; /* behind the subcommand */
	int n_operands;
	const char *dir;
	struct store *store;
	struct inventory have;
	struct known known;
};

/* An operand: a digest, the beginning of one ("sha256:0123456789ab", or without the algorithm), or
 * a reference. */
struct cache_word {
	bool is_reference;
	struct image_reference reference;
	char alg[8];              /* "" is any */
	char hex[DIGEST_HEX_MAX]; /* in full, or its first CACHE_PREFIX_MIN and more */
};
#define CACHE_PREFIX_MIN 12

/* -EINVAL with one line. */
NODISCARD int cache_word_parse(const char *s, struct cache_word *ret, struct err *err);
/* Adds what it means of what the cache has. -ENOENT: nothing; -E2BIG: a beginning of several;
 * -ENOMEM. */
NODISCARD int cache_word_find(const struct cache_command *c, const char *s, struct digest_set *ret,
			      struct err *err);
bool cache_tag_matches(const struct known_tag *t, const struct image_reference *r);

/* The exit status. */
int cache_verify(struct cache_command *c);
int cache_prune(struct cache_command *c);
int cache_rm(struct cache_command *c);
