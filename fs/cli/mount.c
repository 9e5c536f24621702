/* SPDX-License-Identifier: Apache-2.0 */
/* `wasmocifs mount`: from the words of the command line to an open mount. All
 * that can be wrong with what was typed is found before anything is changed. */
#include "fs/cli/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/command.h"
#include "fs/cli/daemon.h"
#include "fs/cli/path.h"
#include "fs/cli/stop.h"
#include "fs/control.h"
#include "fs/log.h"
#include "fs/mount.h"

static int check_operands(const struct cli_args *args, struct err *err)
{
	if (args->n_operands == 0)
		return err_set(err, -EINVAL,
			       "what and where? wasmocifs mount SOURCE MOUNTPOINT, for example: "
			       "wasmocifs mount ghcr.io /mnt/oci");
	if (args->n_operands == 1)
		return err_set(err, -EINVAL, "where? wasmocifs mount %s MOUNTPOINT",
			       args->operands[0]);
	if (args->n_operands > 2)
		return err_set(err, -EINVAL,
			       "only one SOURCE for now: wasmocifs mount SOURCE MOUNTPOINT");
	if (args->operands[0][0] == '\0' || args->operands[1][0] == '\0')
		return err_set(err, -EINVAL, "SOURCE and MOUNTPOINT must not be empty");
	return 0;
}

/* A layout's directory must mean the same after the daemon has left for "/". */
static int absolute_source(const char *source, char **ret, struct err *err)
{
	AUTO_FREE char *dir = NULL;
	if (strncmp(source, "oci:", 4) != 0 || source[4] == '\0') {
		*ret = strdup(source);
		return *ret != NULL ? 0 : err_set(err, -ENOMEM, "out of memory");
	}
	int rc = path_absolute(source + 4, &dir);
	if (rc == 0 && asprintf(ret, "oci:%s", dir) < 0)
		rc = -ENOMEM;
	return rc < 0 ? err_errno(err, rc, "%s", source) : 0;
}

static int default_cache(char **ret, struct err *err)
{
	const char *cache = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");
	int n;
	if (home == NULL || *home != '/') {
		const struct passwd *pw = getpwuid(geteuid());
		home = pw != NULL ? pw->pw_dir : NULL;
	}
	if (geteuid() == 0)
		n = asprintf(ret, "/var/cache/wasmocifs");
	else if (cache != NULL && *cache == '/')
		n = asprintf(ret, "%s/wasmocifs", cache);
	else if (home != NULL)
		n = asprintf(ret, "%s/.cache/wasmocifs", home);
	else
		return err_set(err, -ENOENT,
			       "no home directory to keep a cache in; give --cache DIR");
	return n < 0 ? err_set(err, -ENOMEM, "out of memory") : 0;
}

/* One of ours is on the path: if it answers it stays, if its daemon is dead it
 * is replaced. */
static int clear_stale(const struct mounts_entry *e, struct err *err)
{
	struct err ignored;
	json_t *reply = NULL;
	int rc = control_ask(e->uid, e->minor, "status", &reply, NULL, &ignored);
	json_decref(reply);
	if (rc == 0 || !mount_is_stale(e->mountpoint))
		return err_set(
		    err, -EBUSY,
		    "%s is already mounted on %s; unmount it first: wasmocifs unmount %s",
		    e->source, e->mountpoint, e->mountpoint);
	rc = mount_close(e->mountpoint, true, err);
	if (rc == 0)
		log_warning("mount", "%s: replacing a mount whose process has died", e->mountpoint);
	return rc;
}

static int check_mountpoint(const char *written, char ret[PATH_MAX], struct err *err)
{
	struct mounts mounts;
	const struct mounts_entry *mount = NULL;
	struct stat st;
	int rc = mounts_read("/proc/self/mountinfo", &mounts, err);
	if (rc < 0)
		return rc;
	rc = path_resolve(written, &mounts, ret, &mount);
	if (rc < 0)
		rc = err_errno(err, rc, "%s", written);
	else if (mount != NULL && strcmp(mount->mountpoint, ret) == 0)
		rc = clear_stale(mount, err);
	else if (mount != NULL)
		rc = err_set(err, -EINVAL, "%s lies in the wasmocifs mount on %s; mount elsewhere",
			     ret, mount->mountpoint);
	mounts_release(&mounts);
	if (rc < 0)
		return rc;
	if (stat(ret, &st) < 0 && errno == ENOENT)
		return err_set(err, -ENOENT, "%s does not exist; make it first: mkdir -p %s", ret,
			       ret);
	if (stat(ret, &st) < 0)
		return err_errno(err, -errno, "%s", ret);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, -ENOTDIR, "%s is not a directory", ret);
	return 0;
}

static int check_device(struct err *err)
{
	if (access("/dev/fuse", F_OK) == 0)
		return 0;
	return err_set(err, -ENODEV,
		       "there is no /dev/fuse; load the kernel module (modprobe fuse), or give the "
		       "container the device (--device /dev/fuse --cap-add SYS_ADMIN)");
}

/* Each open file of the mount may be one of ours. */
static void raise_file_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* A lock or a pipe of the calling script must not live on in the daemon. */
static void close_inherited(int keep)
{
	if (keep <= 2) {
		(void)close_range(3, ~0u, 0);
		return;
	}
	if (keep > 3)
		(void)close_range(3, (unsigned)keep - 1, 0);
	(void)close_range((unsigned)keep + 1, ~0u, 0);
}

static int make_fs(const struct cli_args *args, struct fs **ret, struct err *err)
{
	AUTO_FREE char *source = NULL;
	AUTO_FREE char *cache = NULL;
	int rc = absolute_source(args->operands[0], &source, err);
	if (rc == 0 && args->cache == NULL)
		rc = default_cache(&cache, err);
	if (rc < 0)
		return rc;
	struct fs_options o = {
	    .source = {.spec = source,
		       .auth_file = args->auth_file,
		       .ca_file = args->ca_file,
		       .hosts_dir = args->hosts_dir,
		       .timeout_ms = args->timeout_ms != 0 ? args->timeout_ms : FS_TIMEOUT_MS},
	    .store = {.dir = args->cache != NULL ? args->cache : cache, .limit = args->cache_size},
	    .tag_ttl_ms = args->tag_ttl_ms,
	    .list_ttl_ms = args->list_ttl_ms,
	    .timeout_ms = args->timeout_ms,
	    .offline = args->offline,
	    .no_passthrough = args->no_passthrough,
	};
	return fs_new(&o, ret, err);
}

static void ignore_socket(void *ctx, unsigned minor)
{
	(void)ctx;
	(void)minor;
}

/* In the parent of a daemon: everything is the child's now. */
static int await_daemon(const struct serving *s, pid_t child)
{
	struct err err;
	if (daemon_wait(s->report_fd, child, &err) == 0)
		return CLI_DONE;
	(void)stop_unmount(s->mountpoint, s->minor);
	return complain(CLI_FAILED, "%s", err.text);
}

static int start(const struct cli_args *args, struct serving *s)
{
	struct err err;
	if (mount_state(s->mountpoint, &s->minor) != MOUNT_OURS) {
		fs_free(s->fs);
		return complain(CLI_FAILED, "%s: the mount was taken away at once", s->mountpoint);
	}
	control_sweep(geteuid(), ignore_socket, NULL);
	if (args->foreground)
		return serve(s);
	pid_t child = daemon_fork(&s->report_fd, &err);
	if (child < 0) {
		(void)stop_unmount(s->mountpoint, s->minor);
		fs_free(s->fs);
		return complain(CLI_FAILED, "%s", err.text);
	}
	/* The parent leaves without freeing what the child uses too. */
	if (child > 0)
		_exit(await_daemon(s, child));
	log_open(args->log_level, args->log_format, true);
	return serve(s);
}

int mount_main(const struct cli_args *args)
{
	struct err err;
	char mountpoint[PATH_MAX];
	struct serving s = {.mountpoint = mountpoint, .report_fd = -1, .ready_fd = args->ready_fd};
	if (check_operands(args, &err) < 0)
		return complain(CLI_USAGE, "mount: %s", err.text);
	log_open(args->log_level, args->log_format, false);
	if (!args->foreground)
		close_inherited(args->ready_fd);
	if (args->ready_fd >= 0)
		(void)fcntl(args->ready_fd, F_SETFD, FD_CLOEXEC);
	umask(077);
	raise_file_limit();
	if (check_mountpoint(args->operands[1], mountpoint, &err) < 0 || check_device(&err) < 0)
		return complain(CLI_FAILED, "%s", err.text);

	int rc = make_fs(args, &s.fs, &err);
	if (rc < 0)
		return complain(rc == -EINVAL ? CLI_USAGE : CLI_FAILED, "%s", err.text);
	struct fs_status status;
	fs_status(s.fs, &status);
	s.source = status.source;
	struct mount_options mount = {.mountpoint = mountpoint,
				      .source = status.source,
				      .allow_other = args->allow_other,
				      .noexec = args->noexec};
	stop_block_signals();
	if (mount_open(&mount, &s.fuse_fd, &err) < 0) {
		fs_free(s.fs);
		return complain(CLI_FAILED, "%s", err.text);
	}
	return start(args, &s);
}
