/* SPDX-License-Identifier: Apache-2.0 */
/* layout_index — what the index.json of an image layout lists, and what a
 * layout is called (OCI image spec, image-layout.md). Layer: registry/; a leaf
 * without I/O over an index that manifest_parse has read.
 *
 * A tag is the annotation org.opencontainers.image.ref.name: "v1", or a whole
 * reference ("docker.io/library/app:v1"), of which the tag counts. Where two
 * entries have the same, the first wins, as it does in other readers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/names.h"
#include "registry/manifest.h"
#include "registry/source.h"

/* NULL: not listed. */
const struct manifest_entry *layout_index_by_tag(const struct manifest *index, const char *tag);
const struct manifest_entry *layout_index_by_digest(const struct manifest *index,
						    const struct digest *d);
bool layout_index_is_untagged(const struct manifest_entry *e);
/* All tags, sorted. -ENOMEM. */
NODISCARD int layout_index_tags(const struct manifest *index, struct names *ret);

/* A component of the repository grammar made of a directory's name: lower
 * case, "-" for what the grammar does not have, "layout" if nothing is left. */
void layout_repository_name(const char *basename, size_t len, char ret[REPOSITORY_MAX]);
