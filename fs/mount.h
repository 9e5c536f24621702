/* SPDX-License-Identifier: Apache-2.0 */
/* mount — mounting and unmounting, as root by mount(2) or as an ordinary user
 * through fusermount3. Layer: fs/. The daemon never touches its own mount by
 * path: everything here happens before it serves, or in another process. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct mount_options {
	const char *mountpoint; /* absolute, real path */
	const char *way;        /* root's, if not that path: "/proc/self/fd/7"; NULL: that path */
	const char *source;     /* shown in /proc/mounts: "ghcr.io" */
	bool allow_other;
	bool noexec; /* fstab asked for it; AOT files cannot be mapped then */
};

/* Type fuse.wasmocifs, ro, nosuid, nodev, default_permissions. Returns the
 * /dev/fuse fd (close-on-exec) in *ret; may wait a second for a mount of ours
 * that is there already, and replaces it if it is stale. Errors with what to do: -ENODEV no
 * /dev/fuse, -EPERM (fusermount3 missing, or user_allow_other not set), -EACCES: a user who may not
 * write to the mountpoint, -ENOENT, -ENOTDIR, -EBUSY: wasmocifs is mounted there and answers. */
NODISCARD int mount_open(const struct mount_options *o, int *ret, struct err *err);

/* What is mounted at a path now, by /proc/self/mountinfo, without touching it. */
enum mount_state { MOUNT_NONE, MOUNT_OTHER, MOUNT_OURS };
/* ret_minor (may be NULL, written for MOUNT_OURS): the connection's number. */
enum mount_state mount_state(const char *mountpoint, unsigned *ret_minor);
/* Whether our mount is a stale one: its daemon is gone (ENOTCONN). A daemon
 * that lives but does not answer within a second is none; this never hangs. */
bool mount_is_stale(const char *mountpoint);
/* Plain unmount; lazy detaches at once. -EBUSY, -EINVAL: nothing mounted, -EPERM. */
NODISCARD int mount_close(const char *mountpoint, bool lazy, struct err *err);
/* Ends the connection of a mount's device, whoever holds it, through the fusectl file system.
 * -errno: that is not mounted, or not ours to use. */
NODISCARD int mount_abort(unsigned minor);
