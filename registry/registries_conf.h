/* SPDX-License-Identifier: Apache-2.0 */
/* registries_conf — registries.conf of podman, buildah and skopeo, version 2
 * (containers-registries.conf(5)), as far as it is about one registry. Layer:
 * registry/, internal; no I/O.
 *
 * Short names and their aliases mean nothing here: names in the mount are whole.
 */
#pragma once

#include "base/err.h"
#include "registry/endpoint.h"

#define REGISTRIES_CONF_MAX (1u << 20) /* of one file: bytes */

/* Helpers of a credential-helpers that is not empty take the place of those before.
 * Adds a group for each [[registry]] whose prefix is host ("HOST" or "HOST:PORT"), lies
 * below it, or is a "*.DOMAIN" that host is in. One with the same prefix, of an
 * earlier file, is replaced. file is what messages call it. -EINVAL, -EFBIG: "line N:
 * …". -ENOMEM. */
NODISCARD int registries_conf_parse(const char *text, size_t len, const char *file,
				    const char *host, struct endpoint_groups *groups,
				    struct err *err);
