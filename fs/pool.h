/* SPDX-License-Identifier: Apache-2.0 */
/* pool — threads for work that blocks. Layer: fs/.
 *
 * A mount has several, so that one kind of waiting never delays another
 * (fs/fetch.h). Threads start when work arrives and none is idle, up to the
 * pool's size; jobs run in the order they came.
 *
 * Threads: pool_submit from any thread; it never blocks. A job must end once
 * its call is cancelled: pool_stop waits for the running ones, and runs what
 * is still queued (which is expected to fail at once then). Jobs of one pool may
 * submit to another, so all are stopped before any is freed.
 */
#pragma once

#include "base/macros.h"

struct pool;

typedef void (*pool_fn)(void *arg);

NODISCARD int pool_new(const char *thread_name, unsigned threads, struct pool **ret);
/* Not queued, fn will not run: -ENOMEM; -EAGAIN: no thread can be started;
 * -ECANCELED: stopped. */
NODISCARD int pool_submit(struct pool *p, pool_fn fn, void *arg);
void pool_stop(struct pool *p); /* NULL is fine; once or more often, by one thread */
void pool_free(struct pool *p); /* stops it; NULL is fine */
