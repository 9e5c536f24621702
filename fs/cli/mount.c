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
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs/cli/command.h"
#include "fs/cli/daemon.h"
#include "fs/cli/path.h"
#include "fs/cli/process.h"
#include "fs/cli/stop.h"
#include "fs/control.h"
#include "fs/control_dir.h"
#include "fs/log.h"
#include "fs/mount.h"

#define DEV_FUSE        "/dev/fuse"
#define DEV_FUSE_NUMBER makedev(10, 229) /* Documentation/admin-guide/devices.txt */

/* All but the last operand are SOURCEs. */
static const char *mountpoint_of(const struct cli_args *args)
{
	return args->operands[args->n_operands - 1];
}

static int check_operands(const struct cli_args *args, struct err *err)
{
	if (args->allow_hosts.n > 0 && !args->all)
		return err_set(err, -EINVAL,
			       "--allow-host goes with --all: a SOURCE is allowed as it is");
	if (args->n_operands == 0)
		return err_set(err, -EINVAL,
			       "what and where? wasmocifs mount SOURCE MOUNTPOINT, for example: "
			       "wasmocifs mount ghcr.io /mnt/oci");
	if (args->n_operands == 1 && !args->all)
		return err_set(err, -EINVAL, "where? wasmocifs mount %s MOUNTPOINT",
			       args->operands[0]);
	for (int i = 0; i < args->n_operands; i++) {
		if (args->operands[i][0] == '\0')
			return err_set(err, -EINVAL, "SOURCE and MOUNTPOINT must not be empty");
	}
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
		return err_set(err, -ENOTDIR, "%s is not a directory; give one to mount on", ret);
	return 0;
}

static int check_device(struct err *err)
{
	struct stat st;
	if (stat(DEV_FUSE, &st) < 0)
		return err_set(err, -ENODEV,
			       "there is no " DEV_FUSE
			       "; load the kernel module (modprobe fuse), or give the "
			       "container the device (--device " DEV_FUSE " --cap-add SYS_ADMIN)");
	if (S_ISCHR(st.st_mode) && st.st_rdev == DEV_FUSE_NUMBER)
		return 0;
	return err_set(err, -ENODEV,
		       DEV_FUSE " is not the FUSE device (character device 10:229); make it anew: "
				"rm " DEV_FUSE " && mknod -m 666 " DEV_FUSE " c 10 229, or give "
				"the container the device (--device " DEV_FUSE ")");
}

/* The daemon opens it by its path while it serves. Below the mountpoint it would
 * meet its own mount there, and wait for itself. */
static int check_not_hidden(const char *what, const char *path, const char *mountpoint,
			    const struct mounts *mounts, struct err *err)
{
	char real[PATH_MAX];
	const struct mounts_entry *mount;
	if (path == NULL)
		return 0;
	int rc = path_resolve(path, mounts, real, &mount);
	if (rc < 0)
		return err_errno(err, rc, "%s %s", what, path);
	if (!path_is_within(real, mountpoint))
		return 0;
	return err_set(err, -EINVAL,
		       "%s %s %s the mountpoint %s, and the mount would hide it; choose another "
		       "one, or mount elsewhere",
		       what, real, strcmp(real, mountpoint) == 0 ? "is" : "lies below", mountpoint);
}

/* Its socket is made once the mount is there, and before it answers. */
static int check_control(const char *mountpoint, const struct mounts *mounts, struct err *err)
{
	char fd_link[32], real[PATH_MAX];
	AUTO_FD int dir = control_dir_make(err);
	if (dir < 0)
		return dir;
	snprintf(fd_link, sizeof(fd_link), "/proc/self/fd/%d", dir);
	ssize_t n = readlink(fd_link, real, sizeof(real) - 1);
	if (n < 0)
		return 0;
	real[n] = '\0';
	return check_not_hidden("the directory of the control socket", real, mountpoint, mounts,
				err);
}

static int check_paths(const struct cli_args *args, const char *cache, const char *mountpoint,
		       struct err *err)
{
	struct mounts mounts;
	int rc = mounts_read("/proc/self/mountinfo", &mounts, err);
	if (rc < 0)
		return rc;
	rc = check_not_hidden("the cache (--cache)", cache, mountpoint, &mounts, err);
	if (rc == 0)
		rc = check_not_hidden("--auth-file", args->auth_file, mountpoint, &mounts, err);
	if (rc == 0)
		rc = check_not_hidden("--ca-file", args->ca_file, mountpoint, &mounts, err);
	if (rc == 0)
		rc = check_control(mountpoint, &mounts, err);
	mounts_release(&mounts);
	return rc;
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

/* In the background /dev/null goes to 0, 1 and 2; in the foreground the log does,
 * and other files would if they were closed after the report. */
static int own_ready_fd(int fd, int *ret, struct err *err)
{
	*ret = fd;
	if (fd > STDERR_FILENO)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	else if (fd >= 0)
		*ret = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	return fd >= 0 && *ret < 0 ? err_errno(err, -errno, "--ready-fd %d", fd) : 0;
}

static int choose_cache(const struct cli_args *args, char **ret, struct err *err)
{
	if (args->cache == NULL)
		return default_cache(ret, err);
	*ret = strdup(args->cache);
	return *ret != NULL ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static void free_sources(char **v)
{
	for (size_t i = 0; v != NULL && v[i] != NULL; i++)
		free(v[i]);
	free(v);
}

/* New, NULL at its end. With --all mount(8) has no source to give, and says "none". */
static int make_sources(const struct cli_args *args, char ***ret, size_t *ret_n, struct err *err)
{
	size_t n = 0;
	int rc = 0;
	char **v = calloc((size_t)args->n_operands, sizeof(*v));
	if (v == NULL)
		return err_set(err, -ENOMEM, "out of memory");
	for (int i = 0; i + 1 < args->n_operands && rc == 0; i++) {
		if (args->all && strcmp(args->operands[i], "none") == 0)
			continue;
		rc = absolute_source(args->operands[i], &v[n], err);
		n += rc == 0;
	}
	*ret = v;
	*ret_n = n;
	return rc;
}

static int make_fs(const struct cli_args *args, const char *cache, char **sources, size_t n,
		   struct fs **ret, struct err *err)
{
	struct fs_options o = {
	    .specs = (const char *const *)sources,
	    .spec_count = n,
	    .all = args->all,
	    .allow_hosts = (const char *const *)args->allow_hosts.v,
	    .allow_host_count = args->allow_hosts.n,
	    .source = {.auth_file = args->auth_file,
		       .ca_file = args->ca_file,
		       .hosts_dir = args->hosts_dir,
		       .timeout_ms = args->timeout_ms != 0 ? args->timeout_ms : FS_TIMEOUT_MS},
	    .store = {.dir = cache, .limit = args->cache_size},
	    .tag_ttl_ms = args->tag_ttl_ms,
	    .list_ttl_ms = args->list_ttl_ms,
	    .timeout_ms = args->timeout_ms,
	    .offline = args->offline,
	    .no_passthrough = args->no_passthrough,
	};
	return fs_new(&o, ret, err);
}

/* The sources are looked at by fs_new only: fs.h says which of its options stay. */
static int prepare_fs(const struct cli_args *args, const char *mountpoint, struct fs **ret,
		      struct err *err)
{
	AUTO_FREE char *cache = NULL;
	char **sources = NULL;
	size_t n = 0;
	int rc = make_sources(args, &sources, &n, err);
	if (rc == 0)
		rc = choose_cache(args, &cache, err);
	if (rc == 0)
		rc = check_paths(args, cache, mountpoint, err);
	if (rc == 0)
		rc = make_fs(args, cache, sources, n, ret, err);
	free_sources(sources);
	return rc;
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

/* What the process needs, and where the mount is to be. */
static int prepare(const struct cli_args *args, char mountpoint[PATH_MAX], int *ret_ready_fd,
		   struct err *err)
{
	if (!args->foreground)
		close_inherited(args->ready_fd);
	umask(077);
	int rc = process_prepare_limits(err);
	if (rc == 0)
		rc = own_ready_fd(args->ready_fd, ret_ready_fd, err);
	if (rc == 0)
		rc = check_mountpoint(mountpoint_of(args), mountpoint, err);
	return rc < 0 ? rc : check_device(err);
}

int mount_main(const struct cli_args *args)
{
	struct err err;
	char mountpoint[PATH_MAX];
	struct serving s = {.mountpoint = mountpoint, .report_fd = -1, .ready_fd = -1};
	if (check_operands(args, &err) < 0)
		return complain(CLI_USAGE, "mount: %s", err.text);
	log_open(args->log_level, args->log_format, false);
	if (prepare(args, mountpoint, &s.ready_fd, &err) < 0)
		return complain(CLI_FAILED, "%s", err.text);

	int rc = prepare_fs(args, mountpoint, &s.fs, &err);
	if (rc < 0)
		return complain(rc == -EINVAL ? CLI_USAGE : CLI_FAILED, "%s", err.text);
	struct fs_status status;
	fs_status(s.fs, &status);
	s.source = status.title;
	struct mount_options mount = {.mountpoint = mountpoint,
				      .source = status.title,
				      .allow_other = args->allow_other,
				      .noexec = args->noexec};
	stop_block_signals();
	/* Not later: one of the places where sockets are may be below the mount. */
	control_sweep(geteuid(), ignore_socket, NULL);
	if (mount_open(&mount, &s.fuse_fd, &err) < 0) {
		fs_free(s.fs);
		return complain(CLI_FAILED, "%s", err.text);
	}
	return start(args, &s);
}
