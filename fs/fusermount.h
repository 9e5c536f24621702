/* SPDX-License-Identifier: Apache-2.0 */
/* fusermount — mounts for ordinary users, by the set-uid helper of the package
 * fuse3. Layer: fs/.
 *
 * The helper opens /dev/fuse, mounts, and hands the fd back over a socket whose
 * number stands in _FUSE_COMMFD. What it says to its stderr becomes the error
 * text. Blocks until it is done, at most FUSERMOUNT_WAIT_MS.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

#define FUSERMOUNT_WAIT_MS 10000

/* The new fd, close-on-exec. -EPERM: refused, or the helper is not installed;
 * -ETIMEDOUT; -EIO: it broke its protocol; -errno of what could not be started. */
NODISCARD int fusermount_mount(const char *mountpoint, const char *options, int *ret,
			       struct err *err);
/* As above; -EBUSY. */
NODISCARD int fusermount_unmount(const char *mountpoint, bool lazy, struct err *err);
