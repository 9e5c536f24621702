/* SPDX-License-Identifier: Apache-2.0 */
/* `wasmocifs why`: the process that serves the mount explains; the path itself is not
 * touched. */
#include <jansson.h>
#include <stdio.h>

#include "base/err.h"
#include "fs/cli/command.h"
#include "fs/cli/mounts.h"
#include "fs/cli/on_mount.h"

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
	line("asked", answer, "asked");
	if (json_is_string(json_object_get(answer, "hint")) &&
	    !json_is_string(json_object_get(answer, "since")))
		puts("  when    it is so now, whenever it is tried");
	line("when", answer, "since");
	line("do", answer, "hint");
}

static int answer(const struct cli_args *args, const struct mounts_entry *e, json_t *answer)
{
	if (args->json)
		return print_json(json_incref(answer));
	show(e, answer);
	return CLI_DONE;
}

int why_main(const struct cli_args *args)
{
	return on_path("why", "why", args, answer);
}
