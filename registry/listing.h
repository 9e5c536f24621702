/* SPDX-License-Identifier: Apache-2.0 */
/* listing — one page of tags or repositories as JSON (OCI distribution spec,
 * "Listing Tags"; Docker's _catalog). Layer: registry/, internal; no I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/names.h"

#define LISTING_PAGE_MAX (8u << 20) /* bytes */

typedef bool (*listing_fn)(const char *s, size_t len);

struct listing_page {
	size_t entries; /* in the page, odd ones included */
	char last[512]; /* the last grammatical one; "" if none */
};

/* Adds the entries of the array `key` that `accept` takes to `names`; null,
 * what is not a string, and the rest are passed over. No such key, or null: an
 * empty page. -EPROTO: not a JSON object with an array there. -EFBIG: more than
 * `max` names in the list, or than registry/json_util.h reads. -ENOMEM. */
NODISCARD int listing_parse(const char *body, size_t len, const char *key, listing_fn accept,
			    size_t max, struct names *names, struct listing_page *ret,
			    struct err *err);
