/* SPDX-License-Identifier: Apache-2.0 */
/* daemon — goes into the background, and lets whoever waits in the foreground
 * know how that went. Layer: fs/cli. Before there are threads. */
#pragma once

#include <sys/types.h>

#include "base/err.h"

#define DAEMON_WAIT_MS 30000

/* Forks. In the child 0: a session of its own, working directory /, standard
 * streams on /dev/null, *ret_fd to report through. In the parent the child's
 * pid, *ret_fd to wait on. -errno. */
NODISCARD pid_t daemon_fork(int *ret_fd, struct err *err);
/* Child: it works (status 0), or why not, and the exit status that the parent is to have.
 * Closes fd. -EPIPE: nobody waits any more. */
int daemon_report(int fd, int status, const char *failure);
/* Parent: 0 once the child reports that it works. Else the exit status; err says why not, and
 * the child has ended or been killed. */
NODISCARD int daemon_wait(int fd, pid_t child, struct err *err);
