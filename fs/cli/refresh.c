/* SPDX-License-Identifier: Apache-2.0 */
/* `wasmocifs refresh`: the process that serves the mount forgets; the path itself is not
 * touched. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "fs/cli/command.h"
#include "fs/cli/on_mount.h"

static int answer(const struct cli_args *args, const struct mounts_entry *e, json_t *answer)
{
	const char *state = json_string_value(json_object_get(answer, "state"));
	const char *of = json_string_value(json_object_get(answer, "of"));
	json_int_t lingers = json_integer_value(json_object_get(answer, "lingers_ms"));
	json_int_t count = json_integer_value(json_object_get(answer, "count"));
	struct err text;
	(void)args;
	(void)e;
	(void)err_set(&text, 0, "%s", of != NULL ? of : "that");
	if (state != NULL && strcmp(state, "immutable") == 0) {
		printf("nothing to forget: %s never changes\n", text.text);
	} else if (state != NULL && strcmp(state, "nothing") == 0) {
		printf("nothing to forget: %s will be asked about anyhow\n", text.text);
	} else {
		printf("%s: asked anew at the next use (%" JSON_INTEGER_FORMAT
		       " answer%s forgotten)\n",
		       text.text, count, count == 1 ? "" : "s");
		if (lingers > 0)
			printf("directories that were walked lately follow within "
			       "%" JSON_INTEGER_FORMAT " s\n",
			       (lingers + 999) / 1000);
	}
	return CLI_DONE;
}

int refresh_main(const struct cli_args *args)
{
	return on_path("refresh", "refresh", args, answer);
}
