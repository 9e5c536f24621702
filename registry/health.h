/* SPDX-License-Identifier: Apache-2.0 */
/* health — whether a host answers. Layer: registry/, internal; no I/O.
 *
 * A host that failed is down for a while, with the errno that it failed with;
 * then one question tries it, and until that has ended all others still get
 * the errno. An answer of any kind clears it. A host that asked us to wait
 * (Retry-After) holds back all questions till then: health_hold where those who
 * ask can wait, and where they cannot, health_gate, with which it is down till
 * then.
 *
 * Threads: all functions from any thread; they never wait.
 */
#pragma once

#include "base/lock.h"
#include "registry/source.h"

struct health {
	struct lock lock;
	/* guarded by lock */
	struct source_health last;
	int down;         /* 0, or -errno */
	int64_t until_ms; /* of down */
	bool trying;
	int64_t hold_until_ms;
	/* fixed */
	int64_t down_ms;
};

void health_init(struct health *h, int64_t down_ms);
void health_release(struct health *h);
/* Before a question. 0, or the errno while the host is down. *ret_trial: this
 * is the one that tries; it must end with one of the six below. */
NODISCARD int health_enter(struct health *h, bool *ret_trial, struct err *err);
void health_good(struct health *h);
/* It answered, and refused: it is there, and this is what it says. */
void health_refused(struct health *h, const char *text);
/* It answered and wants a token, which its token server, that failed with code, cannot
 * give: no question is kept from the host for it. */
void health_no_token(struct health *h, int code, const char *text);
void health_failed(struct health *h, int code, const char *text);
/* As health_failed, until then. */
void health_gate(struct health *h, int code, const char *text, int64_t until_ms);
/* It ended without a word about the host. */
void health_leave(struct health *h, bool trial);
/* As source_down: without taking part. */
int health_down(struct health *h, struct err *err);
void health_hold(struct health *h, int64_t until_ms);
int64_t health_held_until(struct health *h);
void health_get(struct health *h, struct source_health *ret);
