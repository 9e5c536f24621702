/* SPDX-License-Identifier: Apache-2.0 */
/* mountinfo — a reader of /proc/PID/mountinfo (proc(5)). Layer: fs/; a leaf.
 *
 * The line, fields apart by one space, which is "\040" inside a field:
 *	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
 */
#pragma once

#include "base/macros.h"

#define MOUNTINFO_FIELD_MAX 4096 /* bytes with the NUL; longer ones do not match anything */

struct mountinfo_entry {
	unsigned major, minor;
	char mountpoint[MOUNTINFO_FIELD_MAX]; /* escapes undone */
	char fstype[128];
	char source[MOUNTINFO_FIELD_MAX];
};

/* One line, with or without its newline. -EINVAL. */
NODISCARD int mountinfo_parse(const char *line, struct mountinfo_entry *ret);
/* The topmost mount on a path (several may cover each other). -ENOENT; -errno of the file. */
NODISCARD int mountinfo_find(const char *file, const char *mountpoint, struct mountinfo_entry *ret);
