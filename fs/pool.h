/* SPDX-License-Identifier: Apache-2.0 */
/* pool — threads for work that blocks. Layer: fs/.
 *
 * A mount has three, so that one kind of waiting never delays another: one
 * for the disk, one for questions to the origin, one for transfers. Threads
 * start when work arrives and none is idle, up to the pool's size; jobs run in
 * the order they came.
 *
 * Threads: pool_submit from any thread; it never blocks. A job must end once
 * its call is cancelled: pool_free waits for the running ones, and runs what
 * is still queued (which is expected to fail at once then).
 */
#pragma once

#include "base/macros.h"

struct pool;

typedef void (*pool_fn)(void *arg);

NODISCARD int pool_new(const char *thread_name, unsigned threads, struct pool **ret);
/* -ENOMEM: not queued, fn will not run. */
NODISCARD int pool_submit(struct pool *p, pool_fn fn, void *arg);
void pool_free(struct pool *p); /* NULL is fine */
