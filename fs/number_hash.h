/* SPDX-License-Identifier: Apache-2.0 */
/* number_hash — uthash for tables whose keys are uint64_t numbers of our own making: node ids
 * and fh. Layer: fs/; in place of <uthash.h>.
 *
 * An entry has a bool `left_out`: HASH_ADD sets it where there was no memory to put it in.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define uthash_nonfatal_oom(entry) ((entry)->left_out = true)
#define HASH_FUNCTION(key, len, hash)                                                              \
	((hash) = (unsigned)(*(key)*UINT64_C(0x9e3779b97f4a7c15) >> 32))
#include <uthash.h>
