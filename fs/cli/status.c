/* SPDX-License-Identifier: Apache-2.0 */
/* `wasmocifs status`: mountinfo says which mounts there are, the process of
 * each says the rest. */
#include "fs/cli/status.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/cli/command.h"
#include "fs/cli/keeper_file.h"
#include "fs/cli/metrics_text.h"
#include "fs/cli/mounts.h"
#include "fs/cli/on_mount.h"
#include "fs/cli/path.h"
#include "fs/cli/table.h"
#include "fs/control.h"

/* What can be said of a mount whose process does not: the same members. */
static json_t *make_stub(const struct mounts_entry *e, const char *state)
{
	return json_pack("{s:o, s:[o], s:n, s:n, s:s, s:n, s:n, s:n, s:n, s:[]}", "mountpoint",
			 path_json(e->mountpoint), "sources", path_json(e->source), "version",
			 "started", "state", state, "pid", "worker_pid", "generation", "cache",
			 "hosts");
}

static json_t *ask(const struct mounts_entry *e)
{
	json_t *mount = NULL;
	if (!may_ask(e))
		return make_stub(e, "denied");
	int rc = control_ask(e->uid, e->minor, "status", &mount, NULL, NULL);
	if (rc == -ENOENT || rc == -ECONNREFUSED)
		return make_stub(e, keeper_file_pid(e->uid, e->minor) > 0 ? "restarting" : "stale");
	if (rc < 0)
		return make_stub(e, "silent");
	/* It may have been moved since. */
	if (e->whole)
		(void)json_object_set_new(mount, "mountpoint", path_json(e->mountpoint));
	return mount;
}

struct collecting {
	const struct mounts *mounts;
	json_t *all;
};

/* A socket that answers for a mount which mountinfo does not show: detached but
 * in use, or in another mount namespace. */
static void add_detached(void *ctx, unsigned minor)
{
	struct collecting *c = ctx;
	json_t *mount = NULL;
	if (mounts_by_minor(c->mounts, minor) != NULL)
		return;
	if (control_ask(geteuid(), minor, "status", &mount, NULL, NULL) < 0)
		return;
	(void)json_object_set_new(mount, "state", json_string("detached"));
	(void)json_array_append_new(c->all, mount);
}

static json_t *collect(const struct mounts *mounts)
{
	struct collecting c = {.mounts = mounts, .all = json_array()};
	for (size_t i = 0; i < mounts->n && c.all != NULL; i++) {
		const struct mounts_entry *e = &mounts->v[i];
		if (may_ask(e) && mounts_by_minor(mounts, e->minor) == e)
			(void)json_array_append_new(c.all, ask(e));
	}
	if (c.all != NULL)
		control_sweep(geteuid(), add_detached, &c);
	return c.all;
}

static int show_all(const struct mounts *mounts, const struct cli_args *args)
{
	json_t *all = collect(mounts);
	int status = CLI_DONE;
	if (all == NULL)
		return complain(CLI_FAILED, "out of memory");
	if (args->json)
		status = print_json(json_incref(all));
	else if (args->metrics)
		metrics_text(stdout, all);
	else if (json_array_size(all) == 0)
		puts("no mounts");
	else
		status_show_table(stdout, all, table_watched_width());
	json_decref(all);
	return status;
}

/* A mount that does not answer is a failure, whatever could be said of it. */
static int judge(const struct mounts_entry *e, const json_t *mount)
{
	const char *state = json_string_value(json_object_get(mount, "state"));
	if (state == NULL || strcmp(state, "serving") == 0)
		return CLI_DONE;
	int status = check_user(e, "ask");
	if (status != CLI_DONE)
		return status;
	if (strcmp(state, "stale") == 0)
		return complain(CLI_FAILED,
				"the process of the mount on %s has died; clear it away: "
				"wasmocifs unmount %s%s",
				e->mountpoint, e->mountpoint, or_elsewhere());
	if (strcmp(state, "restarting") == 0)
		return complain(CLI_FAILED,
				"the process that served the mount on %s has died, and another one "
				"is on its way; ask again",
				e->mountpoint);
	return complain(CLI_FAILED,
			"the process of the mount on %s does not answer; if that lasts, end it: "
			"wasmocifs abort %s",
			e->mountpoint, e->mountpoint);
}

static int show_one(const struct mounts_entry *e, const struct cli_args *args)
{
	json_t *list = json_array();
	if (list == NULL || json_array_append_new(list, ask(e)) < 0) {
		json_decref(list);
		return complain(CLI_FAILED, "out of memory");
	}
	const json_t *mount = json_array_get(list, 0);
	int status = judge(e, mount);
	if (args->json)
		(void)print_json(json_incref(list));
	else if (args->metrics)
		metrics_text(stdout, list);
	else if (status == CLI_DONE)
		status_show_one(stdout, mount, table_watched_width());
	json_decref(list);
	return status;
}

int status_main(const struct cli_args *args)
{
	struct err err;
	struct mounts mounts;
	const struct mounts_entry *mount = NULL;
	char path[PATH_MAX];
	if (args->n_operands > 1 || (args->n_operands == 1 && args->operands[0][0] == '\0'))
		return complain(CLI_USAGE, "status: give one MOUNTPOINT, or none for all");
	if (args->json && args->metrics)
		return complain(CLI_USAGE, "status: give --json or --metrics, not both");
	if (mounts_read("/proc/self/mountinfo", &mounts, &err) < 0)
		return complain(CLI_FAILED, "%s", err.text);
	int status;
	int rc = args->n_operands == 1 ? path_resolve(args->operands[0], &mounts, path, &mount) : 0;
	if (rc < 0)
		status = complain(CLI_FAILED, "%s: %s", args->operands[0], strerror(-rc));
	else if (args->n_operands == 0)
		status = show_all(&mounts, args);
	else if (mount == NULL)
		status = complain(CLI_FAILED, "%s is not a wasmocifs mount; see 'wasmocifs status'",
				  path);
	else
		status = show_one(mount, args);
	mounts_release(&mounts);
	return status;
}
