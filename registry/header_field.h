/* SPDX-License-Identifier: Apache-2.0 */
/* header_field — request header fields that configuration files set (RFC 9110
 * §5.1, §5.5). Layer: registry/, internal; a leaf without I/O.
 *
 * A line is "Name: value", or "Name;" where the value is empty, as libcurl wants
 * it. What says what our own request is, no file may set.
 */
#pragma once

#include <stdbool.h>

#include "base/names.h"

#define HEADER_FIELDS_MAX     32   /* of one host */
#define HEADER_FIELD_LINE_MAX 8192 /* bytes */

bool header_field_may_set(const char *name);
bool header_field_is_value(const char *value);
/* Both must be good. -EFBIG: beyond the limits; -ENOMEM. */
NODISCARD int header_field_add(struct names *lines, const char *name, const char *value);
/* Whether both lines are of one field. */
bool header_field_same(const char *a, const char *b);
