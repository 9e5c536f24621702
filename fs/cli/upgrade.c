/* SPDX-License-Identifier: Apache-2.0 */
/* `wasmocifs upgrade`: from now on this very program serves the mount. The process that serves
 * it hands the wish to its keeper (fs/cli/keeper.h); how it went is seen in its status. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/cli/command.h"
#include "fs/cli/keeper_file.h"
#include "fs/cli/on_mount.h"
#include "fs/control.h"

#define WAIT_MS  45000 /* longer than a worker may take to get prepared and ready */
#define PAUSE_MS 50

static int own_path(char ret[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - 1);
	if (n < 0)
		return -errno;
	ret[n] = '\0';
	return 0;
}

/* Whether a process runs the same file as we do. */
static bool runs_this(pid_t pid)
{
	char path[64];
	struct stat ours, its;
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	return stat("/proc/self/exe", &ours) == 0 && stat(path, &its) == 0 &&
	       ours.st_dev == its.st_dev && ours.st_ino == its.st_ino;
}

/* *ret: how many workers there have been until now. The one that is asked may be replaced before it
 * has answered: then the wish was handed on. */
static int ask(const struct mounts_entry *e, const char *path, json_int_t *ret, struct err *err)
{
	json_t *now = NULL, *reply = NULL;
	int rc = control_ask(e->uid, e->minor, "status", &now, NULL, err);
	if (rc < 0)
		return rc;
	*ret = json_integer_value(json_object_get(now, "generation"));
	json_decref(now);
	rc = control_ask_about(e->uid, e->minor, "upgrade", path, &reply, NULL, err);
	json_decref(reply);
	return rc == -EPROTO || rc == -ECONNRESET ? 0 : rc;
}

/* What is known after a later worker has come, or has not. */
static int await(const struct mounts_entry *e, const char *path, json_int_t before)
{
	int64_t until = clock_ms() + WAIT_MS;
	while (clock_ms() < until) {
		json_t *now = NULL;
		struct err why = {""};
		json_int_t generation = 0;
		pid_t worker = 0;
		if (control_ask(e->uid, e->minor, "status", &now, &worker, NULL) == 0) {
			const char *text = json_string_value(json_object_get(now, "upgrade_error"));
			const char *of = json_string_value(json_object_get(now, "upgrade_program"));
			/* Somebody else's upgrade is none of our business. */
			if (of == NULL || strcmp(of, path) != 0)
				text = NULL;
			generation = json_integer_value(json_object_get(now, "generation"));
			(void)err_set(&why, 0, "%s", text != NULL ? text : "");
			json_decref(now);
		}
		if (why.text[0] != '\0')
			return complain(CLI_FAILED,
					"the mount on %s is served as before; the upgrade has "
					"failed: %s",
					e->mountpoint, why.text);
		if (generation > before && runs_this(worker))
			return CLI_DONE;
		/* A worker has come, and it is another one: ours went with the one that was
		 * asked. */
		if (generation > before)
			(void)ask(e, path, &before, &why);
		(void)poll(NULL, 0, PAUSE_MS);
	}
	return complain(CLI_FAILED,
			"the mount on %s does not come to be served by this program; see "
			"its log",
			e->mountpoint);
}

static int upgrade(const struct mounts_entry *e)
{
	struct err err = {""};
	char path[PATH_MAX];
	json_int_t before = 0;
	int status = check_user(e, "upgrade it");
	if (status != CLI_DONE)
		return status;
	int rc = own_path(path);
	if (rc < 0)
		return complain(CLI_FAILED, "this program cannot be found: %s", strerror(-rc));
	rc = ask(e, path, &before, &err);
	bool died = rc == -ENOENT || rc == -ECONNREFUSED;
	if (died && keeper_file_pid(e->uid, e->minor) > 0)
		(void)err_set(&err, rc,
			      "the process that served it has died, and another one is on "
			      "its way; ask again");
	else if (died)
		(void)err_set(&err, rc,
			      "its process has died; mount it again, or clear it away: wasmocifs "
			      "unmount %s%s",
			      e->mountpoint, or_elsewhere());
	if (rc == -ETIMEDOUT)
		(void)err_set(&err, rc,
			      "its process does not answer; ask again, and if that lasts, end it: "
			      "wasmocifs abort %s",
			      e->mountpoint);
	if (rc < 0)
		return complain(CLI_FAILED, "the mount on %s cannot be upgraded: %s", e->mountpoint,
				err.text);
	status = await(e, path, before);
	if (status == CLI_DONE) {
		(void)err_set(&err, 0, "%s", e->mountpoint); /* one printable line */
		printf("the mount on %s is served by version " WASMOCIFS_VERSION " now\n",
		       err.text);
	}
	return status;
}

int upgrade_main(const struct cli_args *args)
{
	return on_mount("upgrade", args, upgrade);
}
