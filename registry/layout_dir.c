/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/layout_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "registry/json_util.h"
#include "registry/source.h"

#define LAYOUT_FILE_MAX (64u << 10) /* oci-layout: bytes */
#define BLOB_PATH_MAX   (sizeof("blobs/sha512/") + DIGEST_HEX_MAX)

/* Of a file that could not be opened or read. What a layout may not hold makes
 * it a broken one. */
static int fault(int rc, const char *path, struct err *err)
{
	switch (-rc) {
	case ENOENT:
		return err_set(err, -ENOENT, "%s is not there", path);
	case ELOOP:
	case ENOTDIR:
	case EISDIR:
	case EINVAL:
	case ENXIO:
	case EXDEV:
		return err_set(err, -EPROTO, "%s is not a regular file of the layout", path);
	case EFBIG:
	case ENOMEM:
	case EACCES:
		return err_errno(err, rc, "%s", path);
	default:
		return err_errno(err, -EIO, "%s", path);
	}
}

/* Without the layout itself, nothing can be told of its blobs. */
static int missing_blob(const struct layout_dir *l, const char *path, struct err *err)
{
	struct stat st;

	if (fstatat(l->fd, "oci-layout", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(err, -EIO, "the layout is gone");
	return fault(-ENOENT, path, err);
}

static int index_fault(int rc, struct err *err)
{
	if (rc == -ENOENT)
		return err_set(err, -EPROTO, "there is no index.json");
	return fault(rc, "index.json", err);
}

/* Who makes a layout anew often removes the old one first. */
static void revive(const struct layout_dir *l)
{
	struct stat st;

	if (fstat(l->fd, &st) < 0 || st.st_nlink > 0)
		return;
	AUTO_FD int fd = open(l->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		(void)dup3(fd, l->fd, O_CLOEXEC);
}

static int identify_index(const struct layout_dir *l, struct layout_identity *ret, struct err *err)
{
	struct stat st;

	if (fstatat(l->fd, "index.json", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return index_fault(-errno, err);
	*ret = (struct layout_identity){st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim};
	return 0;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same_file(const struct layout_identity *a, const struct layout_identity *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       same_time(&a->mtime, &b->mtime) && same_time(&a->ctime, &b->ctime);
}

static int read_index(const struct layout_dir *l, struct manifest **ret, struct err *err)
{
	AUTO_FREE char *bytes = NULL;
	size_t len = 0;

	int rc = file_read_small(l->fd, "index.json", SOURCE_DOCUMENT_MAX, &bytes, &len);
	if (rc < 0)
		return index_fault(rc, err);
	rc = manifest_parse_listing(bytes, len, ret, err);
	return rc < 0 ? err_wrap(err, rc, "index.json") : 0;
}

/* The identity is of before the read: a change in between shows as one at the
 * next question. */
int layout_dir_index(struct layout_dir *l, struct manifest **ret, struct err *err)
{
	struct layout_identity now;
	struct manifest *index = NULL;
	revive(l);
	int rc = identify_index(l, &now, err);
	if (rc < 0)
		return rc;

	lock_take(&l->lock);
	if (l->index != NULL && same_file(&now, &l->index_is))
		index = manifest_ref(l->index);
	lock_drop(&l->lock);
	if (index != NULL) {
		*ret = index;
		return 0;
	}
	rc = read_index(l, &index, err);
	if (rc < 0)
		return rc;
	lock_take(&l->lock);
	struct manifest *old = l->index;
	l->index = manifest_ref(index);
	l->index_is = now;
	lock_drop(&l->lock);
	manifest_unref(old);
	*ret = index;
	return 0;
}

static void blob_path(const struct digest *d, char ret[BLOB_PATH_MAX])
{
	char hex[DIGEST_HEX_MAX];

	digest_hex(d, hex);
	(void)snprintf(ret, BLOB_PATH_MAX, "blobs/%s/%s", digest_alg_name(d), hex);
}

int layout_dir_open_blob(const struct layout_dir *l, const struct digest *d, uint64_t *ret_size,
			 struct err *err)
{
	char path[BLOB_PATH_MAX];
	struct stat st;

	revive(l);
	blob_path(d, path);
	AUTO_FD int fd = file_open_beneath(l->fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0)
		return fd == -ENOENT ? missing_blob(l, path, err) : fault(fd, path, err);
	if (fstat(fd, &st) < 0)
		return fault(-errno, path, err);
	if (!S_ISREG(st.st_mode))
		return fault(-EINVAL, path, err);
	*ret_size = (uint64_t)st.st_size;
	return steal_fd(&fd);
}

int layout_dir_read_blob(const struct layout_dir *l, const struct digest *d, char **ret,
			 size_t *ret_len, struct err *err)
{
	char path[BLOB_PATH_MAX];
	struct digest is;
	AUTO_FREE char *bytes = NULL;
	size_t len = 0;

	revive(l);
	blob_path(d, path);
	int rc = file_read_small(l->fd, path, SOURCE_DOCUMENT_MAX, &bytes, &len);
	if (rc < 0)
		return rc == -ENOENT ? missing_blob(l, path, err) : fault(rc, path, err);
	rc = digest_of((enum digest_alg)d->alg, bytes, len, &is);
	if (rc < 0)
		return err_errno(err, rc, "%s", path);
	if (!digest_equal(&is, d))
		return err_set(err, -EBADMSG, "%s does not match its name", path);
	*ret = steal_ptr(&bytes);
	*ret_len = len;
	return 0;
}

static int check_version(const struct layout_dir *l, struct err *err)
{
	AUTO_FREE char *bytes = NULL;
	AUTO_JSON json_t *o = NULL;
	const char *version = NULL;
	size_t len = 0;

	int rc = file_read_small(l->fd, "oci-layout", LAYOUT_FILE_MAX, &bytes, &len);
	if (rc == -ENOENT)
		return err_set(err, -EPROTO, "not an OCI image layout: it has no file oci-layout");
	if (rc < 0)
		return fault(rc, "oci-layout", err);
	rc = json_util_parse(bytes, len, "oci-layout", &o, err);
	if (rc == 0)
		rc = json_util_string(o, "imageLayoutVersion", &version, err);
	if (rc == 0 && (version == NULL || strcmp(version, "1.0.0") != 0))
		rc = err_set(err, -EPROTO, "an image layout of version %s, not 1.0.0",
			     version != NULL ? version : "(none)");
	return rc;
}

int layout_dir_open(const char *path, struct layout_dir *ret, struct err *err)
{
	struct layout_dir l = {.fd = -1};
	struct manifest *index = NULL;
	AUTO_FD int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "the directory");
	l.fd = fd;
	if (snprintf(l.path, sizeof(l.path), "%s", path) >= (int)sizeof(l.path))
		return err_set(err, -EINVAL, "the path is too long");
	int rc = check_version(&l, err);
	if (rc == 0)
		rc = identify_index(&l, &l.index_is, err);
	if (rc == 0)
		rc = read_index(&l, &index, err);
	if (rc < 0)
		return rc;
	*ret = l;
	ret->index = index;
	ret->fd = steal_fd(&fd);
	lock_init(&ret->lock);
	return 0;
}

void layout_dir_release(struct layout_dir *l)
{
	manifest_unref(l->index);
	lock_release(&l->lock);
	auto_close_(&l->fd);
}
