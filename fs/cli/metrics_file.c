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
#include "fs/log.h"

struct metrics_file {
	const char *path;
	const struct report *report;
	int stop_fd; /* eventfd: the thread is to end */
	pthread_t thread;
	bool failing; /* the thread's own: it has said so */
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

static int write_temporary(int dir, const char *name, const char *text, size_t len)
{
	AUTO_FD int fd = -1;
	/* Whatever has the name is not ours to follow or to keep. */
	(void)unlinkat(dir, name, 0);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int rc = file_write_all(fd, text, len);
	if (rc == 0 && fchmod(fd, 0644) < 0)
		rc = -errno;
	return rc;
}

static int write_once(const struct metrics_file *m)
{
	char temporary[NAME_MAX + 1];
	const char *name = NULL;
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int rc = make_text(m->report, &text, &len);
	if (rc < 0)
		return rc;
	AUTO_FD int dir = open_parent(m->path, &name, temporary);
	if (dir < 0)
		return dir;
	rc = write_temporary(dir, temporary, text, len);
	if (rc == 0 && renameat(dir, temporary, dir, name) < 0)
		rc = -errno;
	if (rc < 0)
		(void)unlinkat(dir, temporary, 0);
	return rc;
}

static void say(struct metrics_file *m, int rc)
{
	bool failing = rc < 0;
	if (failing == m->failing)
		return;
	m->failing = failing;
	if (failing)
		log_warning("metrics", "cannot write %s: %s; it is tried again every %d s", m->path,
			    strerror(-rc), METRICS_FILE_MS / 1000);
	else
		log_info("metrics", "%s is written again", m->path);
}

static void *write_often(void *arg)
{
	struct metrics_file *m = arg;
	struct pollfd stop = {.fd = m->stop_fd, .events = POLLIN};
	do
		say(m, write_once(m));
	while (poll(&stop, 1, METRICS_FILE_MS) <= 0);
	return NULL;
}

int metrics_file_new(const char *path, const struct report *r, struct metrics_file **ret,
		     struct err *err)
{
	struct metrics_file *m = calloc(1, sizeof(*m));
	if (m == NULL)
		return err_set(err, -ENOMEM, "out of memory");
	*m = (struct metrics_file){.path = path, .report = r};
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
	free(m);
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
	(void)unlinkat(dir, temporary, 0);
	(void)unlinkat(dir, name, 0);
}
