/* SPDX-License-Identifier: Apache-2.0 */
/* Tags, listings and the names of repositories; the digests that a repository
 * named are in cache/refs_named.c.
 *
 *	refs/<origin>/catalog
 *	refs/<origin>/r/<repository>/name          only if its name is hashed
 *	refs/<origin>/r/<repository>/listing
 *	refs/<origin>/r/<repository>/named
 *	refs/<origin>/r/<repository>/tags/<tag>
 */
#include "cache/refs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cache/ref_name.h"
#include "cache/ref_record.h"
#include "cache/refs_impl.h"

#define REPO_NAME_MAX 4096 /* of a name that is kept in a file */
#define REPOS_MAX     (1u << 20)
#define ORIGINS_MAX   4096

#define FILE_CATALOG  "catalog"
#define FILE_LISTING  "listing"
#define FILE_NAME     "name"
#define DIR_TAGS      "/tags"

int refs_open(struct store *s, struct refs **ret, struct err *err)
{
	struct refs *r = calloc(1, sizeof(*r));
	if (r == NULL)
		return err_errno(err, -ENOMEM, "cache");
	*r = (struct refs){.store = s, .named_max = NAMED_MAX, .file_max = REFS_NAMED_FILE_MAX};
	named_sets_init(r);
	*ret = r;
	return 0;
}

void refs_close(struct refs *r)
{
	if (r == NULL)
		return;
	named_sets_release(r);
	free(r);
}

int refs_repo_path(const char *origin, const char *repo, const char *below, char out[REFS_PATH_MAX])
{
	char o[REF_NAME_MAX], n[REF_NAME_MAX];
	if (ref_name_encode(origin, o) < 0 || ref_name_encode(repo, n) < 0)
		return -EIO;
	snprintf(out, REFS_PATH_MAX, "refs/%s/r/%s%s", o, n, below);
	return 0;
}

static int write_beside(struct store *s, int dirfd, const char *name, int fd, const char *tmp,
			const void *data, size_t len)
{
	AUTO_FD int from = dirs_open(&s->dirs, PARTIAL_DIR);
	if (from < 0)
		return from;
	int rc = file_write_all(fd, data, len);
	if (rc < 0)
		return rc;
	return renameat(from, tmp, dirfd, name) < 0 ? -errno : 0;
}

int refs_replace(struct store *s, int dirfd, const char *name, const void *data, size_t len,
		 struct err *err)
{
	char tmp[PARTIAL_NAME_MAX] = "refs";
	AUTO_FD int fd = open_private(s, tmp, err);
	if (fd < 0)
		return store_errno(fd);
	int rc = write_beside(s, dirfd, name, fd, tmp, data, len);
	if (rc < 0) {
		remove_partial(s, tmp, fd, 0);
		(void)err_errno(err, rc, "cannot write to the cache %s", s->dirs.path);
		return store_errno(rc);
	}
	return 0;
}

int refs_make_repo(struct store *s, const char *repo, const char *path, struct err *err)
{
	AUTO_FD int fd = dirs_make(&s->dirs, path, err);
	if (fd < 0)
		return store_errno(fd);
	const char *component = strrchr(path, '/') + 1;
	if (ref_name_is_hashed(component) && faccessat(fd, FILE_NAME, F_OK, 0) < 0) {
		int rc = refs_replace(s, fd, FILE_NAME, repo, strlen(repo), err);
		if (rc < 0)
			return rc;
	}
	return steal_fd(&fd);
}

/* -ENOENT for whatever is not there or is no file; -EIO. */
static int read_record(struct refs *r, const char *path, size_t max, char **ret, size_t *ret_len,
		       struct err *err)
{
	int rc = file_read_small(r->store->dirs.fd, path, max, ret, ret_len);
	if (rc < 0 && !says_no_file(rc))
		return err_errno(err, -EIO, "cannot read from the cache %s (%s)",
				 r->store->dirs.path, strerrorname_np(-rc));
	return rc < 0 ? err_set(err, -ENOENT, "nothing recorded") : 0;
}

static int tag_path(const char *origin, const char *repo, const char *tag, char out[REFS_PATH_MAX])
{
	char below[REF_NAME_MAX + sizeof(DIR_TAGS "/")] = DIR_TAGS "/";
	int rc = ref_name_encode(tag, below + sizeof(DIR_TAGS "/") - 1);
	return rc < 0 ? rc : refs_repo_path(origin, repo, below, out);
}

int refs_tag_load(struct refs *r, const char *origin, const char *repo, const char *tag,
		  struct tag_record *ret, struct err *err)
{
	char path[REFS_PATH_MAX];
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int rc = tag_path(origin, repo, tag, path);
	if (rc < 0)
		return err_errno(err, rc, "refs");
	rc = read_record(r, path, REF_LINE_MAX, &text, &len, err);
	if (rc < 0)
		return rc;
	if (ref_record_parse_tag(text, len, tag, ret) < 0)
		return err_set(err, -ENOENT, "nothing recorded");
	return 0;
}

int refs_tag_save(struct refs *r, const char *origin, const char *repo, const char *tag,
		  const struct tag_record *rec, struct err *err)
{
	char line[REF_LINE_MAX];
	char repo_path[REFS_PATH_MAX], path[REFS_PATH_MAX];
	char name[REF_NAME_MAX];
	int len = ref_record_format_tag(rec, tag, line);
	if (len < 0)
		return err_errno(err, len, "cannot record a tag");
	if (refs_repo_path(origin, repo, "", repo_path) < 0 ||
	    refs_repo_path(origin, repo, DIR_TAGS, path) < 0 || ref_name_encode(tag, name) < 0)
		return err_errno(err, -EIO, "cannot record a tag");
	int rc = space_spare(r->store, (uint64_t)len, err);
	if (rc < 0)
		return rc;
	AUTO_FD int repofd = refs_make_repo(r->store, repo, repo_path, err);
	if (repofd < 0)
		return repofd;
	AUTO_FD int tags = dirs_make(&r->store->dirs, path, err);
	if (tags < 0)
		return store_errno(tags);
	return refs_replace(r->store, tags, name, line, (size_t)len, err);
}

void refs_tag_forget(struct refs *r, const char *origin, const char *repo, const char *tag)
{
	char path[REFS_PATH_MAX];
	if (tag_path(origin, repo, tag, path) < 0)
		return;
	char *name = strrchr(path, '/');
	*name++ = '\0';
	AUTO_FD int dirfd = dirs_open(&r->store->dirs, path);
	if (dirfd >= 0)
		(void)unlinkat(dirfd, name, 0);
}

/* The directory and the file of a listing. */
static int listing_place(const char *origin, const char *repo, char dir[REFS_PATH_MAX],
			 const char **ret_file)
{
	*ret_file = FILE_LISTING;
	int rc = refs_repo_path(origin, repo, "", dir);
	if (rc == 0 && repo[0] == '\0') {
		*strrchr(dir, '/') = '\0'; /* the name */
		*strrchr(dir, '/') = '\0'; /* r */
		*ret_file = FILE_CATALOG;
	}
	return rc;
}

int refs_listing_load(struct refs *r, const char *origin, const char *repo, struct names *ret,
		      int64_t *ret_seen_ms, struct err *err)
{
	char path[REFS_PATH_MAX];
	const char *file;
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int rc = listing_place(origin, repo, path, &file);
	if (rc < 0)
		return err_errno(err, rc, "refs");
	size_t at = strlen(path);
	snprintf(path + at, REFS_PATH_MAX - at, "/%s", file);
	rc = read_record(r, path, REF_LISTING_BYTES, &text, &len, err);
	if (rc < 0)
		return rc;
	rc = ref_record_parse_listing(text, len, ret, ret_seen_ms);
	if (rc == -ENOMEM)
		return err_errno(err, rc, "cannot read a listing");
	return rc < 0 ? err_set(err, -ENOENT, "nothing recorded") : 0;
}

int refs_listing_save(struct refs *r, const char *origin, const char *repo,
		      const struct names *names, int64_t seen_ms, struct err *err)
{
	char path[REFS_PATH_MAX];
	const char *file;
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int rc = ref_record_format_listing(names, seen_ms, &text, &len);
	if (rc < 0)
		return err_errno(err, rc, "cannot record a listing");
	rc = listing_place(origin, repo, path, &file);
	if (rc < 0)
		return err_errno(err, rc, "refs");
	rc = space_spare(r->store, len, err);
	if (rc < 0)
		return rc;
	AUTO_FD int dirfd = repo[0] == '\0' ? dirs_make(&r->store->dirs, path, err)
					    : refs_make_repo(r->store, repo, path, err);
	if (dirfd < 0)
		return store_errno(dirfd);
	return refs_replace(r->store, dirfd, file, text, len, err);
}

/* A hashed component says its name in a file, which must lead back to it. */
static int read_hashed_name(int dirfd, const char *component, struct names *ret)
{
	char path[REF_NAME_MAX + sizeof("/" FILE_NAME)];
	char again[REF_NAME_MAX];
	AUTO_FREE char *name = NULL;
	size_t len = 0;
	snprintf(path, sizeof(path), "%s/" FILE_NAME, component);
	int rc = file_read_small(dirfd, path, REPO_NAME_MAX, &name, &len);
	if (rc < 0)
		return says_no_file(rc) ? 0 : rc;
	if (strlen(name) != len || ref_name_encode(name, again) < 0 ||
	    strcmp(again, component) != 0)
		return 0;
	return names_add(ret, name, len);
}

/* 0 also for what is no name of a repository. */
static int add_repo(int dirfd, const char *component, struct names *ret)
{
	char name[REF_NAME_MAX];
	if (component[0] == '.')
		return 0;
	if (ref_name_is_hashed(component))
		return read_hashed_name(dirfd, component, ret);
	int len = ref_name_unescape(component, strlen(component), name, sizeof(name));
	return len > 0 ? names_add(ret, name, (size_t)len) : 0;
}

/* What an entry adds to a list. */
struct collect {
	int (*add)(int dirfd, const char *component, struct names *ret);
	size_t most;
	struct names names;
};

static int collect_entry(void *ctx, int dirfd, const char *component)
{
	struct collect *c = ctx;
	return c->names.n < c->most ? c->add(dirfd, component, &c->names) : 1;
}

/* What `add` takes of a directory's entries; one that is not there has none. */
static int list_entries(struct refs *r, const char *path, size_t most,
			int (*add)(int dirfd, const char *component, struct names *ret),
			struct names *ret, struct err *err)
{
	struct collect c = {.add = add, .most = most};
	int fd = dirs_open(&r->store->dirs, path);
	int rc = says_no_file(fd) ? 0 : dirs_each(fd, collect_entry, &c);
	if (rc < 0) {
		names_release(&c.names);
		return err_set(err, rc == -ENOMEM ? rc : -EIO,
			       "cannot list what is recorded in the cache %s (%s)",
			       r->store->dirs.path, strerrorname_np(-rc));
	}
	names_sort(&c.names);
	*ret = c.names;
	return 0;
}

int refs_repos(struct refs *r, const char *origin, struct names *ret, struct err *err)
{
	char path[REFS_PATH_MAX];
	int rc = refs_repo_path(origin, "", "", path);
	if (rc < 0)
		return err_errno(err, rc, "refs");
	*strrchr(path, '/') = '\0';
	return list_entries(r, path, REPOS_MAX, add_repo, ret, err);
}

/* Tags are short enough never to be hashed. */
static int add_tag(int dirfd, const char *component, struct names *ret)
{
	char name[REF_NAME_MAX];
	(void)dirfd;
	if (component[0] == '.' || ref_name_is_hashed(component))
		return 0;
	int len = ref_name_unescape(component, strlen(component), name, sizeof(name));
	return len > 0 ? names_add(ret, name, (size_t)len) : 0;
}

int refs_tags(struct refs *r, const char *origin, const char *repo, struct names *ret,
	      struct err *err)
{
	char path[REFS_PATH_MAX];
	int rc = refs_repo_path(origin, repo, DIR_TAGS, path);
	return rc < 0 ? err_errno(err, rc, "refs")
		      : list_entries(r, path, REPOS_MAX, add_tag, ret, err);
}

static int is_visible(void *ctx, int dirfd, const char *name)
{
	(void)ctx;
	(void)dirfd;
	return name[0] != '.';
}

/* 1: it has some. */
static int has_repos(int dirfd, const char *origin)
{
	char path[REF_NAME_MAX + sizeof("/r")];
	snprintf(path, sizeof(path), "%s/r", origin);
	int fd = file_open_beneath(dirfd, path, O_RDONLY | O_DIRECTORY, 0);
	return says_no_file(fd) ? 0 : dirs_each(fd, is_visible, NULL);
}

static int add_origin(int dirfd, const char *component, struct names *ret)
{
	char name[REF_NAME_MAX];
	if (component[0] == '.' || ref_name_is_hashed(component))
		return 0;
	int rc = has_repos(dirfd, component);
	if (rc <= 0)
		return rc;
	int len = ref_name_unescape(component, strlen(component), name, sizeof(name));
	return len > 0 ? names_add(ret, name, (size_t)len) : 0;
}

int refs_origins(struct refs *r, struct names *ret, struct err *err)
{
	return list_entries(r, "refs", ORIGINS_MAX, add_origin, ret, err);
}
