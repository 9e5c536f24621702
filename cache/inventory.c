/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/inventory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cache/evict.h"
#include "cache/filelock.h"
#include "cache/pins.h"
#include "cache/store_impl.h"

static const char *const algorithms[] = {"sha256", "sha512"};

struct reading {
	struct inventory *to;
	const char *alg; /* NULL: partials */
	int pins;
};

static int64_t in_ms(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000 + t->tv_nsec / 1000000;
}

static struct inventory_blob *add(struct inventory *v)
{
	if (v->n == v->room) {
		size_t room = 2 * v->room + 64;
		struct inventory_blob *more = reallocarray(v->v, room, sizeof(*more));
		if (more == NULL)
			return NULL;
		v->v = more;
		v->room = room;
	}
	return &v->v[v->n++];
}

static int read_blob(void *ctx, int dirfd, const char *name)
{
	const struct reading *r = ctx;
	struct digest d;
	struct stat st;
	if (digest_parse_parts(r->alg, strlen(r->alg), name, strlen(name), &d) < 0)
		return 0;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return 0;
	struct inventory_blob *b = add(r->to);
	if (b == NULL)
		return -ENOMEM;
	*b = (struct inventory_blob){.digest = d,
				     .size = (uint64_t)st.st_size,
				     .disk = disk_bytes(&st),
				     .used_ms = in_ms(&st.st_atim),
				     .pinned = pins_name(r->pins, name),
				     .held = evict_is_held(dirfd, name)};
	return 0;
}

static int read_partial(void *ctx, int dirfd, const char *name)
{
	const struct reading *r = ctx;
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISREG(st.st_mode)) {
		r->to->partials++;
		r->to->partial_bytes += disk_bytes(&st);
	}
	return 0;
}

static int by_digest(const void *a, const void *b)
{
	return digest_compare(&((const struct inventory_blob *)a)->digest,
			      &((const struct inventory_blob *)b)->digest);
}

/* Only where there is none does it hold nothing. */
static int each_in(struct store *s, const char *path, dirs_entry_fn fn, void *ctx)
{
	int fd = dirs_open(&s->dirs, path);
	return fd == -ENOENT ? 0 : dirs_each(fd, fn, ctx);
}

int inventory_read(struct store *s, struct inventory *ret, struct err *err)
{
	char path[BLOB_DIR_MAX] = PARTIAL_DIR;
	struct inventory all = {0};
	int rc = each_in(s, path, read_partial, &(struct reading){&all, NULL, -1});
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(algorithms); i++) {
		AUTO_FD int pins = pins_open(s, algorithms[i]);
		struct reading r = {&all, algorithms[i], pins};
		snprintf(path, sizeof(path), "blobs/%s", algorithms[i]);
		rc = each_in(s, path, read_blob, &r);
	}
	if (rc < 0) {
		inventory_release(&all);
		return err_set(err, rc == -ENOMEM ? rc : -EIO,
			       "cannot list %s/%s (%s); make it a directory that you may read, "
			       "or name another cache with --cache DIR",
			       s->dirs.path, path, strerrorname_np(-rc));
	}
	if (all.n > 0)
		qsort(all.v, all.n, sizeof(*all.v), by_digest);
	*ret = all;
	return 0;
}

void inventory_release(struct inventory *v)
{
	free(v->v);
	*v = (struct inventory){0};
}

const struct inventory_blob *inventory_find(const struct inventory *v, const struct digest *d)
{
	const struct inventory_blob key = {.digest = *d};
	return v->n > 0 ? bsearch(&key, v->v, v->n, sizeof(key), by_digest) : NULL;
}

bool inventory_is_kept(struct store *s, const struct digest *d)
{
	return open_blob_exists(s, d, NULL) == 0;
}

uint64_t inventory_left(struct store *s, const struct digest *d, uint64_t size)
{
	char name[PARTIAL_NAME_MAX];
	struct stat st;
	path_partial(d, size, name);
	AUTO_FD int dirfd = dirs_open(&s->dirs, PARTIAL_DIR);
	if (dirfd < 0 || fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return 0;
	return (uint64_t)st.st_size < size ? (uint64_t)st.st_size : size;
}

/* Where it is -EIO, *cause says why. */
static int not_removed(int code, int *cause)
{
	*cause = code;
	return code == -ENOENT ? -ENOENT : -EIO;
}

/* Inside the gate. */
static int remove_inside(struct store *s, const struct digest *d, bool pinned_too, uint64_t *freed,
			 int *cause)
{
	char path[BLOB_DIR_MAX], hex[DIGEST_HEX_MAX];
	struct stat st;
	path_blob_dir(d, path);
	digest_hex(d, hex);
	AUTO_FD int dirfd = dirs_open(&s->dirs, path);
	AUTO_FD int pins = pins_open(s, digest_alg_name(d));
	if (dirfd < 0)
		return says_no_file(dirfd) ? -ENOENT : not_removed(dirfd, cause);
	if (fstatat(dirfd, hex, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return not_removed(-errno, cause);
	if (!pinned_too && pins_name(pins, hex))
		return -EPERM;
	if (evict_is_held(dirfd, hex))
		return -EBUSY;
	if (unlinkat(dirfd, hex, 0) < 0)
		return not_removed(-errno, cause);
	*freed = disk_bytes(&st);
	space_uncount(s, *freed, 1);
	if (pins >= 0)
		(void)unlinkat(pins, hex, 0);
	return 0;
}

int inventory_remove(struct store *s, const struct digest *d, bool pinned_too, uint64_t *ret_freed,
		     struct err *err)
{
	char digest[DIGEST_STRING_MAX];
	int cause = 0, rc = space_enter(s, NULL, err);
	*ret_freed = 0;
	if (rc < 0)
		return rc;
	rc = remove_inside(s, d, pinned_too, ret_freed, &cause);
	space_leave(s);
	digest_string(d, digest);
	switch (rc) {
	case -ENOENT:
		return err_set(err, rc, "%s is not in the cache %s", digest, s->dirs.path);
	case -EPERM:
		return err_set(err, rc, "%s is pinned", digest);
	case -EBUSY:
		return err_set(err, rc, "%s is in use", digest);
	default:
		return rc < 0 ? err_set(err, rc,
					"%s cannot be removed from the cache %s (%s): let uid %u "
					"write there",
					digest, s->dirs.path, strerror(-cause), (unsigned)geteuid())
			      : 0;
	}
}

struct partials {
	struct store *store;
	int64_t before_ms;
	bool dry;
	uint64_t n, freed;
};

static int remove_partial_entry(void *ctx, int dirfd, const char *name)
{
	struct partials *p = ctx;
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
	    (p->before_ms != 0 && in_ms(&st.st_mtim) >= p->before_ms) || evict_is_held(dirfd, name))
		return 0;
	/* One whose maker has not locked it yet may be taken from under it; makers look for
	 * that (cache/sweep.c). */
	if (!p->dry && unlinkat(dirfd, name, 0) < 0)
		return 0;
	p->n++;
	p->freed += disk_bytes(&st);
	if (!p->dry)
		space_uncount(p->store, disk_bytes(&st), 0);
	return 0;
}

int inventory_remove_partials(struct store *s, int64_t before_ms, bool dry, uint64_t *ret_n,
			      uint64_t *ret_freed, struct err *err)
{
	struct partials p = {.store = s, .before_ms = before_ms, .dry = dry};
	int rc = space_enter(s, NULL, err);
	if (rc < 0)
		return rc;
	rc = each_in(s, PARTIAL_DIR, remove_partial_entry, &p);
	space_leave(s);
	*ret_n = p.n;
	*ret_freed = p.freed;
	return rc < 0 ? err_set(err, -EIO, "cannot list %s/" PARTIAL_DIR " (%s)", s->dirs.path,
				strerrorname_np(-rc))
		      : 0;
}

int inventory_check(struct store *s, const struct digest *d, bool drop, struct call *call,
		    uint64_t *ret_size, bool *ret_removed, struct err *err)
{
	struct stat st;
	struct digest got;
	*ret_removed = false;
	char digest[DIGEST_STRING_MAX];
	digest_string(d, digest);
	AUTO_FD int fd = open_blob(s, d, &st, err);
	if (fd < 0)
		return fd == -ENOENT ? err_set(err, fd, "%s is not in the cache", digest) : fd;
	(void)filelock_shared(fd, FILELOCK_READER);
	int rc = store_hash(fd, d, call, &got, err);
	if (rc < 0 && rc != -ENODATA)
		return rc;
	struct file_id id;
	if (fstat(fd, &st) < 0)
		return err_errno(err, -EIO, "%s", digest);
	*ret_size = (uint64_t)st.st_size;
	if (rc == 0 && digest_equal(&got, d))
		return 0;
	file_id_of(&st, &id);
	if (drop)
		*ret_removed = remove_wrong(s, d, &id);
	return rc < 0 ? err_set(err, -EIO, "%s: the disk does not give it", digest)
		      : err_set(err, -EBADMSG, "%s: its bytes do not match", digest);
}

int inventory_document(struct store *s, const struct digest *d, size_t max, char **ret,
		       size_t *ret_len, struct err *err)
{
	char path[BLOB_PATH_MAX];
	struct digest got;
	AUTO_FREE char *text = NULL;
	path_blob(d, path);
	int rc = file_read_small(s->dirs.fd, path, max, &text, ret_len);
	if (rc == -EFBIG)
		return err_set(err, rc, "larger than a manifest may be");
	if (rc < 0)
		return says_no_file(rc) ? err_set(err, -ENOENT, "not in the cache")
					: err_errno(err, -EIO, "%s/%s", s->dirs.path, path);
	if (digest_of(d->alg, text, *ret_len, &got) < 0 || !digest_equal(&got, d))
		return err_set(err, -EBADMSG, "%s/%s does not match its digest", s->dirs.path,
			       path);
	*ret = steal_ptr(&text);
	return 0;
}
