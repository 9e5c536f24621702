/* SPDX-License-Identifier: Apache-2.0 */
/* ref_record — the text of what cache/refs.h writes down. Layer: cache/;
 * internal; no I/O.
 *
 *	tag1 <seen> <size> <digest> <media type> <tag> <check>
 *	<digest> <size> <media type> <check>
 *	archive1 <layer> <tar> <its size> <index> <its size> <check>
 *	listing1 <seen> <count> <check of the rest>, and a name on each line
 *
 * Numbers are decimal, names and media types escaped (cache/ref_name.h), each
 * line ends in '\n'. The check is FNV-1a over what stands before it: it finds
 * lines that were cut or run into each other, not malice.
 *
 * All parsers: -EINVAL for anything that the formatters would not have made.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cache/archives.h"
#include "cache/refs.h"

#define REF_LINE_MAX      2048 /* with '\n' and the NUL */
#define REF_TAG_MAX       256
#define REF_LISTING_MAX   (1u << 20)   /* names */
#define REF_LISTING_BYTES (128u << 20) /* of one listing */
#define REF_LISTED_MAX    512          /* bytes of a name */

/* Length. -ENAMETOOLONG: a tag or media type beyond the limits. */
NODISCARD int ref_record_format_tag(const struct tag_record *r, const char *tag,
				    char out[REF_LINE_MAX]);
/* Also -EINVAL: of another tag. */
NODISCARD int ref_record_parse_tag(const char *data, size_t len, const char *tag,
				   struct tag_record *ret);

NODISCARD int ref_record_format_named(const struct descriptor *d, char out[REF_LINE_MAX]);
/* One line, without its '\n'. */
NODISCARD int ref_record_parse_named(const char *line, size_t len, struct descriptor *ret);

int ref_record_format_archive(const struct digest *layer, const struct archive_record *r,
			      char out[REF_LINE_MAX]);
/* Also -EINVAL: of another layer. */
NODISCARD int ref_record_parse_archive(const char *data, size_t len, const struct digest *layer,
				       struct archive_record *ret);

/* New text of *ret_len bytes. -EINVAL: a name that cannot be listed; -EFBIG;
 * -ENOMEM. */
NODISCARD int ref_record_format_listing(const struct names *names, int64_t seen_ms, char **ret,
					size_t *ret_len);
/* Sorted names. Also -ENOMEM. */
NODISCARD int ref_record_parse_listing(const char *data, size_t len, struct names *ret,
				       int64_t *ret_seen_ms);
