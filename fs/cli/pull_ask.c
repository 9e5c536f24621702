/* SPDX-License-Identifier: Apache-2.0 */
/* A pull by the process of a mount: asked over its control socket, a little at a time. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/mounts.h"
#include "fs/cli/pull_impl.h"
#include "fs/control.h"

#define LOOK_MS  200
#define PATIENCE 5 /* looks without an answer: it may be restarting, or this machine busy */
/* Of references in one request: escapes make them grow. */
#define BATCH_BYTES (CONTROL_REQUEST_MAX / 4)

struct asking {
	const struct cli_args *args;
	const struct mounts_entry *mount;
	const struct names *references;
	bool (*is_over)(void *ctx, const char *reference);
	void *ctx;
	struct pull_show *show;
	json_int_t id; /* 0: none yet */
	size_t taken;  /* references that this mount does */
};

/* The same directory, whatever it is called, or NULL: any. */
static bool is_cache(const char *dir, const char *cache)
{
	struct stat ours, theirs;
	return cache == NULL ||
	       (dir != NULL && stat(cache, &ours) == 0 && stat(dir, &theirs) == 0 &&
		ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino);
}

/* It has that cache, and may ask. */
static bool may_do_it(const struct mounts_entry *e, const char *cache)
{
	struct err ignored;
	json_t *reply = NULL;
	if (control_ask(e->uid, e->minor, "status", &reply, NULL, &ignored) < 0)
		return false;
	const char *dir =
	    json_string_value(json_object_get(json_object_get(reply, "cache"), "directory"));
	bool may = !json_is_true(json_object_get(reply, "offline")) && is_cache(dir, cache);
	json_decref(reply);
	return may;
}

/* A batch; takes over `references`. */
static int send(struct asking *a, json_t *references, bool last)
{
	struct err ignored;
	size_t n = json_array_size(references);
	json_t *reply = NULL;
	json_t *request =
	    json_pack("{s:s, s:o, s:b, s:b, s:s*}", "op", "pull", "references", references, "pin",
		      (int)a->args->pin, "last", (int)last, "platform", a->args->platform);
	if (request != NULL && a->id != 0)
		(void)json_object_set_new(request, "id", json_integer(a->id));
	int rc = control_ask_with(a->mount->uid, a->mount->minor, request, &reply, NULL, &ignored);
	json_decref(request);
	if (rc < 0)
		return rc;
	a->id = json_integer_value(json_object_get(reply, "id"));
	a->taken += n - json_array_size(json_object_get(reply, "refused"));
	json_decref(reply);
	return a->id > 0 ? 0 : -EPROTO;
}

static int send_all(struct asking *a)
{
	json_t *batch = json_array();
	size_t bytes = 0;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < a->references->n; i++) {
		const char *reference = a->references->v[i];
		if (a->is_over(a->ctx, reference))
			continue;
		if (bytes + strlen(reference) > BATCH_BYTES) {
			rc = send(a, batch, false);
			batch = json_array();
			bytes = 0;
		}
		(void)json_array_append_new(batch, json_string(reference));
		bytes += strlen(reference) + 4;
	}
	if (rc == 0)
		return send(a, batch, true);
	json_decref(batch);
	return rc;
}

/* Until it is done, or the process that did it is gone. */
static void follow(struct asking *a)
{
	json_int_t since = 0;
	for (unsigned silent = 0; silent < PATIENCE;) {
		struct err ignored;
		json_t *reply = NULL;
		json_t *request = json_pack("{s:s, s:I, s:I}", "op", "pull-progress", "id", a->id,
					    "since", since);
		int rc = control_ask_with(a->mount->uid, a->mount->minor, request, &reply, NULL,
					  &ignored);
		json_decref(request);
		if (rc == -EIO) /* it does not know of it: another process by now */
			return;
		silent = rc < 0 ? silent + 1 : 0;
		if (rc == 0) {
			since = json_integer_value(json_object_get(reply, "next"));
			pull_show(a->show, reply);
			const char *state = json_string_value(json_object_get(reply, "state"));
			bool done = state != NULL && strcmp(state, "done") == 0;
			json_decref(reply);
			if (done)
				return;
		}
		(void)poll(NULL, 0, LOOK_MS);
	}
}

static bool some_left(const struct asking *a)
{
	for (size_t i = 0; i < a->references->n; i++) {
		if (!a->is_over(a->ctx, a->references->v[i]))
			return true;
	}
	return false;
}

void pull_by_mounts(const struct cli_args *args, const char *cache, const struct names *references,
		    bool (*is_over)(void *ctx, const char *reference), void *ctx,
		    struct pull_show *show)
{
	struct mounts mounts;
	struct err ignored;
	if (mounts_read("/proc/self/mountinfo", &mounts, &ignored) < 0)
		return;
	for (size_t i = 0; i < mounts.n; i++) {
		const struct mounts_entry *e = &mounts.v[i];
		struct asking a = {.args = args,
				   .mount = e,
				   .references = references,
				   .is_over = is_over,
				   .ctx = ctx,
				   .show = show};
		if (!some_left(&a))
			break;
		if (e->uid != geteuid() || !e->whole || !may_do_it(e, cache) || send_all(&a) < 0)
			continue;
		/* Also where it does none: it is told of that so. */
		follow(&a);
		pull_show_settle(show);
	}
	mounts_release(&mounts);
}
