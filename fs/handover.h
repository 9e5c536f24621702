/* SPDX-License-Identifier: Apache-2.0 */
/* handover — what one worker leaves to the next, beside the table of nodes: what was agreed
 * upon with the kernel, and the requests that are being processed. Layer: fs/; no
 * libfuse.
 *
 * A shared memory file (memfd), as the nodes' is: the keeper (fs/cli/keeper.h) holds it,
 * the worker that serves has it mapped, and it is right at any instruction.
 *
 * The kernel sends again what it has no answer to, but FORGET has none: one that a worker
 * had read and not done when it died would be lost, and with it up to some thousand
 * counts. So requests are read into buffers that lie here, one for each thread of the
 * session. A buffer holds a request from the moment the kernel has copied it until
 * handover_done, and how many of its forgets are done stands beside it. (The kernel
 * finishes a copy that it has begun, whatever happens to the process.)
 *
 * Life: handover_new (keeper) → handover_attach (each worker) → handover_free.
 *
 * Threads: each buffer is one thread's. INIT, the generation and the identity are the
 * keeper's, which writes them while no worker serves. The memory is the cache's, with a lock
 * of its own there.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* The largest requests of a read-only mount are batches of FORGET, which fit
 * themselves to the buffer, and IOCTL (16 KiB). Pages are touched as used. */
#define HANDOVER_BUFFER  (64u << 10)
#define HANDOVER_BUFFERS 4u

/* The INIT request and the reply as written, headers included. */
#define HANDOVER_INIT_MAX 512
struct handover_init {
	uint32_t request_len, reply_len; /* reply_len 0: there was none yet */
	unsigned char request[HANDOVER_INIT_MAX];
	unsigned char reply[HANDOVER_INIT_MAX];
};

struct handover;

NODISCARD int handover_new(struct handover **ret, struct err *err);
/* The memfd stays the caller's. -EPROTO: it is none, or another version's. */
NODISCARD int handover_attach(int memfd, struct handover **ret, struct err *err);
int handover_fd(const struct handover *h); /* borrowed */
void handover_free(struct handover *h);    /* NULL is fine */

/* Which mount it is, in words of its keeper's: a later one goes on with it only if it wants the
 * same. "" at first. */
#define HANDOVER_IDENTITY 1024
char *handover_identity(struct handover *h);
/* How many workers have served the mount; 0 at first. The keeper's. */
uint32_t *handover_generation(struct handover *h);
/* len bytes, HANDOVER_MEMORY at the most, zero at first, for the cache: what of it was hashed. */
#define HANDOVER_MEMORY (576u << 10)
void *handover_memory(struct handover *h, size_t len);

struct handover_init *handover_init(struct handover *h);
/* HANDOVER_BUFFER bytes; i below HANDOVER_BUFFERS. */
void *handover_buffer(struct handover *h, unsigned i);
/* How many forgets of the request in the buffer were begun. */
uint32_t *handover_progress(struct handover *h, unsigned i);
/* The request there has been dealt with. */
void handover_done(struct handover *h, unsigned i);
