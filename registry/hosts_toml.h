/* SPDX-License-Identifier: Apache-2.0 */
/* hosts_toml — containerd's hosts.toml (containerd docs/hosts.md). Layer:
 * registry/, internal; no I/O. */
#pragma once

#include "base/err.h"
#include "registry/endpoint.h"

#define HOSTS_TOML_MAX (256u << 10) /* bytes */

/* The [host."URL"] tables in the order of the file, then `server` with the
 * fields of the root; without a `server` that one is the registry itself. File
 * names are relative to dir. Fields that we do not know are passed over, as by
 * containerd; what cannot be understood is -EINVAL, -EFBIG: "line N: …". -ENOMEM. */
NODISCARD int hosts_toml_parse(const char *text, size_t len, const char *dir,
			       struct endpoint_list *ret, struct err *err);
/* As Go writes durations: "200ms", "1.5s", "1m30s". Milliseconds, at least 1.
 * -EINVAL: none, or longer than an hour. */
NODISCARD int hosts_toml_duration(const char *s, int64_t *ret_ms);
