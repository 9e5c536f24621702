/* SPDX-License-Identifier: Apache-2.0 */
/* control_dir — the runtime directories of fs/control.h. Layer: fs/; used by
 * control.c and control_ask.c, and by fs/cli/mount.c, which sees to it that a
 * mount does not hide its own socket.
 *
 * A directory counts only if it is no symlink, belongs to the user in question
 * and is open to nobody else: /tmp is anybody's. Sockets are reached through
 * /proc/self/fd of the open directory, so that it cannot be exchanged in
 * between, and so that its path may be longer than a socket's name.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

#include "base/err.h"

#define CONTROL_DIRS 3 /* places for one user */

/* The fd of the i-th place of a user, or -ENOENT, -EACCES, -ENOTDIR, … */
NODISCARD int control_dir_open(uid_t uid, unsigned i, struct err *err);
/* The first place that can be used by us, made if need be. The fd, or -errno. */
NODISCARD int control_dir_make(struct err *err);
void control_address(int dir, unsigned minor, struct sockaddr_un *ret);
/* "57.sock". */
#define CONTROL_NAME_MAX 32
void control_name(unsigned minor, char ret[CONTROL_NAME_MAX]);
/* Several daemons and `status` may tidy the same directory: true if we have it
 * for ourselves, within 200 ms. The lock goes with the fd. */
bool control_dir_lock(int dir);
