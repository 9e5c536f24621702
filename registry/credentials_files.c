/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/lock.h"
#include "registry/credentials.h"

#define FILES_MAX 4

struct auth_file {
	char *path;
	bool named; /* by the user: must be there */
	/* guarded by credentials.lock: what was read last */
	struct stat seen; /* st_ino 0: nothing */
	char *text;
	size_t len;
};

struct credentials {
	struct lock lock;
	struct auth_file files[FILES_MAX];
	size_t count;
};

static int add_file(struct credentials *c, bool named, const char *dir, const char *name)
{
	char *path;

	if (!dir || !*dir)
		return 0;
	if (asprintf(&path, "%s%s", dir, name) < 0)
		return -ENOMEM;
	c->files[c->count++] = (struct auth_file){.path = path, .named = named};
	return 0;
}

static int add_usual(struct credentials *c)
{
	const char *home = getenv("HOME");
	const char *docker = getenv("DOCKER_CONFIG");
	const char *config = getenv("XDG_CONFIG_HOME");
	int r;

	if (docker && *docker)
		r = add_file(c, false, docker, "/config.json");
	else
		r = add_file(c, false, home, "/.docker/config.json");
	if (r == 0)
		r = add_file(c, false, getenv("XDG_RUNTIME_DIR"), "/containers/auth.json");
	if (r == 0 && config && *config)
		r = add_file(c, false, config, "/containers/auth.json");
	else if (r == 0)
		r = add_file(c, false, home, "/.config/containers/auth.json");
	return r;
}

int credentials_open(const char *auth_file, struct credentials **ret)
{
	struct credentials *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	lock_init(&c->lock);
	if (!auth_file || !*auth_file)
		auth_file = getenv("REGISTRY_AUTH_FILE");
	if (auth_file && *auth_file)
		r = add_file(c, true, auth_file, "");
	else
		r = add_usual(c);
	if (r < 0) {
		credentials_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

static void wipe(char *text, size_t len)
{
	if (text)
		explicit_bzero(text, len);
	free(text);
}

void credentials_free(struct credentials *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->count; i++) {
		free(c->files[i].path);
		wipe(c->files[i].text, c->files[i].len);
	}
	lock_release(&c->lock);
	free(c);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* 1: *text is new. 0: there is no such file. */
static int read_file(const struct auth_file *f, char **text, size_t *len, struct err *err)
{
	AUTO_FD int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int64_t n;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR) && !f->named)
		return 0;
	if (fd < 0)
		return err_set(err, -EACCES, "%s: %s", f->path, strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > CREDENTIALS_FILE_MAX)
		return err_set(err, -EACCES, "%s: not a file of credentials", f->path);
	*text = malloc((size_t)st.st_size + 1);
	if (!*text)
		return err_set(err, -ENOMEM, "out of memory");
	n = file_pread_full(fd, *text, (size_t)st.st_size, 0);
	if (n < 0) {
		free(*text);
		return err_set(err, -EACCES, "%s: %s", f->path, strerror((int)-n));
	}
	*len = (size_t)n;
	(*text)[n] = '\0';
	return 1;
}

/* Reads the file again if it is another one than before. Files are read
 * without the lock: the last reader's text stays. */
static int refresh(struct credentials *c, struct auth_file *f, struct err *err)
{
	struct stat st = {0};
	char *text = NULL;
	size_t len = 0;
	bool same;
	int r;

	if (stat(f->path, &st) < 0)
		st = (struct stat){0};
	lock_take(&c->lock);
	same = st.st_ino != 0 && is_same(&st, &f->seen);
	lock_drop(&c->lock);
	if (same)
		return 0;
	r = read_file(f, &text, &len, err);
	if (r < 0)
		return r;
	lock_take(&c->lock);
	wipe(f->text, f->len);
	f->text = text;
	f->len = len;
	f->seen = st;
	lock_drop(&c->lock);
	return 0;
}

int credentials_find(struct credentials *c, const char *host, const char *repo,
		     struct credential *ret, struct err *err)
{
	for (size_t i = 0; i < c->count; i++) {
		struct auth_file *f = &c->files[i];
		int r = refresh(c, f, err);

		if (r < 0)
			return r;
		lock_take(&c->lock);
		r = f->text ? credentials_parse(f->text, f->len, host, repo, ret, err) : 0;
		lock_drop(&c->lock);
		if (r < 0)
			return err_wrap(err, r, "%s", f->path);
		if (r > 0)
			return r;
	}
	return 0;
}
