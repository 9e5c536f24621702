/* SPDX-License-Identifier: Apache-2.0 */
/* `wasmocifs mount`: from the words of the command line to a keeper. All that can be wrong
 * with what was typed is found before anything is changed. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "fs/cli/cache_dir.h"
#include "fs/cli/command.h"
#include "fs/cli/daemon.h"
#include "fs/cli/fdstore.h"
#include "fs/cli/keeper.h"
#include "fs/cli/metrics_file.h"
#include "fs/cli/notify.h"
#include "fs/cli/path.h"
#include "fs/cli/process.h"
#include "fs/cli/stop.h"
#include "fs/control.h"
#include "fs/control_dir.h"
#include "fs/handover.h"
#include "fs/log.h"
#include "fs/mount.h"
#include "registry/reference.h"

#define DEV_FUSE        "/dev/fuse"
#define DEV_FUSE_NUMBER makedev(10, 229) /* Documentation/admin-guide/devices.txt */

/* All but the last operand are SOURCEs. */
static const char *mountpoint_of(const struct cli_args *args)
{
	return args->operands[args->n_operands - 1];
}

/* What mount(8) has for a SOURCE where there is none. */
static bool is_none(const char *source)
{
	return strcmp(source, "none") == 0;
}

static int check_operands(const struct cli_args *args, struct err *err)
{
	if (args->allow_hosts.n > 0 && !args->all)
		return err_set(err, -EINVAL,
			       "--allow-host goes with --all: a SOURCE is allowed as it is");
	if ((args->uid >= 0 || args->gid >= 0) && !args->allow_other)
		return err_set(err, -EINVAL,
			       "--uid and --gid go with --allow-other: without it nobody but you "
			       "is let in");
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
		if (!args->all && i + 1 < args->n_operands && is_none(args->operands[i]))
			return err_set(err, -EINVAL,
				       "'none' stands for all registries, with --all (-o all); "
				       "else name one, as ghcr.io");
	}
	return 0;
}

int mount_check(const struct cli_args *args, struct err *err)
{
	struct source_spec spec;
	int rc = check_operands(args, err);
	for (int i = 0; rc == 0 && i + 1 < args->n_operands; i++) {
		if (!is_none(args->operands[i]))
			rc = reference_parse_source(args->operands[i], &spec, err);
	}
	return rc;
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

/* It is mounted already: by a process of this unit before us, perhaps. 1: to go on with. */
static int meet_own(const struct mounts_entry *there, const struct held *kept, struct err *err)
{
	if (kept->minor == 0 || there->minor != kept->minor)
		return clear_stale(there, err);
	/* One that is not gone on with is nobody's any more. */
	return kept->fuse_fd >= 0 ? 1 : mount_close(there->mountpoint, true, err);
}

/* kept: the mount that is there may be the one that we are to go on with. */
static int check_mountpoint(const char *written, const struct held *kept, char ret[PATH_MAX],
			    struct err *err)
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
		rc = meet_own(mount, kept, err);
	else if (mount != NULL)
		rc = err_set(err, -EINVAL, "%s lies in the wasmocifs mount on %s; mount elsewhere",
			     ret, mount->mountpoint);
	mounts_release(&mounts);
	if (rc != 0)
		return rc < 0 ? rc : 0;
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

/* Every process does, and so would wait for itself. */
static int check_system(const char *mountpoint, const struct mounts *mounts, struct err *err)
{
	static const char *const needed[] = {"/proc/self", "/dev/null", "/etc/hosts", "/usr/lib"};
	char real[PATH_MAX];
	const struct mounts_entry *mount;
	for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
		if (path_resolve(needed[i], mounts, real, &mount) == 0 &&
		    path_is_within(real, mountpoint))
			return err_set(err, -EINVAL,
				       "the mount would hide %s, which its own process needs; "
				       "mount elsewhere than on %s",
				       needed[i], mountpoint);
	}
	return 0;
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
		rc = check_not_hidden("--package-config", args->package_config, mountpoint, &mounts,
				      err);
	if (rc == 0)
		rc = check_not_hidden("--metrics-file", args->metrics_file, mountpoint, &mounts,
				      err);
	if (rc == 0)
		rc = metrics_file_check(args->metrics_file, mountpoint, err);
	if (rc == 0)
		rc = check_control(mountpoint, &mounts, err);
	if (rc == 0)
		rc = check_system(mountpoint, &mounts, err);
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

static int add_word(struct names *words, const char *word, struct err *err)
{
	return names_add(words, word, strlen(word)) < 0
		   ? err_set(err, -ENOMEM, "no memory for a mount")
		   : 0;
}

/* With --all mount(8) has no source to give, and says "none". */
static int add_operands(const struct cli_args *args, const char *mountpoint, struct names *words,
			struct err *err)
{
	int rc = add_word(words, "--", err);
	for (int i = 0; i + 1 < args->n_operands && rc == 0; i++) {
		AUTO_FREE char *source = NULL;
		if (args->all && is_none(args->operands[i]))
			continue;
		rc = absolute_source(args->operands[i], &source, err);
		if (rc == 0)
			rc = add_word(words, source, err);
	}
	return rc < 0 ? rc : add_word(words, mountpoint, err);
}

/* What a worker is started with: NULL at its end, and the caller's to release. */
static int make_words(const struct cli_args *args, const char *mountpoint, struct names *ret,
		      struct err *err)
{
	int rc = add_word(ret, "wasmocifs", err);
	if (rc == 0)
		rc = add_word(ret, "serve", err);
	if (rc == 0) {
		rc = options_words(CLI_SERVE, args, ret);
		if (rc < 0)
			rc = err_errno(err, rc, "the options cannot be handed on");
	}
	if (rc == 0)
		rc = add_operands(args, mountpoint, ret, err);
	char **v = rc == 0 ? reallocarray(ret->v, ret->n + 1, sizeof(*v)) : NULL;
	if (rc == 0 && v == NULL)
		rc = err_set(err, -ENOMEM, "no memory for a mount");
	if (v != NULL) {
		v[ret->n] = NULL;
		ret->v = v;
		ret->room = ret->n + 1;
	}
	return rc;
}

static void ignore_socket(void *ctx, unsigned minor)
{
	(void)ctx;
	(void)minor;
}

/* What of the command line makes it this mount and no other: a digest of it. */
static void make_identity(const struct cli_args *args, char ret[HANDOVER_IDENTITY])
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	struct digest d;
	FILE *f = open_memstream(&text, &len);
	snprintf(ret, HANDOVER_IDENTITY, "unknown");
	if (f == NULL)
		return;
	fprintf(f, "%d %d %d %d %jd %jd %jd", args->all, args->allow_other, args->noexec,
		args->no_passthrough, (intmax_t)args->uid, (intmax_t)args->gid,
		(intmax_t)args->umask);
	for (int i = 0; i < args->n_operands; i++)
		fprintf(f, "%c%s", 0, args->operands[i]);
	for (size_t i = 0; i < args->allow_hosts.n; i++)
		fprintf(f, "%callow %s", 0, args->allow_hosts.v[i]);
	bool bad = ferror(f) != 0;
	if (fclose(f) == 0 && !bad && digest_of(DIGEST_SHA256, text, len, &d) == 0)
		digest_string(&d, ret);
}

struct waiting {
	int report_fd; /* of fs/cli/daemon.h; -1: in the foreground */
	int ready_fd;  /* -1: none */
	int place;     /* of struct held_options */
	bool ready;    /* it was */
};

/* Whoever waits has gone away before it could use the mount: not 0. */
static int on_ready(void *ctx)
{
	struct waiting *w = ctx;
	w->ready = true;
	notify_send("READY=1");
	if (w->ready_fd >= 0) {
		if (file_write_all(w->ready_fd, "\n", 1) < 0)
			log_warning("mount", "nobody reads from --ready-fd");
		close(steal_fd(&w->ready_fd));
	}
	return w->report_fd >= 0 ? daemon_report(steal_fd(&w->report_fd), CLI_DONE, NULL) : 0;
}

static int keep(const struct cli_args *args, const char *mountpoint, const char *identity,
		struct held *kept, char **words, struct waiting *w)
{
	struct err err = {""};
	struct keeper_options o = {.mount = {.mountpoint = mountpoint,
					     .place = &w->place,
					     .allow_other = args->allow_other,
					     .noexec = args->noexec,
					     .no_passthrough = args->no_passthrough,
					     .no_resend = args->no_resend,
					     .identity = identity},
				   .held = kept,
				   .argv = words,
				   .ready = on_ready,
				   .ctx = w};
	int status = keeper_run(&o, &err);
	auto_close_(&w->place);
	/* The worker did that, unless it was killed. */
	if (w->ready)
		metrics_file_remove(args->metrics_file);
	if (status == CLI_DONE)
		return status;
	if (w->report_fd >= 0) {
		(void)daemon_report(steal_fd(&w->report_fd), status, err.text);
		return status;
	}
	if (!args->foreground) {
		log_error("mount", "%s: %s", mountpoint, err.text);
		return status;
	}
	return complain(status, "%s", err.text);
}

static int start(const struct cli_args *args, const char *mountpoint, const char *identity,
		 struct held *kept, char **words, struct waiting *w)
{
	struct err err;
	if (args->foreground)
		return keep(args, mountpoint, identity, kept, words, w);
	AUTO_FD int place = open(mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
	pid_t child = daemon_fork(&w->report_fd, &err);
	if (child < 0)
		return complain(CLI_FAILED, "%s", err.text);
	if (child > 0) {
		int status = daemon_wait(w->report_fd, child, &err);
		return status == CLI_DONE ? status : complain(status, "%s", err.text);
	}
	w->place = steal_fd(&place);
	log_open(args->log_level, args->log_format, true);
	_exit(keep(args, mountpoint, identity, kept, words, w));
}

/* What the process needs, and where the mount is to be. */
static int prepare(const struct cli_args *args, const struct held *kept, char mountpoint[PATH_MAX],
		   int *ret_ready_fd, struct err *err)
{
	if (!args->foreground)
		close_inherited(args->ready_fd);
	umask(077);
	int rc = process_prepare_limits(err);
	if (rc == 0)
		rc = own_ready_fd(args->ready_fd, ret_ready_fd, err);
	if (rc == 0)
		rc = check_mountpoint(mountpoint_of(args), kept, mountpoint, err);
	return rc < 0 ? rc : check_device(err);
}

int mount_main(const struct cli_args *given)
{
	struct err err;
	struct cli_args args = *given;
	char mountpoint[PATH_MAX];
	AUTO_FREE char *cache = NULL;
	struct waiting w = {.report_fd = -1, .ready_fd = -1, .place = -1};
	struct names words = {0};
	struct held kept = HELD_NONE;
	char identity[HANDOVER_IDENTITY];
	if (check_operands(&args, &err) < 0)
		return complain(CLI_USAGE, "mount: %s", err.text);
	log_open(args.log_level, args.log_format, false);
	make_identity(&args, identity);
	/* A unit's process stays in the foreground. */
	if (args.foreground)
		fdstore_take(identity, &kept);
	int rc = prepare(&args, &kept, mountpoint, &w.ready_fd, &err);
	bool checked = rc == 0; /* what is wrong from here on was typed */
	if (rc == 0 && args.cache == NULL) {
		rc = cache_dir_default(&cache, &err);
		args.cache = cache;
	}
	if (rc == 0)
		rc = check_paths(&args, args.cache, mountpoint, &err);
	if (rc == 0)
		rc = make_words(&args, mountpoint, &words, &err);
	int status = CLI_DONE;
	if (rc < 0) {
		status =
		    complain(rc == -EINVAL && checked ? CLI_USAGE : CLI_FAILED, "%s", err.text);
	} else {
		stop_block_signals();
		/* Not later: one of the places where sockets are may be below the mount. */
		control_sweep(geteuid(), ignore_socket, NULL);
		status = start(&args, mountpoint, identity, &kept, words.v, &w);
	}
	names_release(&words);
	return status;
}
