/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/home.h"
#include "base/lock.h"
#include "registry/credential_helper.h"

#define FILES_MAX  6
#define VARIABLE   "DOCKER_AUTH_CONFIG"
#define SETTLED_MS 2000 /* a file that changed less long ago may change again unnoticed */

struct auth_file {
	char *path; /* for people, if it is a variable */
	enum credentials_form form;
	bool named;    /* by the user: must be there */
	bool chosen;   /* by the environment: it is said if it is not */
	bool variable; /* its text never changes */
	/* guarded by credentials.lock: what was read last */
	struct stat seen; /* st_ino 0: nothing */
	bool settled;
	char *text;
	size_t len;
	struct names headers; /* that it sets */
	uint64_t era;         /* in which it became what it is */
};

struct credentials {
	struct helpers *helpers;
	struct warnings warnings;
	struct lock lock;
	struct auth_file files[FILES_MAX];
	size_t count;
	uint64_t era; /* guarded by lock: how often a file was another one */
};

/* The daemon leaves for "/": what is relative is so to where we stand now. */
static int add_file(struct credentials *c, enum credentials_form form, const char *dir,
		    const char *name)
{
	AUTO_FREE char *here = NULL;
	char *path;

	if (!dir || !*dir)
		return 0;
	if (*dir != '/')
		here = get_current_dir_name();
	if (asprintf(&path, "%s%s%s%s", here ? here : "", here ? "/" : "", dir, name) < 0)
		return -ENOMEM;
	c->files[c->count++] = (struct auth_file){.path = path, .form = form};
	return 0;
}

static int add_variable(struct credentials *c)
{
	const char *text = getenv(VARIABLE);
	struct auth_file *f = &c->files[c->count];

	if (!text || !*text)
		return 0;
	*f = (struct auth_file){.path = strdup("$" VARIABLE),
				.form = CREDENTIALS_AUTHS,
				.variable = true,
				.text = strdup(text),
				.len = strlen(text)};
	c->count++;
	return f->path && f->text ? 0 : -ENOMEM;
}

static int add_runtime(struct credentials *c)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");
	char own[64];

	if (dir && *dir)
		return add_file(c, CREDENTIALS_CONTAINERS, dir, "/containers/auth.json");
	snprintf(own, sizeof(own), "/run/containers/%u", (unsigned)geteuid());
	return add_file(c, CREDENTIALS_CONTAINERS, own, "/auth.json");
}

static int add_usual(struct credentials *c)
{
	const char *docker = getenv("DOCKER_CONFIG");
	AUTO_FREE char *home = NULL, *config = NULL;
	int r = home_dir(&home);

	if (r == 0)
		r = home_config(&config);
	if (r == 0)
		r = add_variable(c);
	if (r == 0 && docker && *docker)
		r = add_file(c, CREDENTIALS_DOCKER, docker, "/config.json");
	else if (r == 0)
		r = add_file(c, CREDENTIALS_DOCKER, home, "/.docker/config.json");
	if (r == 0)
		r = add_runtime(c);
	if (r == 0)
		r = add_file(c, CREDENTIALS_CONTAINERS, config, "/containers/auth.json");
	return r < 0 ? r : add_file(c, CREDENTIALS_LEGACY, home, "/.dockercfg");
}

static int add_chosen(struct credentials *c)
{
	const char *path = getenv("REGISTRY_AUTH_FILE");
	int r = path && *path ? add_file(c, CREDENTIALS_DOCKER, path, "") : 0;

	if (c->count > 0)
		c->files[0].chosen = true;
	return r;
}

int credentials_open(const char *auth_file, struct credentials **ret)
{
	struct credentials *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	lock_init(&c->lock);
	warnings_init(&c->warnings);
	if (auth_file && *auth_file) {
		r = add_file(c, CREDENTIALS_DOCKER, auth_file, "");
		c->files[0].named = true;
	} else {
		r = add_chosen(c);
		if (r == 0)
			r = add_usual(c);
	}
	if (r == 0)
		r = helpers_new(HELPER_LIMIT_MS, &c->helpers);
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
		names_release(&c->files[i].headers);
	}
	helpers_free(c->helpers);
	lock_release(&c->lock);
	warnings_release(&c->warnings);
	free(c);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* A write soon after another may leave the same times. */
static bool is_settled(const struct stat *st)
{
	int64_t changed_ms = (int64_t)st->st_ctim.tv_sec * 1000 + st->st_ctim.tv_nsec / 1000000;
	int64_t age_ms = clock_wall_ms() - changed_ms;

	return age_ms > SETTLED_MS;
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
		return err_set(err, -EACCES, "%s", strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > CREDENTIALS_FILE_MAX)
		return err_set(err, -EACCES, "it is no file, or larger than %u bytes",
			       CREDENTIALS_FILE_MAX);
	*text = malloc((size_t)st.st_size + 1);
	if (!*text)
		return err_set(err, -ENOMEM, "out of memory");
	n = file_pread_full(fd, *text, (size_t)st.st_size, 0);
	if (n < 0) {
		free(*text);
		return err_set(err, -EACCES, "%s", strerror((int)-n));
	}
	*len = (size_t)n;
	(*text)[n] = '\0';
	return 1;
}

static bool is_known(struct credentials *c, const struct auth_file *f, const struct stat *st)
{
	bool known;

	lock_take(&c->lock);
	known = f->variable || (st->st_ino != 0 && f->settled && is_same(st, &f->seen));
	lock_drop(&c->lock);
	return known;
}

/* Reads the file again if it may be another one than before. Files are read
 * without the lock: the last reader's text stays. */
static int refresh(struct credentials *c, struct auth_file *f, struct err *err)
{
	struct stat st = {0};
	struct names headers = {0}, old;
	char *text = NULL;
	size_t len = 0;
	int r;

	if (!f->variable && stat(f->path, &st) < 0)
		st = (struct stat){0};
	if (is_known(c, f, &st))
		return 0;
	r = read_file(f, &text, &len, err);
	if (r > 0 && f->form == CREDENTIALS_DOCKER)
		r = credentials_parse_headers(text, len, &headers);
	if (r < 0) {
		wipe(text, len);
		names_release(&headers);
		return r;
	}
	lock_take(&c->lock);
	old = f->headers;
	f->headers = headers;
	/* Not by its times: a helper's login may be new where the text is the same. */
	if (!is_same(&st, &f->seen) && (text || f->text))
		f->era = ++c->era;
	wipe(f->text, f->len);
	f->text = text;
	f->len = len;
	f->seen = st;
	f->settled = is_settled(&st);
	lock_drop(&c->lock);
	names_release(&old);
	return 0;
}

static void warn_of_mode(struct credentials *c, const struct auth_file *f, mode_t mode)
{
	char text[WARNING_TEXT_MAX];

	if ((mode & (S_IRGRP | S_IROTH)) == 0)
		return;
	snprintf(text, sizeof(text), "others may read the login in %s: chmod 600 it", f->path);
	warnings_add(&c->warnings, text);
}

static void warn_of_absence(struct credentials *c, const struct auth_file *f)
{
	char text[WARNING_TEXT_MAX];

	snprintf(text, sizeof(text), "REGISTRY_AUTH_FILE names %s, which is not there", f->path);
	warnings_add(&c->warnings, text);
}

bool credentials_warning(struct credentials *c, char ret[WARNING_TEXT_MAX])
{
	return warnings_take(&c->warnings, ret);
}

static int ask_helper(struct credentials *c, const char *name, const char *host, uint64_t era,
		      struct call *call, struct credential *ret, struct err *err)
{
	char key[CREDENTIALS_KEY_MAX];

	credentials_server_key(host, key);
	return helpers_get(c->helpers, name, key, era, call, ret, err);
}

/* 1, 0, -errno, for what one file says. */
static int find_in(struct credentials *c, struct auth_file *f, const char *host, const char *repo,
		   struct call *call, struct credential *ret, struct err *err)
{
	char helper[HELPER_NAME_MAX] = "";
	uint64_t era;
	mode_t mode;
	bool absent;
	int r = refresh(c, f, err);

	if (r < 0)
		return err_wrap(err, r, "%s", f->path);
	lock_take(&c->lock);
	era = f->era;
	mode = f->seen.st_mode;
	absent = f->text == NULL;
	r = f->text ? credentials_parse(f->text, f->len, f->form, host, repo, ret, helper, err) : 0;
	lock_drop(&c->lock);
	if (absent && f->chosen)
		warn_of_absence(c, f);
	if (r > 0 && !helper[0])
		warn_of_mode(c, f, mode);
	if (r > 0 && helper[0])
		r = ask_helper(c, helper, host, era, call, ret, err);
	return r < 0 ? err_wrap(err, r, "%s", f->path) : r;
}

static int find_in_files(struct credentials *c, const char *host, const char *repo,
			 struct call *call, struct credential *ret, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < c->count && r == 0; i++)
		r = find_in(c, &c->files[i], host, repo, call, ret, err);
	return r;
}

int credentials_find(struct credentials *c, const struct names *helpers, const char *host,
		     const char *repo, struct call *call, struct credential *ret, struct err *err)
{
	struct err why;
	int failed = 0;

	if (!helpers || helpers->n == 0 || (c->count > 0 && c->files[0].named))
		return find_in_files(c, host, repo, call, ret, err);
	for (size_t i = 0; i < helpers->n; i++) {
		const char *name = helpers->v[i];
		int r = strcmp(name, CREDENTIALS_FILES) == 0
			    ? find_in_files(c, host, repo, call, ret, &why)
			    : ask_helper(c, name, host, 0, call, ret, &why);

		if (r > 0)
			return r;
		if (r < 0 && (failed == 0 || call_check(call, NULL) < 0))
			failed = err_set(err, r, "%s", why.text);
		if (call_check(call, NULL) < 0)
			break;
	}
	return failed;
}

int credentials_headers(struct credentials *c, struct names *ret)
{
	int r = 0;

	for (size_t i = 0; i < c->count && r == 0; i++) {
		struct auth_file *f = &c->files[i];

		if (f->form != CREDENTIALS_DOCKER || refresh(c, f, NULL) < 0)
			continue;
		lock_take(&c->lock);
		for (size_t j = 0; j < f->headers.n && r == 0; j++)
			r = names_add(ret, f->headers.v[j], strlen(f->headers.v[j]));
		lock_drop(&c->lock);
	}
	return r;
}

bool credentials_mention(struct credentials *c, const char *host)
{
	bool found = false;

	for (size_t i = 0; i < c->count && !found; i++) {
		struct auth_file *f = &c->files[i];

		if (refresh(c, f, NULL) < 0)
			continue;
		lock_take(&c->lock);
		found = f->text && credentials_parse_mention(f->text, f->len, f->form, host);
		lock_drop(&c->lock);
	}
	return found;
}

void credentials_refused(struct credentials *c, const struct digest *id)
{
	helpers_refused(c->helpers, id);
}
