/* SPDX-License-Identifier: Apache-2.0 */
/* path — where a path leads, without touching a file system of ours. Layer:
 * fs/cli. The daemon behind a mount may be stuck, and then even a stat of its
 * root would wait; so paths are walked up to a mount and no further. */
#pragma once

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>

#include "base/macros.h"
#include "fs/cli/mounts.h"

/* New string. -ENOMEM, or -errno of getcwd. */
NODISCARD int path_absolute(const char *path, char **ret);

/* The absolute path with every symlink resolved, up to the first mount of ours
 * (what follows it stays as it was written, with "." and ".." taken literally).
 * What does not exist is no error. *ret_mount is the mount at or above it, or
 * NULL. -ENAMETOOLONG, -ELOOP, -errno of getcwd. */
NODISCARD int path_resolve(const char *path, const struct mounts *mounts, char ret[PATH_MAX],
			   const struct mounts_entry **ret_mount);

/* Whether a resolved path is `top`, itself resolved, or lies below it. */
bool path_is_within(const char *path, const char *top);

/* A path in JSON. Where it is no UTF-8, which JSON has to be, '?' stands for each byte beyond
 * ASCII. NULL: no memory. */
json_t *path_json(const char *path);
