/* SPDX-License-Identifier: Apache-2.0 */
/* account — the record of how much a cache directory holds, as it stands in
 * <dir>/lock. Layer: cache/; internal; no I/O.
 *
 * `bytes` is an upper bound of what is on disk: whoever makes something grow
 * charges it before, and gives back what went after. A process that is killed
 * can so only leave it too high. `stale` asks for a new count:
 * the last one could not look at everything.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct account {
	uint64_t bytes;
	uint64_t blobs; /* complete ones */
	bool stale;
};

#define ACCOUNT_LEN 68

/* -EINVAL: not such a record, of which nothing is believed then. */
NODISCARD int account_parse(const char *data, size_t len, struct account *ret);
void account_format(const struct account *a, char out[ACCOUNT_LEN + 1]);
