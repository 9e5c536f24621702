/* SPDX-License-Identifier: Apache-2.0 */
/* platform — the entries of an index as platforms: what they are called, and
 * which one an index directory shows (OCI image spec, image-index.md). Layer: fs/;
 * a leaf without I/O, over registry/manifest.h.
 *
 * Attestations are manifests for no platform ("unknown/unknown", as buildx writes
 * them), and so are entries that name none: those are shown only where there is
 * nothing else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/names.h"
#include "registry/manifest.h"

/* One name for each entry of the index, in its order; NULL where it is no platform.
 * "<os>-<arch>[-<variant>]", safe and unique: of two that are called the same the
 * later one has the first 12 of its digest's hexadecimal behind a '~', or its
 * number. New array of new strings. -ENOMEM. */
NODISCARD int platform_names(const struct manifest *index, char ***ret);
void platform_names_free(char **names, size_t n);

/* The entry whose files/ and main.wasm those of the index are: Wasm before the
 * host's own platform, before whatever comes first. -ENOENT: none. `machine` is
 * uname's. */
NODISCARD int platform_best(const struct manifest *index, const char *machine, size_t *ret);
/* Whether the entry is for OS/ARCH[/VARIANT]: without a variant any will do. */
bool platform_is(const struct manifest_entry *entry, const char *platform);
/* Whether it is for any: no attestation. */
bool platform_is_any(const struct manifest_entry *entry);
/* Whether the entry says that it is Wasm. */
bool platform_is_wasm(const struct manifest_entry *entry);
