/* SPDX-License-Identifier: Apache-2.0 */
/* store_put: what is in memory already goes to disk in one step, without a
 * sync. A power failure can leave such a file wrong, and then the next process
 * finds that out when it hashes it. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/file.h"
#include "cache/store_impl.h"

static int check(const struct digest *d, const void *data, size_t len, struct err *err)
{
	if (len > STORE_PUT_MAX)
		return err_set(err, -EFBIG, "%zu bytes are too many to be kept at once", len);
	struct digest got;
	int rc = digest_of(d->alg, data, len, &got);
	if (rc < 0)
		return err_errno(err, rc, "cannot hash");
	if (!digest_equal(&got, d))
		return err_set(err, -EBADMSG, "the bytes do not match their digest");
	return 0;
}

/* What an earlier process left, if it is right. */
static int use_present(struct store *s, const struct digest *d, struct blob **ret)
{
	struct call call;
	call_init(&call, INT64_MAX);
	int rc = store_verify(s, d, &call, ret, NULL);
	call_release(&call);
	return rc;
}

/* A descriptor of the published file. */
static int publish_bytes(struct store *s, const struct digest *d, const void *data, size_t len,
			 struct file_id *ret_id, struct err *err)
{
	struct publication p = {.digest = *d};
	path_partial(d, len, p.name);
	AUTO_FD int fd = open_private(s, p.name, err);
	if (fd < 0)
		return fd;
	int rc = space_reserve(s, fd, len, &p.charged, NULL, err);
	if (rc == 0) {
		rc = file_pwrite_all(fd, data, len, 0);
		if (rc < 0)
			(void)err_errno(err, rc, "cannot write to the cache %s", s->dirs.path);
	}
	if (rc == 0)
		rc = publish_rename(s, &p, fd, err);
	if (rc < 0) {
		remove_partial(s, p.name, fd, p.charged);
		return rc;
	}
	struct stat st;
	AUTO_FD int reader = open_again(fd);
	if (reader < 0 || fstat(fd, &st) < 0)
		return err_set(err, -EIO, "cannot open what was put into the cache");
	file_id_of(&st, ret_id);
	return steal_fd(&reader);
}

static int put_on_disk(struct store *s, const struct digest *d, const void *data, size_t len,
		       struct blob **ret, struct err *err)
{
	struct file_id id;
	int fd = publish_bytes(s, d, data, len, &id, err);
	int rc = fd < 0 ? fd : blobs_add(s, d, fd, &id, BLOB_DISK, ret);
	return fd >= 0 && rc < 0 ? err_errno(err, rc, "cannot keep what was put into the cache")
				 : rc;
}

/* The one that nobody has had for longest: a reference. */
static struct blob *oldest_in_memory(struct store *s)
{
	struct file_id id;
	struct blob *ret = NULL;
	lock_take(&s->lock);
	const struct blob *b = TAILQ_FIRST(&s->idle_memory);
	struct digest d = b != NULL ? b->digest : (struct digest){0};
	lock_drop(&s->lock);
	return b != NULL && blobs_find(s, &d, &ret, &id) == 0 ? ret : NULL;
}

/* The blob in memory leaves the table for that of the file: who has it keeps it. */
static int move_to_disk(struct store *s, struct blob *b)
{
	struct blob *on_disk = NULL;
	struct file_id id;
	char empty = 0;
	void *data = &empty;
	if (b->size > 0)
		data = mmap(NULL, b->size, PROT_READ, MAP_PRIVATE, b->fd, 0);
	if (data == MAP_FAILED)
		return -errno;
	int fd = publish_bytes(s, &b->digest, data, b->size, &id, NULL);
	if (b->size > 0)
		(void)munmap(data, b->size);
	if (fd < 0)
		return fd;
	blobs_disown(s, b);
	if (blobs_add(s, &b->digest, fd, &id, BLOB_DISK, &on_disk) == 0)
		blob_unref(on_disk);
	return 0;
}

void put_settle(struct store *s)
{
	struct blob *b;
	int rc = 0;
	while (rc == 0 && (b = oldest_in_memory(s)) != NULL) {
		rc = move_to_disk(s, b);
		blob_unref(b);
	}
}

static int put_in_memory(struct store *s, const struct digest *d, const void *data, size_t len,
			 struct blob **ret, struct err *err)
{
	int rc = memory_take(s, len, err);
	if (rc < 0)
		return rc;
	AUTO_FD int fd = memory_file();
	rc = fd < 0 ? fd : file_pwrite_all(fd, data, len, 0);
	if (rc == 0)
		rc = memory_blob(s, d, steal_fd(&fd), len, ret);
	else
		memory_return(s, len);
	if (rc == 0)
		memory_note(s, err);
	if (rc == -EMFILE || rc == -ENFILE)
		return err_errno(err, -EIO, "no descriptor for a blob (%s)", strerrorname_np(-rc));
	return rc < 0 ? err_errno(err, -ENOSPC, "no memory for a blob (%s)", strerrorname_np(-rc))
		      : 0;
}

int store_put(struct store *s, const struct digest *d, const void *data, size_t len,
	      struct blob **ret, struct err *err)
{
	int rc = check(d, data, len, err);
	if (rc < 0)
		return rc;
	if (use_present(s, d, ret) == 0)
		return 0;
	/* Some more than for files: what a name means can be found out while all are open. */
	rc = blobs_room(s, s->open_max + s->open_max / 4, err);
	if (rc < 0)
		return rc;
	rc = put_on_disk(s, d, data, len, ret, err);
	if (rc == 0 || rc == -EFBIG)
		return rc;
	return put_in_memory(s, d, data, len, ret, err);
}
