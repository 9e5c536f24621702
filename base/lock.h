/* SPDX-License-Identifier: Apache-2.0 */
/* lock — a mutex that knows its owner. Layer: base/.
 *
 * Never held across I/O, a callback or a reply. The order in which several
 * may be taken stands in docs/architecture.md.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

struct CAPABILITY("mutex") lock {
	pthread_mutex_t mutex;
	pthread_t owner; /* meaningful while held */
	bool held;
};

void lock_init(struct lock *l);
void lock_release(struct lock *l);
void lock_take(struct lock *l) ACQUIRES(*l);
void lock_drop(struct lock *l) RELEASES(*l);
void lock_assert_held(const struct lock *l);

/* A condition that goes with a lock; time is CLOCK_MONOTONIC. */
struct cond {
	pthread_cond_t cond;
};

void cond_init(struct cond *c);
void cond_release(struct cond *c);
void cond_wait(struct cond *c, struct lock *l) REQUIRES(*l);
/* Until at_ms of clock_ms(). False once that time has come. */
bool cond_wait_until(struct cond *c, struct lock *l, int64_t at_ms) REQUIRES(*l);
void cond_signal(struct cond *c);
void cond_broadcast(struct cond *c);
