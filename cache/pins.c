/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/pins.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cache/store_impl.h"

#define PINS_DIR_MAX 16 /* "pins/sha512" */

static const char *const algorithms[] = {"sha256", "sha512"};

static void path_pins(const char *alg, char out[PINS_DIR_MAX])
{
	int n = snprintf(out, PINS_DIR_MAX, "pins/%s", alg);
	ASSERT(n > 0 && n < PINS_DIR_MAX);
}

int pins_open(struct store *s, const char *alg)
{
	char path[PINS_DIR_MAX];
	path_pins(alg, path);
	return dirs_open(&s->dirs, path);
}

bool pins_name(int pinsfd, const char *hex)
{
	struct stat st;
	if (pinsfd < 0)
		return pinsfd != -ENOENT;
	if (fstatat(pinsfd, hex, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno != ENOENT;
	return S_ISREG(st.st_mode) && st.st_uid == geteuid();
}

bool pins_has(struct store *s, const struct digest *d)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(d, hex);
	AUTO_FD int dirfd = pins_open(s, digest_alg_name(d));
	return pins_name(dirfd, hex);
}

/* Inside the gate. */
static int make(int dirfd, const char *hex, bool *ret_new)
{
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	if (pins_name(dirfd, hex)) {
		*ret_new = false;
		return 0;
	}
	/* What was planted there. */
	if (unlinkat(dirfd, hex, 0) < 0 && errno == EISDIR)
		(void)unlinkat(dirfd, hex, AT_REMOVEDIR);
	AUTO_FD int fd = openat(dirfd, hex, flags, 0400);
	*ret_new = fd >= 0;
	/* -EEXIST: what was planted there could not be removed. */
	return fd < 0 ? -errno : 0;
}

int pins_put(struct store *s, const struct digest *d, bool *ret_new, struct err *err)
{
	char path[PINS_DIR_MAX], hex[DIGEST_HEX_MAX];
	bool fresh = false;
	path_pins(digest_alg_name(d), path);
	digest_hex(d, hex);
	AUTO_FD int dirfd = dirs_make(&s->dirs, path, err);
	if (dirfd < 0)
		return store_errno(dirfd);
	int rc = space_enter(s, NULL, err);
	if (rc < 0)
		return rc;
	rc = make(dirfd, hex, &fresh);
	space_leave(s);
	if (rc < 0) {
		(void)err_errno(err, rc, "cannot pin in %s/%s", s->dirs.path, path);
		return store_errno(rc);
	}
	if (fresh)
		(void)fsync(dirfd);
	if (ret_new != NULL)
		*ret_new = fresh;
	return 0;
}

int pins_drop(struct store *s, const struct digest *d, struct err *err)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(d, hex);
	AUTO_FD int dirfd = pins_open(s, digest_alg_name(d));
	if (dirfd == -ENOENT)
		return err_set(err, -ENOENT, "not pinned");
	int rc = dirfd < 0 ? dirfd : space_enter(s, NULL, err);
	if (rc < 0)
		return err_errno(err, store_errno(rc), "cannot unpin in %s", s->dirs.path);
	if (unlinkat(dirfd, hex, 0) < 0)
		rc = -errno;
	space_leave(s);
	if (rc == -ENOENT)
		return err_set(err, rc, "not pinned");
	if (rc < 0)
		return err_errno(err, store_errno(rc), "cannot unpin in %s", s->dirs.path);
	(void)fsync(dirfd);
	return 0;
}

struct each {
	const char *alg;
	pins_fn fn;
	void *ctx;
};

static int each_entry(void *ctx, int dirfd, const char *name)
{
	const struct each *e = ctx;
	struct digest d;
	if (digest_parse_parts(e->alg, strlen(e->alg), name, strlen(name), &d) < 0 ||
	    !pins_name(dirfd, name))
		return 0;
	return e->fn(e->ctx, &d);
}

int pins_each(struct store *s, pins_fn fn, void *ctx, struct err *err)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(algorithms); i++) {
		struct each e = {algorithms[i], fn, ctx};
		int fd = pins_open(s, algorithms[i]);
		if (fd == -ENOENT)
			continue;
		if (fd < 0)
			return err_set(err, -EIO,
				       "cannot list the pins in %s/pins/%s (%s), so all counts as "
				       "pinned; make it a directory that you may read, or remove "
				       "what stands in its place",
				       s->dirs.path, algorithms[i], strerrorname_np(-fd));
		rc = dirs_each(fd, each_entry, &e);
		if (rc < 0)
			(void)err_errno(err, rc, "cannot list the pins of %s", s->dirs.path);
	}
	return rc;
}
