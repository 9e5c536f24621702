/* SPDX-License-Identifier: Apache-2.0 */
/* call — one piece of blocking work that can run out of time or be given up.
 * Layer: base/.
 *
 * Whoever starts the work owns the call and keeps it until the work has
 * returned. The work passes it down to everything that may wait. Any thread
 * may cancel it, once or often. A wait deep below (a transfer, a lock of
 * another process) registers a waker, so that a cancellation ends it at once.
 *
 * What the other side said last is kept in the call, so that whoever runs out of
 * patience can tell a host that refuses from one that is silent.
 *
 * Threads: call_cancel, call_check and call_said from any thread. The waker runs in the
 * canceller's thread, under the call's own lock, and must only signal; it
 * never runs again after call_set_waker(call, NULL, NULL) has returned.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/lock.h"

typedef void (*call_waker_fn)(void *ctx);

struct call {
	struct lock lock;
	bool cancelled;      /* guarded by lock */
	call_waker_fn waker; /* guarded by lock */
	void *waker_ctx;     /* guarded by lock */
	int said_code;       /* guarded by lock */
	struct err said;     /* guarded by lock */
	int64_t deadline_ms; /* clock_ms(); INT64_MAX: none. Only the work itself may move it. */
};

void call_init(struct call *c, int64_t deadline_ms);
void call_release(struct call *c);
void call_cancel(struct call *c);
/* 0, -ECANCELED, or -ETIMEDOUT. */
NODISCARD int call_check(struct call *c, struct err *err);
/* The other side failed with this, in words of its own, and is asked again; 0: it
 * answered. If time runs out now, this is why. */
void call_say(struct call *c, int code, const char *text);
/* The code it said last, with its text; 0: nothing, or all is well. */
int call_said(struct call *c, struct err *err);
/* One waker at a time. If the call is cancelled already, it runs at once. */
void call_set_waker(struct call *c, call_waker_fn waker, void *ctx);
