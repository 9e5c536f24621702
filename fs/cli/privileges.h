/* SPDX-License-Identifier: Apache-2.0 */
/* privileges — what a worker gives up before it reads a request. Layer: fs/cli. Before there are
 * threads.
 *
 * It keeps
 *
 *	CAP_SYS_ADMIN        the kernel wants it for passthrough (fs/backing.h), at each open: to
 *	                     ask the keeper each time would cost two switches between
 *	                     processes. What else it is good for, the filter refuses
 *	CAP_DAC_READ_SEARCH  root reads credentials and layouts that belong to users
 *	CAP_SYS_PTRACE       only where /proc hides processes (hidepid): whether a caller is
 *	                     to be let go stands there (fs/signals.h)
 *
 * as far as whoever mounted has them: an ordinary user has none. no_new_privs holds for it and
 * for what it starts. The filter (seccomp) refuses with EPERM what mounts, traces other
 * processes, loads code into the kernel or changes the machine; so unmounting is the keeper's.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/* -errno: something of it could not be given up. */
NODISCARD int privileges_drop(bool passthrough, struct err *err);
