/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/worker.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/file.h"
#include "fs/cli/command.h"
#include "fs/cli/link.h"
#include "fs/cli/metrics_file.h"
#include "fs/cli/privileges.h"
#include "fs/cli/pulls.h"
#include "fs/cli/report.h"
#include "fs/cli/stop.h"
#include "fs/control.h"
#include "fs/init.h"
#include "fs/log.h"

struct serving {
	struct fs *fs;
	char title[FS_TITLE_MAX];
	const char *mountpoint; /* borrowed */
	const char *metrics;    /* borrowed: the file of them, or NULL */
	int link;
	struct link_message task; /* LINK_SERVE */
	struct report report;
	struct pulls pulls;
};

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

static json_t *op_refresh(void *ctx, const json_t *request, struct err *err)
{
	const struct report *r = ctx;
	const char *path = json_string_value(json_object_get(request, "path"));
	return report_refresh(r, path != NULL ? path : "", err);
}

static json_t *op_pull(void *ctx, const json_t *request, struct err *err)
{
	const struct report *r = ctx;
	return pulls_start(r->pulls, request, err);
}

static json_t *op_pull_progress(void *ctx, const json_t *request, struct err *err)
{
	const struct report *r = ctx;
	return pulls_progress(r->pulls, request, err);
}

/* "path": of the program that is to serve from now on. How it went, `status` tells. */
static json_t *op_upgrade(void *ctx, const json_t *request, struct err *err)
{
	struct report *r = ctx;
	const char *path = json_string_value(json_object_get(request, "path"));
	if (path == NULL || path[0] != '/' || strlen(path) >= LINK_TEXT_MAX) {
		(void)err_set(err, -EINVAL, "which program? an absolute path is needed");
		return NULL;
	}
	report_forget_refusal(r);
	int rc = link_say(r->link, LINK_UPGRADE, 0, path);
	if (rc < 0) {
		(void)err_errno(err, rc, "the keeper of this mount is gone; mount it anew");
		return NULL;
	}
	return json_pack("{s:i}", "generation", (int)r->generation);
}

static const struct control_op ops[] = {
    {"status", op_status},   {"why", op_why},   {"upgrade", op_upgrade},
    {"refresh", op_refresh}, {"pull", op_pull}, {"pull-progress", op_pull_progress}};

/* In a thread of fs_serve, once. */
static void on_ready(void *ctx)
{
	const struct serving *s = ctx;
	/* Of those that follow the keeper tells. */
	if ((s->task.flags & LINK_SERVED_BEFORE) == 0)
		log_info("mount", "%s is mounted on %s", s->title, s->mountpoint);
	(void)link_say(s->link, LINK_READY, 0, "");
}

/* What an operation may take: the kernel may give it less, and ends the mount then. */
static int64_t timeout_ms(const struct cli_args *args, bool *ret_strict)
{
	int64_t wanted = args->timeout_ms != 0 ? args->timeout_ms : FS_TIMEOUT_MS;
	int64_t limit = init_request_limit_ms(INIT_SYSCTL_DIR) / 4 * 3;
	*ret_strict = limit > 0;
	if (limit == 0 || wanted <= limit)
		return wanted;
	log_warning("mount",
		    "the kernel ends a mount whose requests wait for %lld s "
		    "(fs.fuse.default_request_timeout): they wait for %lld s at the most",
		    (long long)(limit / 3 * 4 / 1000), (long long)(limit / 1000));
	return limit;
}

static int make_fs(const struct cli_args *args, struct fs **ret, struct err *err)
{
	bool strict;
	int64_t timeout = timeout_ms(args, &strict);
	struct fs_options o = {
	    .specs = (const char *const *)args->operands,
	    .spec_count = (size_t)args->n_operands - 1,
	    .all = args->all,
	    .allow_hosts = (const char *const *)args->allow_hosts.v,
	    .allow_host_count = args->allow_hosts.n,
	    .package_config = args->package_config,
	    .source = {.auth_file = args->auth_file,
		       .ca_file = args->ca_file,
		       .hosts_dir = args->hosts_dir,
		       .timeout_ms = timeout},
	    .store = {.dir = args->cache, .limit = args->cache_size},
	    .tag_ttl_ms = args->tag_ttl_ms,
	    .list_ttl_ms = args->list_ttl_ms,
	    .timeout_ms = timeout,
	    .offline = args->offline,
	    .stream = args->verify == CLI_VERIFY_STREAM,
	    .strict_timeout = strict,
	    .uid = args->uid >= 0 ? (uid_t)args->uid : geteuid(),
	    .gid = args->gid >= 0 ? (gid_t)args->gid : getegid(),
	    .umask = args->umask >= 0 ? (mode_t)args->umask : 0,
	};
	return fs_new(&o, ret, err);
}

/* Until nobody else serves the mount. */
static int await_task(struct serving *s, struct fs_connection *ret, struct err *err)
{
	int fds[LINK_FDS];
	struct fs_status status;
	fs_status(s->fs, &status);
	memcpy(s->title, status.title, sizeof(s->title));
	int rc = link_say(s->link, LINK_PREPARED, 0, status.title);
	if (rc == 0)
		rc = link_receive(s->link, true, &s->task, fds);
	if (rc == 0 && s->task.kind != LINK_SERVE)
		rc = -EPROTO;
	if (rc < 0)
		return err_errno(err, rc, "the keeper does not hand the mount over");
	*ret = (struct fs_connection){
	    .fuse_fd = fds[0],
	    .nodes_fd = fds[1],
	    .handover_fd = fds[2],
	    .generation = s->task.number,
	    .served_before = (s->task.flags & LINK_SERVED_BEFORE) != 0,
	    .refuse_resent = (s->task.flags & LINK_REFUSE_RESENT) != 0,
	    .keeper = s->task.pid,
	};
	return 0;
}

/* What is left of the connection is the session's, and the tables have descriptors of
 * their own. */
static int connect_fs(struct serving *s, struct err *err)
{
	struct fs_connection c = {.fuse_fd = -1, .nodes_fd = -1, .handover_fd = -1};
	int rc = await_task(s, &c, err);
	if (rc == 0)
		rc = fs_connect(s->fs, &c, err);
	auto_close_(&c.fuse_fd);
	auto_close_(&c.nodes_fd);
	auto_close_(&c.handover_fd);
	return rc;
}

/* One that cannot is no worse off than before. */
static void drop_privileges(const struct serving *s)
{
	struct fs_status status;
	struct err err;
	fs_status(s->fs, &status);
	if (privileges_drop(status.passthrough, &err) < 0)
		log_warning("mount", "%s: %s", s->mountpoint, err.text);
}

/* A mount without is better than none. */
static struct metrics_file *start_metrics(const struct serving *s)
{
	struct metrics_file *m = NULL;
	struct err err;
	if (s->metrics != NULL && metrics_file_new(s->metrics, &s->report, &m, &err) < 0)
		log_warning("metrics", "%s", err.text);
	return m;
}

/* 0: the mount has ended, or was told to. */
static int run(struct serving *s, struct err *err)
{
	struct control *control = NULL;
	struct stop *stop = NULL;
	struct metrics_file *metrics = NULL;
	int rc = connect_fs(s, err);
	if (rc < 0)
		return rc;
	report_init(&s->report, s->fs, s->mountpoint);
	s->pulls = (struct pulls){.fs = s->fs};
	s->report.pulls = &s->pulls;
	s->report.keeper = s->task.pid;
	s->report.generation = s->task.number;
	s->report.link = s->link;
	drop_privileges(s);
	rc = stop_new(s->fs, s->mountpoint, &stop, err);
	if (rc == 0)
		rc = control_new(s->task.minor, ops, ARRAY_LEN(ops), &s->report, &control, err);
	if (rc == 0) {
		metrics = start_metrics(s);
		rc = fs_serve(s->fs, on_ready, s, err);
	}
	if (stop != NULL)
		stop_ending(stop);
	/* If the keeper was not told to stop, another worker is to follow. */
	if (rc == 0 && stop_was_signalled(stop))
		rc = err_set(err, -EINTR, "told to end by a signal");
	metrics_file_free(metrics);
	if (rc == 0)
		metrics_file_remove(s->metrics);
	control_free(control);
	pulls_release(&s->pulls);
	fs_free(s->fs);
	s->fs = NULL;
	stop_free(stop);
	return rc;
}

int worker_main(const struct cli_args *args)
{
	struct err err;
	if (args->keeper_fd < 0 || args->n_operands < 1 || args->cache == NULL)
		return complain(CLI_USAGE, "serve is what a mount starts by itself; "
					   "see 'wasmocifs mount --help'");
	struct serving s = {.mountpoint = args->operands[args->n_operands - 1],
			    .metrics = args->metrics_file,
			    .link = args->keeper_fd};
	/* It was started by a descriptor, and would be called by its number. */
	(void)prctl(PR_SET_NAME, "wasmocifs");
	log_open(args->log_level, args->log_format, !args->foreground);
	stop_block_signals();
	int rc = make_fs(args, &s.fs, &err);
	int status = rc == -EINVAL ? CLI_USAGE : CLI_FAILED;
	if (rc == 0)
		rc = run(&s, &err);
	if (rc == 0)
		return CLI_DONE;
	fs_free(s.fs);
	(void)link_say(s.link, LINK_FAILED, (uint32_t)status, err.text);
	return CLI_FAILED;
}
