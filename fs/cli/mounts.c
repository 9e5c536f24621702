/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/mounts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/mountinfo.h"

#define FSTYPE     "fuse.wasmocifs"
#define MOUNTS_MAX 4096 /* of ours; more are not seen */

/* The fourth field: "/" if the mount shows the whole of its file system. */
static bool shows_whole(const char *line)
{
	for (int i = 0; i < 3 && line != NULL; i++)
		line = strchr(line + (i > 0), ' ');
	return line != NULL && strncmp(line, " / ", 3) == 0;
}

/* The last field, which the kernel's fuse writes: "ro,user_id=0,group_id=0,…". */
static uid_t owner(const char *line)
{
	const char *last = strrchr(line, ' ');
	const char *id = last != NULL ? strstr(last, "user_id=") : NULL;
	return id != NULL ? (uid_t)strtoul(id + strlen("user_id="), NULL, 10) : (uid_t)-1;
}

static int add(struct mounts *m, const struct mountinfo_entry *e, const char *line)
{
	if (m->n >= MOUNTS_MAX)
		return 0;
	struct mounts_entry *v = reallocarray(m->v, m->n + 1, sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	m->v = v;
	AUTO_FREE char *mountpoint = strdup(e->mountpoint);
	AUTO_FREE char *source = strdup(e->source);
	if (mountpoint == NULL || source == NULL)
		return -ENOMEM;
	m->v[m->n++] = (struct mounts_entry){
	    .mountpoint = steal_ptr(&mountpoint),
	    .source = steal_ptr(&source),
	    .minor = e->minor,
	    .uid = owner(line),
	    .whole = shows_whole(line),
	};
	return 0;
}

static void cover(struct mounts *m, const char *mountpoint)
{
	for (size_t i = 0; i < m->n; i++)
		m->v[i].covered |= strcmp(m->v[i].mountpoint, mountpoint) == 0;
}

static int read_all(FILE *f, struct mounts *m)
{
	AUTO_FREE char *line = NULL;
	AUTO_FREE struct mountinfo_entry *e = malloc(sizeof(*e));
	size_t room = 0;
	if (e == NULL)
		return -ENOMEM;
	while (getline(&line, &room, f) > 0) {
		if (mountinfo_parse(line, e) < 0)
			continue;
		cover(m, e->mountpoint);
		if (strcmp(e->fstype, FSTYPE) != 0)
			continue;
		int rc = add(m, e, line);
		if (rc < 0)
			return rc;
	}
	return ferror(f) ? -EIO : 0;
}

int mounts_read(const char *file, struct mounts *ret, struct err *err)
{
	FILE *f = fopen(file, "re");
	if (f == NULL)
		return err_errno(err, -errno, "%s", file);
	*ret = (struct mounts){0};
	int rc = read_all(f, ret);
	(void)fclose(f);
	if (rc < 0) {
		mounts_release(ret);
		return err_errno(err, rc, "%s", file);
	}
	return 0;
}

void mounts_release(struct mounts *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->v[i].mountpoint);
		free(m->v[i].source);
	}
	free(m->v);
	*m = (struct mounts){0};
}

const struct mounts_entry *mounts_find(const struct mounts *m, const char *path)
{
	for (size_t i = 0; i < m->n; i++) {
		if (!m->v[i].covered && strcmp(m->v[i].mountpoint, path) == 0)
			return &m->v[i];
	}
	return NULL;
}

const struct mounts_entry *mounts_above(const struct mounts *m, const char *path)
{
	const struct mounts_entry *best = NULL;
	size_t best_len = 0;
	for (size_t i = 0; i < m->n; i++) {
		const char *p = m->v[i].mountpoint;
		size_t len = strlen(p);
		if (m->v[i].covered || len < best_len || strncmp(path, p, len) != 0)
			continue;
		if (path[len] == '\0' || path[len] == '/' || strcmp(p, "/") == 0) {
			best = &m->v[i];
			best_len = len;
		}
	}
	return best;
}

const struct mounts_entry *mounts_by_minor(const struct mounts *m, unsigned minor)
{
	for (size_t i = 0; i < m->n; i++) {
		if (m->v[i].minor == minor)
			return &m->v[i];
	}
	return NULL;
}
