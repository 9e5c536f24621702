/* SPDX-License-Identifier: Apache-2.0 */
/* mount.wasmocifs SOURCE DIR [-sfnv] [-t TYPE] [-o OPTIONS]: how mount(8) and
 * systemd mount what fstab says. */
#include "fs/cli/command.h"
#include "fs/cli/config.h"
#include <errno.h>

#include <string.h>

/* Exit status, mount(8) "EXIT STATUS". */
enum { HELPER_USAGE = 1, HELPER_FAILED = 32 };

static int mount_as_told(const struct cli_args *args)
{
	switch (mount_main(args)) {
	case CLI_DONE:
		return CLI_DONE;
	case CLI_USAGE:
		return HELPER_USAGE;
	default:
		return HELPER_FAILED;
	}
}

int helper_main(int argc, char **argv)
{
	struct cli_args args;
	struct err err;
	int status = CLI_DONE;
	cli_args_init(&args);
	int rc = options_parse(CLI_HELPER, argc, argv, &args, &err);
	if (rc == 0 && args.n_operands != 2)
		rc = err_set(&err, -EINVAL,
			     "give a source and a directory: mount -t wasmocifs ghcr.io /mnt/oci");
	if (rc == 0)
		rc = config_apply(&args, &err);
	if (rc == 0 && args.fake)
		rc = mount_check(&args, &err);
	if (rc < 0)
		status = complain(HELPER_USAGE, "mount: %s", err.text);
	else if (!args.fake)
		status = mount_as_told(&args);
	cli_args_release(&args);
	return status;
}
