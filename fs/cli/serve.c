/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "fs/cli/command.h"
#include "fs/cli/daemon.h"
#include "fs/cli/notify.h"
#include "fs/cli/report.h"
#include "fs/cli/serve.h"
#include "fs/cli/stop.h"
#include "fs/control.h"
#include "fs/log.h"

static json_t *op_status(void *ctx, const json_t *request, struct err *err)
{
	(void)request;
	json_t *reply = report_make(ctx);
	if (reply == NULL)
		(void)err_set(err, -ENOMEM, "the state of the mount cannot be put into words");
	return reply;
}

static json_t *op_why(void *ctx, const json_t *request, struct err *err)
{
	const struct report *r = ctx;
	json_t *reply = report_why(r, json_string_value(json_object_get(request, "path")));
	if (reply == NULL)
		(void)err_set(err, -ENOMEM, "what is known of it cannot be put into words");
	return reply;
}

static const struct control_op ops[] = {{"status", op_status}, {"why", op_why}};

/* In a thread of fs_serve, once. */
static void on_ready(void *ctx)
{
	struct serving *s = ctx;
	log_info("mount", "%s is mounted on %s", s->source, s->mountpoint);
	notify_send("READY=1");
	if (s->ready_fd >= 0) {
		if (file_write_all(s->ready_fd, "\n", 1) < 0)
			log_warning("mount", "nobody reads from --ready-fd");
		close(steal_fd(&s->ready_fd));
	}
	/* Whoever started us has gone away before it could use the mount. */
	if (s->report_fd >= 0 && daemon_report(steal_fd(&s->report_fd), NULL) < 0)
		(void)kill(getpid(), SIGTERM);
}

static void tell_failure(struct serving *s, const struct err *err)
{
	log_error("mount", "%s: %s", s->mountpoint, err->text);
	if (s->report_fd >= 0)
		(void)daemon_report(steal_fd(&s->report_fd), err->text);
}

int serve(struct serving *s)
{
	struct err err;
	struct control *control = NULL;
	struct stop *stop = NULL;
	struct report report;
	report_init(&report, s->fs, s->mountpoint);
	int rc = stop_new(s->fs, s->mountpoint, s->minor, &stop, &err);
	if (rc == 0)
		rc = control_new(s->minor, ops, ARRAY_LEN(ops), &report, &control, &err);
	if (rc == 0)
		rc = fs_serve(s->fs, steal_fd(&s->fuse_fd), on_ready, s, &err);
	if (stop != NULL)
		stop_ending(stop);
	bool gone = stop_unmount(s->mountpoint, s->minor);
	if (rc < 0)
		tell_failure(s, &err);
	else
		log_info("mount", "%s is unmounted", s->mountpoint);
	auto_close_(&s->fuse_fd);
	control_free(control);
	fs_free(s->fs);
	stop_free(stop);
	return rc == 0 && gone ? CLI_DONE : CLI_FAILED;
}
