/* SPDX-License-Identifier: Apache-2.0 */
/* fdstore — a mount that outlives its processes while systemd restarts their unit. Layer:
 * fs/cli.
 *
 * What a keeper holds is put into the service manager's keeping (FileDescriptorStoreMax= of
 * systemd.service(5), FDSTORE=1 of sd_notify(3)). When the unit is restarted, the keeper ends
 * without unmounting (KEEPER_LEAVE_SIGNAL, the unit's RestartKillSignal=), and the next one is
 * given the descriptors again (LISTEN_FDS of sd_listen_fds(3)): whoever uses the mount waits a
 * moment. When it is stopped, the mount goes as always.
 *
 * $FDSTORE says that there is room: systemd sets it since 254, the unit for those before.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "fs/cli/held.h"

/* True: the manager was asked to keep them. Whether it does, it does not say. */
bool fdstore_keep(const struct held *h);
/* The mount is gone: they need not be kept. */
void fdstore_forget(void);
/* What was kept for a process of this unit, if anything, without its title; the variables are taken
 * out of the environment. What is another mount (struct held_options), or cannot be used, is
 * closed; *ret then has its minor, for it may be mounted still. */
void fdstore_take(const char *identity, struct held *ret);
