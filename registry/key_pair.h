/* SPDX-License-Identifier: Apache-2.0 */
/* key_pair — a certificate to show to a server, and its key. Layer: registry/,
 * internal; no I/O. */
#pragma once

#include "base/err.h"

/* Whether a TLS library can use them: both NUL-terminated PEM, which may be one text
 * for both. -EINVAL, with what is there instead. */
NODISCARD int key_pair_check(const char *cert, const char *key, struct err *err);
