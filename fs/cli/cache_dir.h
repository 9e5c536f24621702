/* SPDX-License-Identifier: Apache-2.0 */
/* cache_dir — which cache directory is meant where none is given, the same for all commands.
 * Layer: fs/cli. */
#pragma once

#include "base/err.h"

/* New string. -ENOENT: there is no home directory to keep one in; -ENOMEM. */
NODISCARD int cache_dir_default(char **ret, struct err *err);
