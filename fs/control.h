/* SPDX-License-Identifier: Apache-2.0 */
/* control — how a running mount is asked about itself. Layer: fs/.
 *
 * A unix stream socket for each mount, in the runtime directory of the user
 * who mounted (0700):
 *
 *	root        /run/wasmocifs
 *	others      $XDG_RUNTIME_DIR/wasmocifs, /run/user/<uid>/wasmocifs
 *	both, last  /tmp/wasmocifs-<uid>
 *
 * The first that exists or can be made is used. The name is the minor number
 * of the mount's device ("57.sock"): it is unique on the machine while the
 * mount lives, stays when the mount is moved, is the same in every mount
 * namespace, and stands in mountinfo, so nobody has to touch the mount to
 * find its socket. Nothing is asked through the mount itself.
 *
 * One request for each connection: a line of JSON {"op":"status"}, or of
 * {"op":"why","path":"/org/hello:v1"} where an op is about a path, answered by
 * one JSON object and the end of the stream; {"error":"…"} if it failed. Only
 * the user who mounted and root are answered (SO_PEERCRED).
 *
 * A daemon that was killed leaves its socket, which refuses connections; the
 * next mount and `wasmocifs status` remove it (control_sweep).
 *
 * Threads: the server is one thread. It waits for a client at most
 * CONTROL_TIMEOUT_MS, and never for the mount or the network: an op must
 * answer from memory.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

#define CONTROL_REQUEST_MAX (32u << 10) /* bytes: a path, each byte of it escaped */
#define CONTROL_REPLY_MAX   (4u << 20)  /* bytes: SITES_MAX registries, and their mirrors */
#define CONTROL_TIMEOUT_MS  1000        /* for a whole exchange, on either side */

struct control;

struct control_op {
	const char *name;
	/* New object, or NULL with err filled. In the server's thread. */
	json_t *(*run)(void *ctx, const json_t *request, struct err *err);
};

/* ops and ctx are borrowed until control_free. -errno of the directory or socket. */
NODISCARD int control_new(unsigned minor, const struct control_op *ops, size_t n_ops, void *ctx,
			  struct control **ret, struct err *err);
/* Ends the thread and removes the socket. NULL is fine. */
void control_free(struct control *c);

/* Asks the daemon of a mount that belongs to uid. *ret is a new object;
 * *ret_pid (may be NULL) is the process that listens. -ENOENT, -ECONNREFUSED:
 * there is no daemon; -ETIMEDOUT: it does not answer; -EACCES: the socket is
 * not that user's, or not for us; -EPROTO: the answer makes no sense; -EIO: the
 * daemon says why not. Blocks at most CONTROL_TIMEOUT_MS. */
NODISCARD int control_ask(uid_t uid, unsigned minor, const char *op, json_t **ret, pid_t *ret_pid,
			  struct err *err);
/* The same about a path below the mountpoint. -EINVAL: it is no text. */
NODISCARD int control_ask_about(uid_t uid, unsigned minor, const char *op, const char *path,
				json_t **ret, pid_t *ret_pid, struct err *err);

/* The same with a request of its own (borrowed), which has its "op". -EMSGSIZE: beyond
 * CONTROL_REQUEST_MAX. */
NODISCARD int control_ask_with(uid_t uid, unsigned minor, json_t *request, json_t **ret,
			       pid_t *ret_pid, struct err *err);

/* Every socket of a user, after those of dead daemons were removed. */
typedef void (*control_found_fn)(void *ctx, unsigned minor);
void control_sweep(uid_t uid, control_found_fn found, void *ctx);
