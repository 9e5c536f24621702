/* SPDX-License-Identifier: Apache-2.0 */
/* package_name — names and versions of Wasm packages ("wasi:http@0.2.1", component model,
 * WIT.md), and which tags stand for versions. Layer: registry/. Pure functions without I/O.
 *
 * A version is semver 2.0, and its tag is the same text, but for '+', which no tag may
 * hold: there it is '_', as Helm has it, too. Neither occurs anywhere else in the other, so one
 * leads back to the other.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"
#include "registry/reference.h"

#define PACKAGE_SUFFIX   ".wasm"
#define PACKAGE_FILE_MAX (TAG_MAX + sizeof(PACKAGE_SUFFIX)) /* with the NUL */

/* Words of lower-case letters and digits, each of which begins with a letter, joined by '-':
 * a namespace, or a name in it. */
bool package_is_label(const char *s, size_t len);
/* Numbers up to 2^64 - 1, as in the implementations that wkg and cargo use. */
bool package_is_version(const char *s, size_t len);

/* "<version>.wasm", and the tag that stands for it. -EINVAL: no version, or too long for a
 * tag. */
NODISCARD int package_file_tag(const char *file, char ret[TAG_MAX + 1]);
NODISCARD int package_tag_file(const char *tag, char ret[PACKAGE_FILE_MAX]);
