/* SPDX-License-Identifier: Apache-2.0 */
/* `wasmocifs why`: the process that serves the mount explains; the path itself is not
 * touched. */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "fs/cli/command.h"
#include "fs/cli/keeper_file.h"
#include "fs/cli/mounts.h"
#include "fs/cli/path.h"
#include "fs/control.h"

static void line(const char *label, const json_t *answer, const char *key)
{
	const char *s = json_string_value(json_object_get(answer, key));
	struct err text; /* one line, printable */
	(void)err_set(&text, 0, "%s", s != NULL ? s : "");
	if (s != NULL)
		printf("  %-7s %s\n", label, text.text);
}

static void show(const struct mounts_entry *e, const json_t *answer)
{
	const char *at = json_string_value(json_object_get(answer, "path"));
	struct err path;
	(void)err_set(&path, 0, "%s%s", e->mountpoint, at != NULL ? at : "");
	puts(path.text);
	line("state", answer, "state");
	line("errno", answer, "errno");
	line("why", answer, "text");
	line("when", answer, "since");
	line("do", answer, "hint");
}

static int show_json(json_t *answer)
{
	if (json_dumpf(answer, stdout, JSON_INDENT(2)) < 0)
		return complain(CLI_FAILED, "cannot write the answer as JSON");
	putchar('\n');
	return CLI_DONE;
}

static int no_answer(const struct mounts_entry *e, int rc, const struct err *err)
{
	if ((rc == -ENOENT || rc == -ECONNREFUSED) && keeper_file_pid(e->uid, e->minor) > 0)
		return complain(CLI_FAILED,
				"the process that served the mount on %s has died, and another one "
				"is on its way; ask again",
				e->mountpoint);
	if (rc == -ENOENT || rc == -ECONNREFUSED)
		return complain(CLI_FAILED,
				"the process of the mount on %s has died: that is why; mount it "
				"again, or clear it away: wasmocifs unmount %s",
				e->mountpoint, e->mountpoint);
	return complain(CLI_FAILED, "the mount on %s: %s", e->mountpoint, err->text);
}

static int ask(const struct mounts_entry *e, const char *path, bool json)
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
	int rc = control_ask_about(e->uid, e->minor, "why", below, &answer, NULL, &err);
	if (rc < 0)
		return no_answer(e, rc, &err);
	int status = CLI_DONE;
	if (json)
		status = show_json(answer);
	else
		show(e, answer);
	json_decref(answer);
	return status;
}

int why_main(const struct cli_args *args)
{
	struct err err;
	struct mounts mounts;
	const struct mounts_entry *mount = NULL;
	char path[PATH_MAX];
	if (args->n_operands != 1)
		return complain(CLI_USAGE, "why: give one PATH in a mount");
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
		status = ask(mount, path, args->json);
	mounts_release(&mounts);
	return status;
}
