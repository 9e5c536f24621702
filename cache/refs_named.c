/* SPDX-License-Identifier: Apache-2.0 */
/* The digests that each repository named: one file per repository that only
 * grows, by whole lines. It is read into memory when a repository is first
 * asked about, and from there on where it ended, when a question finds no
 * answer and the file has grown by another process.
 *
 * One thread at a time reads or appends for a repository (`busy`); what is in
 * memory can be asked all the while. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "cache/named.h"
#include "cache/ref_record.h"
#include "cache/refs_impl.h"

#define FILE_NAMED "named"
/* Sets in memory at once, and digests in all of them; what nobody uses goes. */
#define SETS_MAX    64
#define DIGESTS_MAX NAMED_MAX
#define READ_BYTES  (64u << 10)
/* One write each, so that lines of two processes do not mix. */
#define APPEND_BYTES (64u << 10)
/* Records that are read or copied in one hold of the lock. */
#define LINES_AT_ONCE 16

struct named_set {
	char *origin, *repo;
	TAILQ_ENTRY(named_set) link;
	/* All guarded by refs.lock; but file and the reading are the busy one's. */
	unsigned users;
	bool busy, loaded;
	struct named named;
	dev_t dev;
	ino_t ino;
	uint64_t off; /* read up to here: the start of a line */
};

void named_sets_init(struct refs *r)
{
	lock_init(&r->lock);
	cond_init(&r->changed);
	TAILQ_INIT(&r->named);
}

static void free_set(struct named_set *set)
{
	named_release(&set->named);
	free(set->origin);
	free(set->repo);
	free(set);
}

void named_sets_release(struct refs *r)
{
	struct named_set *set;
	while ((set = TAILQ_FIRST(&r->named)) != NULL) {
		ASSERT(set->users == 0);
		TAILQ_REMOVE(&r->named, set, link);
		free_set(set);
	}
	cond_release(&r->changed);
	lock_release(&r->lock);
}

static struct named_set *new_set(const char *origin, const char *repo)
{
	struct named_set *set = calloc(1, sizeof(*set));
	if (set == NULL)
		return NULL;
	set->origin = strdup(origin);
	set->repo = strdup(repo);
	if (set->origin == NULL || set->repo == NULL) {
		free_set(set);
		return NULL;
	}
	return set;
}

/* Sets that nobody uses go, oldest first, until the bounds are kept. */
static void trim(struct refs *r) REQUIRES(r->lock)
{
	struct named_set *set, *before;
	for (set = TAILQ_LAST(&r->named, named_list); set != NULL; set = before) {
		before = TAILQ_PREV(set, named_list, link);
		if (r->n_named <= SETS_MAX && r->n_digests <= DIGESTS_MAX)
			return;
		if (set->users > 0)
			continue;
		TAILQ_REMOVE(&r->named, set, link);
		r->n_named--;
		r->n_digests -= set->named.n;
		free_set(set);
	}
}

/* A use of the set; NULL: no memory. */
static struct named_set *use_set(struct refs *r, const char *origin, const char *repo)
    REQUIRES(r->lock)
{
	struct named_set *set;
	TAILQ_FOREACH (set, &r->named, link) {
		if (strcmp(set->repo, repo) == 0 && strcmp(set->origin, origin) == 0)
			break;
	}
	if (set != NULL) {
		TAILQ_REMOVE(&r->named, set, link);
	} else {
		set = new_set(origin, repo);
		if (set == NULL)
			return NULL;
		r->n_named++;
	}
	TAILQ_INSERT_HEAD(&r->named, set, link);
	set->users++;
	return set;
}

static void end_use(struct refs *r, struct named_set *set)
{
	lock_take(&r->lock);
	set->users--;
	trim(r);
	lock_drop(&r->lock);
}

static void become_busy(struct refs *r, struct named_set *set) REQUIRES(r->lock)
{
	while (set->busy)
		cond_wait(&r->changed, &r->lock);
	set->busy = true;
}

static void end_busy(struct refs *r, struct named_set *set)
{
	lock_take(&r->lock);
	set->busy = false;
	cond_broadcast(&r->changed);
	lock_drop(&r->lock);
}

/* 1 if it is new to the set. */
static int add(struct refs *r, struct named_set *set, const struct descriptor *d) REQUIRES(r->lock)
{
	int rc = named_add(&set->named, d, r->named_max);
	if (rc > 0)
		r->n_digests++;
	return rc;
}

/* Records of whole lines, up to LINES_AT_ONCE. Bytes used; what is no record is
 * skipped. */
static size_t parse_lines(const char *text, size_t len, struct descriptor *ret, size_t *ret_n)
{
	size_t used = 0, n = 0;
	const char *end;
	while (n < LINES_AT_ONCE && (end = memchr(text + used, '\n', len - used)) != NULL) {
		size_t line_len = (size_t)(end - (text + used));
		if (ref_record_parse_named(text + used, line_len, &ret[n]) == 0)
			n++;
		used += line_len + 1;
	}
	*ret_n = n;
	return used;
}

/* Bytes of text used: whole lines; -ENOMEM. Parsed without the lock, which who
 * asks about another repository needs too. */
static ssize_t add_lines(struct refs *r, struct named_set *set, const char *text, size_t len)
{
	struct descriptor d[LINES_AT_ONCE];
	size_t used = 0, more, n;
	int rc = 0;
	while (rc >= 0 && (more = parse_lines(text + used, len - used, d, &n)) > 0) {
		lock_take(&r->lock);
		for (size_t i = 0; rc >= 0 && i < n; i++)
			rc = add(r, set, &d[i]);
		lock_drop(&r->lock);
		/* A full set forgets the rest: it will be asked about again. */
		if (rc >= 0)
			used += more;
	}
	return rc == -ENOMEM ? rc : (ssize_t)used;
}

static int open_named(struct refs *r, const char *origin, const char *repo)
{
	char path[REFS_PATH_MAX];
	int rc = refs_repo_path(origin, repo, "/" FILE_NAMED, path);
	if (rc < 0)
		return rc;
	return file_open_beneath(r->store->dirs.fd, path, O_RDONLY | O_NONBLOCK, 0);
}

static int read_lines(struct refs *r, struct named_set *set, int fd, uint64_t end)
{
	AUTO_FREE char *buf = malloc(READ_BYTES);
	if (buf == NULL)
		return -ENOMEM;
	while (set->off < end && set->off < r->file_max) {
		int64_t n = file_pread_full(fd, buf, READ_BYTES, set->off);
		if (n < 0)
			return -EIO;
		ssize_t used = add_lines(r, set, buf, (size_t)n);
		if (used < 0)
			return -ENOMEM;
		/* No line is this long. What is left of it will be no record. */
		if (used == 0 && n == READ_BYTES)
			used = READ_BYTES;
		if (used == 0)
			return 0;
		set->off += (uint64_t)used;
	}
	return 0;
}

/* By the busy one: reads what was added since the last time. A file that was
 * replaced is read from its start; what is known stays known. */
static int refresh(struct refs *r, struct named_set *set, struct err *err)
{
	AUTO_FD int fd = open_named(r, set->origin, set->repo);
	struct stat st;
	if (says_no_file(fd))
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(err, -EIO, "cannot read from the cache %s (%s)", r->store->dirs.path,
			       strerrorname_np(fd < 0 ? -fd : errno));
	if (!S_ISREG(st.st_mode))
		return 0;
	if (st.st_dev != set->dev || st.st_ino != set->ino || (uint64_t)st.st_size < set->off)
		set->off = 0;
	set->dev = st.st_dev;
	set->ino = st.st_ino;
	int rc = read_lines(r, set, fd, (uint64_t)st.st_size);
	return rc < 0 ? err_errno(err, -EIO, "cannot read from the cache %s (%s)",
				  r->store->dirs.path, strerrorname_np(-rc))
		      : 0;
}

/* Reads the file if this is the first question, or if it is asked to. */
static int load(struct refs *r, struct named_set *set, bool again, struct err *err)
{
	lock_take(&r->lock);
	if (set->loaded && !again) {
		lock_drop(&r->lock);
		return 0;
	}
	become_busy(r, set);
	lock_drop(&r->lock);
	int rc = refresh(r, set, err);
	lock_take(&r->lock);
	set->loaded = set->loaded || rc == 0;
	lock_drop(&r->lock);
	end_busy(r, set);
	return rc;
}

static struct named_set *begin_use(struct refs *r, const char *origin, const char *repo,
				   struct err *err)
{
	lock_take(&r->lock);
	struct named_set *set = use_set(r, origin, repo);
	lock_drop(&r->lock);
	if (set == NULL)
		(void)err_errno(err, -ENOMEM, "cache");
	return set;
}

static bool find(struct refs *r, const struct named_set *set, const struct digest *d,
		 struct descriptor *ret)
{
	lock_take(&r->lock);
	bool found = named_find(&set->named, d, ret);
	lock_drop(&r->lock);
	return found;
}

int refs_named(struct refs *r, const char *origin, const char *repo, const struct digest *d,
	       struct descriptor *ret, struct err *err)
{
	struct named_set *set = begin_use(r, origin, repo, err);
	if (set == NULL)
		return -ENOMEM;
	int rc = 0;
	if (!find(r, set, d, ret)) {
		rc = load(r, set, true, err);
		if (rc == 0 && !find(r, set, d, ret))
			rc = err_set(err, -ENOENT, "the repository has not named it");
	}
	end_use(r, set);
	return rc;
}

/* Whether it is new to the set. */
static bool add_one(struct refs *r, struct named_set *set, const struct descriptor *d)
{
	lock_take(&r->lock);
	int rc = add(r, set, d);
	lock_drop(&r->lock);
	return rc > 0;
}

/* Lines of those that are new, beginning with an empty one: where an earlier
 * line was cut, it must not swallow the first of ours. */
static size_t format_new(struct refs *r, struct named_set *set, const struct descriptor *descs,
			 size_t n, size_t *i, char buf[APPEND_BYTES])
{
	size_t len = 0;
	for (; *i < n && APPEND_BYTES - len > REF_LINE_MAX; ++*i) {
		char line[REF_LINE_MAX];
		int line_len = ref_record_format_named(&descs[*i], line);
		/* A full set would be told of it, and have it appended, again
		 * and again. */
		if (line_len < 0 || !add_one(r, set, &descs[*i]))
			continue;
		if (len == 0)
			buf[len++] = '\n';
		memcpy(buf + len, line, (size_t)line_len);
		len += (size_t)line_len;
	}
	return len;
}

static int append(struct refs *r, const struct named_set *set, const char *buf, size_t len,
		  struct err *err)
{
	char path[REFS_PATH_MAX];
	int rc = refs_repo_path(set->origin, set->repo, "", path);
	if (rc < 0)
		return err_errno(err, rc, "refs");
	rc = space_spare(r->store, len, err);
	if (rc < 0)
		return rc;
	AUTO_FD int dirfd = refs_make_repo(r->store, set->repo, path, err);
	if (dirfd < 0)
		return dirfd;
	int flags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	AUTO_FD int fd = openat(dirfd, FILE_NAMED, flags, 0600);
	struct stat st;
	/* Nobody would read it. */
	if (fd >= 0 && fstat(fd, &st) == 0 && (uint64_t)st.st_size >= r->file_max)
		return 0;
	rc = fd < 0 ? -errno : file_write_all(fd, buf, len);
	if (rc == 0)
		return 0;
	(void)err_errno(err, rc, "cannot write to the cache %s", r->store->dirs.path);
	return store_errno(rc);
}

/* By the busy one. */
static int append_new(struct refs *r, struct named_set *set, const struct descriptor *descs,
		      size_t n, struct err *err)
{
	AUTO_FREE char *buf = malloc(APPEND_BYTES);
	if (buf == NULL)
		return err_errno(err, -ENOMEM, "cache");
	int rc = 0;
	size_t i = 0;
	while (i < n) {
		size_t len = format_new(r, set, descs, n, &i, buf);
		/* Where the disk refuses, it is known in this process still. */
		if (len > 0 && rc == 0)
			rc = append(r, set, buf, len, err);
	}
	return rc;
}

int refs_name(struct refs *r, const char *origin, const char *repo, const struct descriptor *descs,
	      size_t n, struct err *err)
{
	struct named_set *set = begin_use(r, origin, repo, err);
	if (set == NULL)
		return -ENOMEM;
	int rc = load(r, set, false, err);
	lock_take(&r->lock);
	become_busy(r, set);
	lock_drop(&r->lock);
	int appended = append_new(r, set, descs, n, err);
	end_busy(r, set);
	end_use(r, set);
	return appended < 0 ? appended : rc;
}

static size_t count(struct refs *r, const struct named_set *set)
{
	lock_take(&r->lock);
	size_t n = set->named.n;
	lock_drop(&r->lock);
	return n;
}

bool refs_named_any(struct refs *r, const char *origin, const char *repo)
{
	struct named_set *set = begin_use(r, origin, repo, NULL);
	if (set == NULL)
		return false;
	bool any = count(r, set) > 0;
	if (!any && load(r, set, true, NULL) == 0)
		any = count(r, set) > 0;
	end_use(r, set);
	return any;
}

/* Of a million, a few at a time: others want the lock. What is there stays as
 * it is and where it is. */
static struct descriptor *copy_all(struct refs *r, const struct named_set *set, size_t n)
{
	struct descriptor *all = calloc(n > 0 ? n : 1, sizeof(*all));
	for (size_t i = 0; all != NULL && i < n;) {
		lock_take(&r->lock);
		for (size_t end = i + LINES_AT_ONCE; i < n && i < end; i++)
			named_get(&set->named, i, &all[i]);
		lock_drop(&r->lock);
	}
	return all;
}

int refs_named_all(struct refs *r, const char *origin, const char *repo, struct descriptor **ret,
		   size_t *ret_n, struct err *err)
{
	struct named_set *set = begin_use(r, origin, repo, err);
	if (set == NULL)
		return -ENOMEM;
	int rc = load(r, set, true, err);
	size_t n = rc == 0 ? count(r, set) : 0;
	struct descriptor *all = rc == 0 ? copy_all(r, set, n) : NULL;
	end_use(r, set);
	if (all == NULL)
		return rc < 0 ? rc : err_errno(err, -ENOMEM, "cache");
	*ret = all;
	*ret_n = n;
	return 0;
}
