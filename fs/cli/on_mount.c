/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/on_mount.h"

#include <limits.h>
#include <string.h>

#include "fs/cli/command.h"
#include "fs/cli/path.h"

int on_mount(const char *command, const struct cli_args *args,
	     int (*fn)(const struct mounts_entry *mount))
{
	struct err err;
	struct mounts mounts;
	const struct mounts_entry *mount = NULL;
	char path[PATH_MAX];
	if (args->n_operands != 1 || args->operands[0][0] == '\0')
		return complain(CLI_USAGE, "%s: give one MOUNTPOINT: wasmocifs %s /mnt/oci",
				command, command);
	if (mounts_read("/proc/self/mountinfo", &mounts, &err) < 0)
		return complain(CLI_FAILED, "%s", err.text);
	int status;
	int rc = path_resolve(args->operands[0], &mounts, path, &mount);
	if (rc < 0)
		status = complain(CLI_FAILED, "%s: %s", args->operands[0], strerror(-rc));
	else if (mount == NULL || strcmp(mount->mountpoint, path) != 0)
		status = complain(CLI_FAILED, "%s is not a wasmocifs mount; see 'wasmocifs status'",
				  path);
	else
		status = fn(mount);
	mounts_release(&mounts);
	return status;
}
