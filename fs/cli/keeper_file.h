/* SPDX-License-Identifier: Apache-2.0 */
/* keeper_file — how a keeper is found while there is no worker that could be asked: a file
 * beside the control socket (fs/control.h), "57.keeper", with the pid in it and a lock on
 * it (flock) for as long as the keeper lives. Layer: fs/cli. */
#pragma once

#include <sys/types.h>

#include "base/err.h"

/* Makes it, and removes those of keepers that are gone. The fd, which holds the lock; -errno. */
NODISCARD int keeper_file_make(unsigned minor, struct err *err);
void keeper_file_remove(unsigned minor, int fd); /* closes fd; -1 is fine */
/* 0: there is no keeper. */
pid_t keeper_file_pid(uid_t uid, unsigned minor);
