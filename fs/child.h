/* SPDX-License-Identifier: Apache-2.0 */
/* child — waiting for a process we started, for a bounded time. Layer: fs/. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Reaps a child. False if it still runs at deadline_ms (clock_ms): it is then
 * the caller's to kill, and not reaped. */
bool child_wait(pid_t pid, int64_t deadline_ms, int *ret_status);
/* poll(2) for one fd and one event until then. False: the time has come. */
bool child_poll(int fd, int64_t deadline_ms);
