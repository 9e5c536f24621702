/* SPDX-License-Identifier: Apache-2.0 */
/* capabilities — giving them up (capabilities(7)). Layer: fs/. */
#pragma once

#include <stddef.h>

#include "base/macros.h"

/* Of this thread, and of what it starts: none but these (CAP_…), as far as it has them, and no
 * way to get another one. -errno. */
NODISCARD int capabilities_keep(const int *caps, size_t n);
/* As faccessat(2), for one who has given up root's right to write everywhere. Mode of access(2).
 * -errno. One thread at a time: it gives that up meanwhile. */
NODISCARD int capabilities_access(const char *path, int mode);
