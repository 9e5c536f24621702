/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/metrics_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "fs/cli/metrics_text.h"
#include "fs/cli/path.h"
#include "fs/log.h"

struct metrics_file {
	const char *path;
	const struct report *report;
	int stop_fd; /* eventfd: the thread is to end */
	pthread_t thread;
	/* The thread's own: */
	bool failing; /* it has said so */
	int held;     /* what it wrote last, locked, or -1 */
};

/* The directory, open, and the two names in it. -errno. */
static int open_parent(const char *path, const char **ret_name, char ret_temporary[NAME_MAX + 1])
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	if (slash == NULL || slash - path >= PATH_MAX - 1)
		return -ENAMETOOLONG;
	snprintf(dir, sizeof(dir), "%.*s/", (int)(slash - path), path);
	*ret_name = slash + 1;
	if (snprintf(ret_temporary, NAME_MAX + 1, ".%s.tmp", *ret_name) > NAME_MAX)
		return -ENAMETOOLONG;
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int make_text(const struct report *r, char **ret, size_t *ret_len)
{
	json_t *mounts = json_array();
	bool made = mounts && json_array_append_new(mounts, report_measure(r)) == 0;
	FILE *f = made ? open_memstream(ret, ret_len) : NULL;
	bool bad = f == NULL;
	if (f != NULL) {
		metrics_text(f, mounts);
		bad = ferror(f) != 0;
		bad = fclose(f) != 0 || bad;
	}
	json_decref(mounts);
	return bad ? -ENOMEM : 0;
}

/* What was written is locked in full. Where the disk has no locks, nobody sees it. */
static void lock_file(int fd)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	(void)fcntl(fd, F_OFD_SETLK, &l);
}

/* Who may only read it could lock it against writers; that is not asked about. */
static bool is_locked(int fd)
{
	struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

/* The mountpoint that the file tells of, or "". */
static void read_mountpoint(int fd, char ret[PATH_MAX])
{
	static const char label[] = "{mountpoint=\"";
	char text[2 * PATH_MAX + 512]; /* each byte may be escaped */
	int64_t n = file_pread_full(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	const char *p = strstr(text, label);
	size_t len = 0;
	for (p = p != NULL ? p + strlen(label) : ""; *p != '\0' && *p != '"'; p++) {
		bool escaped = *p == '\\' && p[1] != '\0';
		p += escaped;
		if (len + 1 < PATH_MAX)
			ret[len++] = escaped && *p == 'n' ? '\n' : *p;
	}
	ret[len] = '\0';
}

/* Whether there is something in it that no mount wrote: a file whose name was mistyped. */
static bool is_foreign(int fd)
{
	static const char head[] = "# HELP wasmocifs_";
	char text[sizeof(head) - 1];
	int64_t n = file_pread_full(fd, text, sizeof(text), 0);
	return n > 0 && (n < (int64_t)sizeof(text) || memcmp(text, head, sizeof(text)) != 0);
}

/* -EBUSY: another mount than this one writes it; -EEXIST: none ever did. */
static int check_ours(int dir, const char *name, const char *path, const char *mountpoint,
		      struct err *err)
{
	char other[PATH_MAX];
	AUTO_FD int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && is_foreign(fd))
		return err_set(
		    err, -EEXIST,
		    "--metrics-file %s: there is a file of that name, and no mount wrote "
		    "it; name another one, or remove it first",
		    path);
	if (fd < 0 || !is_locked(fd))
		return 0;
	read_mountpoint(fd, other);
	json_t *ours = path_json(mountpoint);
	bool same = ours != NULL && strcmp(other, json_string_value(ours)) == 0;
	json_decref(ours);
	if (same)
		return 0;
	return err_set(err, -EBUSY,
		       "--metrics-file %s: the mount on %s writes it; give each mount a file of "
		       "its own",
		       path, other[0] != '\0' ? other : "another directory");
}

/* The descriptor. */
static int write_temporary(int dir, const char *name, const char *text, size_t len)
{
	AUTO_FD int fd = -1;
	/* Whatever has the name is not ours to follow or to keep. */
	(void)unlinkat(dir, name, 0);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	lock_file(fd);
	int rc = file_write_all(fd, text, len);
	if (rc == 0 && fchmod(fd, 0644) < 0)
		rc = -errno;
	return rc < 0 ? rc : steal_fd(&fd);
}

static int write_once(struct metrics_file *m, struct err *err)
{
	char temporary[NAME_MAX + 1];
	const char *name = NULL;
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int rc = make_text(m->report, &text, &len);
	AUTO_FD int dir = rc < 0 ? rc : open_parent(m->path, &name, temporary);
	if (dir < 0)
		return err_set(err, dir, "cannot write %s: %s", m->path, strerror(-dir));
	rc = check_ours(dir, name, m->path, m->report->mountpoint, err);
	if (rc < 0)
		return rc;
	AUTO_FD int fd = write_temporary(dir, temporary, text, len);
	rc = fd < 0 ? fd : 0;
	if (rc == 0 && renameat(dir, temporary, dir, name) < 0)
		rc = -errno;
	if (rc < 0) {
		(void)unlinkat(dir, temporary, 0);
		return err_set(err, rc, "cannot write %s: %s", m->path, strerror(-rc));
	}
	auto_close_(&m->held);
	m->held = steal_fd(&fd);
	return 0;
}

static void say(struct metrics_file *m, int rc, const struct err *err)
{
	bool failing = rc < 0;
	if (failing == m->failing)
		return;
	m->failing = failing;
	if (failing)
		log_warning("metrics", "%s; it is tried again every %d s", err->text,
			    METRICS_FILE_MS / 1000);
	else
		log_info("metrics", "%s is written again", m->path);
}

static void *write_often(void *arg)
{
	struct metrics_file *m = arg;
	struct pollfd stop = {.fd = m->stop_fd, .events = POLLIN};
	do {
		struct err err;
		int rc = write_once(m, &err);
		say(m, rc, &err);
	} while (poll(&stop, 1, METRICS_FILE_MS) <= 0);
	return NULL;
}

int metrics_file_new(const char *path, const struct report *r, struct metrics_file **ret,
		     struct err *err)
{
	struct metrics_file *m = calloc(1, sizeof(*m));
	if (m == NULL)
		return err_set(err, -ENOMEM, "out of memory");
	*m = (struct metrics_file){.path = path, .report = r, .held = -1};
	m->stop_fd = eventfd(0, EFD_CLOEXEC);
	int rc = m->stop_fd < 0 ? -errno : -pthread_create(&m->thread, NULL, write_often, m);
	if (rc == 0) {
		(void)pthread_setname_np(m->thread, "metrics");
		*ret = m;
		return 0;
	}
	auto_close_(&m->stop_fd);
	free(m);
	return err_errno(err, rc, "cannot start what writes %s", path);
}

void metrics_file_free(struct metrics_file *m)
{
	if (m == NULL)
		return;
	(void)eventfd_write(m->stop_fd, 1);
	(void)pthread_join(m->thread, NULL);
	close(m->stop_fd);
	auto_close_(&m->held);
	free(m);
}

int metrics_file_check(const char *path, const char *mountpoint, struct err *err)
{
	char temporary[NAME_MAX + 1];
	const char *name = NULL;
	AUTO_FD int dir = path != NULL ? open_parent(path, &name, temporary) : -ENOENT;
	return dir < 0 ? 0 : check_ours(dir, name, path, mountpoint, err);
}

void metrics_file_remove(const char *path)
{
	char temporary[NAME_MAX + 1];
	const char *name = NULL;
	if (path == NULL)
		return;
	AUTO_FD int dir = open_parent(path, &name, temporary);
	if (dir < 0)
		return;
	AUTO_FD int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && (is_locked(fd) || is_foreign(fd)))
		return;
	(void)unlinkat(dir, temporary, 0);
	(void)unlinkat(dir, name, 0);
}
