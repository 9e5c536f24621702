/* SPDX-License-Identifier: Apache-2.0 */
/* config — the options of a machine or of a user, from a file. Layer: fs/cli.
 *
 * A command that has --config reads one file after its command line: that of
 * --config, else the user's if there is one, else the system's if there is one,
 * which is /etc/wasmocifs/wasmocifs.conf. The user's is wasmocifs/wasmocifs.conf
 * below $XDG_CONFIG_HOME or ~/.config (base/home.h); root has none, and neither has a
 * user where that is a directory of somebody else (other than root).
 *
 * What is in it is what options_in_file() takes, by its long name; what stands
 * on the command line or in -o counts, and the file's word for it does not.
 *
 * The file decides where credentials go, so one that somebody else than root or
 * the caller owns, or that others may write to, is refused. /dev/null is an
 * empty one. -EINVAL with a line for the user that begins with the file's path,
 * and the line's number where there is one: FILE:LINE: …
 */
#pragma once

#include "fs/cli/options.h"

#define CONFIG_SYSTEM "/etc/wasmocifs/wasmocifs.conf"
#define CONFIG_MAX    (64u << 10) /* bytes */

/* args: as options_parse has left them. -ENOMEM */
NODISCARD int config_apply(struct cli_args *args, struct err *err);
/* The same of a text, which is written to; text[len] is a NUL. */
NODISCARD int config_apply_text(const char *path, char *text, size_t len, struct cli_args *args,
				struct err *err);
