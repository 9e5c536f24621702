/* SPDX-License-Identifier: Apache-2.0 */
/* park — waits for something that another thread brings about, as long as a
 * call lasts. Layer: registry/, internal.
 *
 * The lock is not held on entry nor on return: call wakers run under the
 * call's lock and take this one, so the order is call, then lock, and nobody
 * may touch the call with the lock held.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/call.h"
#include "base/err.h"
#include "base/lock.h"

/* Looks only; called with the lock held. */
typedef bool (*park_ready_fn)(const void *ctx);

/* 1: ready. 0: at_ms of clock_ms() has come. -ECANCELED, -ETIMEDOUT: the call
 * has ended. Whoever makes it ready broadcasts the condition. */
NODISCARD int park(struct lock *lock, struct cond *cond, park_ready_fn ready, const void *ctx,
		   struct call *call, int64_t at_ms, struct err *err);
/* 0 once at_ms has come, or the call's errno. */
NODISCARD int park_sleep(struct call *call, int64_t at_ms, struct err *err);
