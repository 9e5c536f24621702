/* SPDX-License-Identifier: Apache-2.0 */
/* capabilities — giving them up (capabilities(7)). Layer: fs/. */
#pragma once

#include <stddef.h>

#include "base/macros.h"

/* Of this thread, and of what it starts: none but these (CAP_…), as far as it has them, and no
 * way to get another one. -errno. */
NODISCARD int capabilities_keep(const int *caps, size_t n);
