/* SPDX-License-Identifier: Apache-2.0 */
/* link — the Link field (RFC 8288), for the next page of a listing. Layer:
 * registry/, internal; no I/O. */
#pragma once

#include <stddef.h>

#include "base/macros.h"
#include "registry/url.h"

/* The target of the first link whose rel contains "next", as it stands
 * between '<' and '>'. Several fields are joined with ", " before they come
 * here. 1: *ret is set, new. 0: there is none. -ENOMEM. */
NODISCARD int link_next(const char *s, size_t len, char **ret);

/* Where such a target leads, seen from the page it stood on: always to our own
 * scheme, host and port, since credentials go there. -EINVAL, -ENOMEM. */
NODISCARD int link_resolve(const struct url *page, const char *target, struct url *ret);
