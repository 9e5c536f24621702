/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/credential_helper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "registry/helper_run.h"
#include "registry/park.h"

#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* What one helper said of one server. */
struct said {
	struct said *next;
	char name[HELPER_NAME_MAX];
	char *key;
	bool running;
	uint64_t runs; /* that have ended */
	/* of the last one that was not broken off */
	int64_t until_ms;
	uint64_t era;
	int code; /* 1: credential; 0: none; -errno: why */
	struct credential credential;
	char why[ERR_TEXT_MAX];
	struct digest refused; /* the login that was asked for anew */
};

struct helpers {
	char *path; /* $PATH */
	int64_t limit_ms;
	struct lock lock;
	struct cond ended; /* a run has */
	/* guarded by lock; as many as files name helpers for one host */
	struct said *all;
};

int helpers_new(int64_t limit_ms, struct helpers **ret)
{
	const char *path = getenv("PATH");
	struct helpers *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	lock_init(&h->lock);
	cond_init(&h->ended);
	h->limit_ms = limit_ms;
	h->path = strdup(path && *path ? path : PATH_DEFAULT);
	if (!h->path) {
		helpers_free(h);
		return -ENOMEM;
	}
	*ret = h;
	return 0;
}

void helpers_free(struct helpers *h)
{
	if (!h)
		return;
	while (h->all) {
		struct said *s = h->all;

		h->all = s->next;
		credential_release(&s->credential);
		free(s->key);
		free(s);
	}
	cond_release(&h->ended);
	lock_release(&h->lock);
	free(h->path);
	free(h);
}

/* ---- one run ---- */

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Absolute directories only: where we stand is nobody's choice. */
static int find_program(const char *path, const char *name, char **ret)
{
	for (const char *p = path; *p;) {
		AUTO_FREE char *program = NULL;
		int n = (int)strcspn(p, ":");

		if (*p == '/') {
			if (asprintf(&program, "%.*s/" HELPER_PREFIX "%s", n, p, name) < 0) {
				program = NULL;
				return -ENOMEM;
			}
			if (is_program(program)) {
				*ret = steal_ptr(&program);
				return 0;
			}
		}
		p += n;
		p += *p == ':';
	}
	return -ENOENT;
}

/* 1, 0, -errno. */
static int run(const struct helpers *h, const struct said *s, struct call *call,
	       struct credential *ret, struct err *err)
{
	AUTO_FREE char *program = NULL;
	struct helper_output o = {0};
	int r = find_program(h->path, s->name, &program);

	if (r == -ENOMEM)
		return err_set(err, r, "out of memory");
	if (r < 0)
		return err_set(err, -EACCES,
			       HELPER_PREFIX "%s, which has the login, is not on the PATH",
			       s->name);
	r = helper_run(program, s->key, h->limit_ms, call, &o, err);
	if (r == 0)
		r = helper_parse(o.text, o.len, o.exit_code, ret, err);
	helper_output_release(&o);
	return r < 0 ? err_wrap(err, r, HELPER_PREFIX "%s", s->name) : r;
}

/* ---- what is kept ---- */

/* Entries stay: a config names few helpers, and one host asks for one key. */
static struct said *find(struct helpers *h, const char *name, const char *key) REQUIRES(h->lock)
{
	struct said *s = h->all;

	while (s && (strcmp(s->name, name) != 0 || strcmp(s->key, key) != 0))
		s = s->next;
	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->key = strdup(key);
	if (!s->key) {
		free(s);
		return NULL;
	}
	s->next = h->all;
	h->all = s;
	return s;
}

static int64_t keep_ms(struct said *s)
{
	bool is_login = s->code == 1;

	if (is_login && !digest_equal(&s->credential.id, &s->refused)) {
		s->refused = (struct digest){0};
		return HELPER_KEEP_MS;
	}
	return HELPER_AGAIN_MS;
}

/* This thread runs it; s->running is set. */
static int run_one(struct helpers *h, struct said *s, uint64_t era, struct call *call,
		   struct err *err)
{
	struct credential c = {0};
	struct err why = {""};
	char waiting[ERR_TEXT_MAX];
	int r;

	snprintf(waiting, sizeof(waiting), HELPER_PREFIX "%s has given no answer yet", s->name);
	call_say(call, -ETIMEDOUT, waiting);
	r = run(h, s, call, &c, &why);
	call_say(call, 0, "");
	lock_take(&h->lock);
	/* How one call ends says nothing of the next. */
	if (r != -ECANCELED && r != -ETIMEDOUT && r != -ENOMEM) {
		credential_release(&s->credential);
		s->credential = c;
		c = (struct credential){0};
		s->code = r;
		s->era = era;
		memcpy(s->why, why.text, sizeof(s->why));
		s->until_ms = clock_ms() + keep_ms(s);
		r = 0;
	}
	s->running = false;
	s->runs++;
	cond_broadcast(&h->ended);
	lock_drop(&h->lock);
	credential_release(&c);
	return r < 0 ? err_set(err, r, "%s", why.text) : 0;
}

struct wait {
	const struct said *said;
	uint64_t runs;
};

static bool has_ended(const void *ctx)
{
	const struct wait *w = ctx;

	return w->said->runs != w->runs;
}

static int answer(const struct said *s, struct credential *ret, struct err *err)
{
	if (s->code < 0)
		return err_set(err, s->code, "%s", s->why);
	if (s->code == 1 && credential_copy(&s->credential, ret) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	return s->code;
}

int helpers_get(struct helpers *h, const char *name, const char *key, uint64_t era,
		struct call *call, struct credential *ret, struct err *err)
{
	for (;;) {
		struct wait w;
		struct said *s;
		bool mine = false;
		int r = 0;

		lock_take(&h->lock);
		s = find(h, name, key);
		if (s && s->era >= era && clock_ms() < s->until_ms) {
			r = answer(s, ret, err);
			lock_drop(&h->lock);
			return r;
		}
		if (s && !s->running)
			mine = s->running = true;
		w = (struct wait){s, s ? s->runs : 0};
		lock_drop(&h->lock);
		if (!s)
			return err_set(err, -ENOMEM, "out of memory");
		if (mine)
			r = run_one(h, s, era, call, err);
		else
			r = park(&h->lock, &h->ended, has_ended, &w, call, INT64_MAX, err);
		if (r < 0)
			return r;
	}
}

void helpers_refused(struct helpers *h, const struct digest *id)
{
	lock_take(&h->lock);
	for (struct said *s = h->all; s; s = s->next) {
		if (s->code != 1 || !digest_equal(&s->credential.id, id) ||
		    digest_equal(&s->refused, id))
			continue;
		s->refused = *id;
		s->until_ms = 0;
	}
	lock_drop(&h->lock);
}
