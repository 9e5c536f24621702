/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/on_mount.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "fs/cli/command.h"
#include "fs/cli/keeper_file.h"
#include "fs/cli/path.h"
#include "fs/control.h"

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

const char *or_elsewhere(void)
{
	return geteuid() == 0 ? "" : " (or it was mounted with another XDG_RUNTIME_DIR: set that)";
}

bool may_ask(const struct mounts_entry *e)
{
	return geteuid() == 0 || geteuid() == e->uid;
}

int check_user(const struct mounts_entry *e, const char *what)
{
	return may_ask(e)
		   ? CLI_DONE
		   : complain(CLI_FAILED,
			      "the mount on %s belongs to user %u; only they and root can %s",
			      e->mountpoint, (unsigned)e->uid, what);
}

static int no_answer(const struct mounts_entry *e, int rc, const struct err *err)
{
	/* Where its process is to be asked may be hidden from others. */
	int status = check_user(e, "ask");
	if (status != CLI_DONE)
		return status;
	if ((rc == -ENOENT || rc == -ECONNREFUSED) && keeper_file_pid(e->uid, e->minor) > 0)
		return complain(CLI_FAILED,
				"the process that served the mount on %s has died, and another one "
				"is on its way; ask again",
				e->mountpoint);
	if (rc == -ENOENT || rc == -ECONNREFUSED)
		return complain(CLI_FAILED,
				"the process of the mount on %s has died: that is why; mount it "
				"again, or clear it away: wasmocifs unmount %s%s",
				e->mountpoint, e->mountpoint, or_elsewhere());
	if (rc == -ETIMEDOUT)
		return complain(CLI_FAILED,
				"the process of the mount on %s does not answer; ask again, and if "
				"that lasts, end it: wasmocifs abort %s",
				e->mountpoint, e->mountpoint);
	return complain(CLI_FAILED, "the mount on %s: %s", e->mountpoint, err->text);
}

static int
ask(const char *op, const struct mounts_entry *e, const char *path, const struct cli_args *args,
    int (*show)(const struct cli_args *args, const struct mounts_entry *mount, json_t *answer))
{
	struct err err = {""};
	json_t *answer = NULL;
	const char *below = path + strlen(e->mountpoint) * (strcmp(e->mountpoint, "/") != 0);
	if (!e->whole)
		return complain(
		    CLI_FAILED,
		    "%s shows a part of a mount only; name the path in the mount itself "
		    "(see 'wasmocifs status')",
		    e->mountpoint);
	int rc = control_ask_about(e->uid, e->minor, op, below, &answer, NULL, &err);
	if (rc < 0)
		return no_answer(e, rc, &err);
	int status = show(args, e, answer);
	json_decref(answer);
	return status;
}

int on_path(const char *command, const char *op, const struct cli_args *args,
	    int (*show)(const struct cli_args *args, const struct mounts_entry *mount,
			json_t *answer))
{
	struct err err;
	struct mounts mounts;
	const struct mounts_entry *mount = NULL;
	char path[PATH_MAX];
	if (args->n_operands != 1 || args->operands[0][0] == '\0')
		return complain(CLI_USAGE, "%s: give one PATH in a mount", command);
	if (mounts_read("/proc/self/mountinfo", &mounts, &err) < 0)
		return complain(CLI_FAILED, "%s", err.text);
	int status;
	int rc = path_resolve(args->operands[0], &mounts, path, &mount);
	if (rc < 0)
		status = complain(CLI_FAILED, "%s: %s", args->operands[0], strerror(-rc));
	else if (mount == NULL)
		status = complain(CLI_FAILED,
				  "%s lies in no wasmocifs mount; see 'wasmocifs status'", path);
	else
		status = ask(op, mount, path, args, show);
	mounts_release(&mounts);
	return status;
}
