/* SPDX-License-Identifier: Apache-2.0 */
/* heartbeat — whether a mount still answers, found out from outside. Layer: fs/cli; for the
 * keeper.
 *
 * A worker may live and yet serve nobody: stopped, or stuck. Now and then a child asks for the
 * attributes of the mount's root, which a worker answers from memory; the keeper itself
 * never touches the mount. What is mounted over it by now is not asked.
 *
 * Life: HEARTBEAT_NONE → heartbeat_look, again and again: when next_at has come, and when pidfd
 * is readable → heartbeat_stop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define HEARTBEAT_MS      10000 /* from an answer to the next question */
#define HEARTBEAT_WAIT_MS 20000 /* for an answer */

struct heartbeat {
	pid_t pid;  /* of the child that asks; 0: none does */
	pid_t left; /* one that was given up and may not have ended yet; 0: none */
	int pidfd;
	int64_t next_at; /* of clock_ms: when there is something to look at; INT64_MAX: never */
};

#define HEARTBEAT_NONE ((struct heartbeat){.pidfd = -1, .next_at = INT64_MAX})

/* False: there was no answer in time. minor: of the mount's device. */
bool heartbeat_look(struct heartbeat *h, const char *mountpoint, unsigned minor);
/* Gives up on the child, which may be left waiting until the mount answers or ends. */
void heartbeat_stop(struct heartbeat *h);
