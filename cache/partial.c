/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "base/units.h"
#include "cache/filelock.h"
#include "cache/partial_impl.h"

/* Written, then hashed while it is still in the processor's cache. */
#define PIECE (256u << 10)
/* Write-back starts this often, so that the sync at the end has little left. */
#define FLUSH_BYTES (8ull << 20)

static bool is_full(int code)
{
	return code == -ENOSPC || code == -EDQUOT || code == -EROFS;
}

static int new_hasher(struct partial *p, struct err *err)
{
	hasher_free(p->hasher);
	p->hasher = NULL;
	int rc = hasher_new(p->digest.alg, &p->hasher);
	return rc < 0 ? err_errno(err, rc, "cannot hash") : 0;
}

/* Removes the name; the account gets back what the file had. */
static void leave_disk(struct partial *p)
{
	remove_partial(p->store, p->name, p->fd, p->charged);
	auto_close_(&p->fd);
	p->fd = -1;
	p->charged = 0;
}

static int copy_bytes(int from, int to, uint64_t len)
{
	AUTO_FREE char *buf = malloc(PIECE);
	if (buf == NULL)
		return -ENOMEM;
	uint64_t off = 0;
	while (off < len) {
		size_t piece = len - off < PIECE ? (size_t)(len - off) : PIECE;
		int64_t n = file_pread_full(from, buf, piece, off);
		if (n != (int64_t)piece)
			return n < 0 ? (int)n : -EIO;
		int rc = file_pwrite_all(to, buf, piece, off);
		if (rc < 0)
			return rc;
		off += piece;
	}
	return 0;
}

int partial_to_memory(struct partial *p, struct err *err)
{
	int rc = memory_take(p->store, p->size, err);
	if (rc < 0)
		return rc;
	AUTO_FD int fd = memory_file();
	rc = fd < 0 ? fd : copy_bytes(p->fd, fd, p->have);
	if (rc < 0) {
		memory_return(p->store, p->size);
		return err_errno(err, is_full(rc) || rc == -ENOMEM ? -ENOSPC : -EIO,
				 "cannot move a blob to memory");
	}
	memory_note(p->store, err);
	if (p->fd >= 0)
		leave_disk(p);
	p->fd = steal_fd(&fd);
	p->in_memory = true;
	p->charged = p->size;
	return 0;
}

/* Hashes what an earlier fetch left. */
static int adopt(struct partial *p, struct call *call, struct err *err)
{
	struct stat st;
	if (fstat(p->fd, &st) < 0)
		return err_errno(err, -EIO, "%s", p->name);
	p->charged = disk_bytes(&st);
	uint64_t there = (uint64_t)st.st_size;
	p->there = there;
	if (there == 0)
		return 0;
	AUTO_FREE char *buf = malloc(PIECE);
	if (buf == NULL)
		return err_errno(err, -ENOMEM, "cannot hash");
	while (p->have < there && there <= p->size) {
		int rc = call_check(call, err);
		if (rc < 0)
			return rc;
		int64_t n = file_pread_full(p->fd, buf, PIECE, p->have);
		if (n <= 0)
			break;
		rc = hasher_update(p->hasher, buf, (size_t)n);
		if (rc < 0)
			return err_errno(err, rc, "cannot hash");
		p->have += (uint64_t)n;
	}
	/* Too long, or not to be read: from the start. */
	if (p->have != there)
		return partial_restart(p, err);
	p->there = 0;
	return 0;
}

/* Where it will be published: better to know now that a disk has no room for
 * directories than when the blob is here. */
static int make_target(struct partial *p, struct err *err)
{
	char path[BLOB_DIR_MAX];
	path_blob_dir(&p->digest, path);
	AUTO_FD int fd = dirs_make(&p->store->dirs, path, err);
	return fd < 0 ? fd : 0;
}

static int open_on_disk(struct partial *p, struct call *call, struct err *err)
{
	uint64_t map = p->map != NULL ? chunk_map_len(p->size) : 0;
	uint64_t whole = map != 0 ? chunk_map_at(p->size) + map : p->size;
	int rc = make_target(p, err);
	if (rc == 0)
		rc = claim_file(p, call, err);
	if (rc == 0)
		rc = p->map != NULL ? chunks_adopt(p, err) : adopt(p, call, err);
	/* One that had to start anew may have gone to memory at that. */
	if (rc == 0 && !p->in_memory)
		rc = space_reserve(p->store, p->fd, whole, &p->charged, call, err);
	if (rc == 0 && p->map != NULL)
		rc = chunks_begin(p, err);
	return rc;
}

static int open_partial(struct partial *p, struct call *call, struct err *err)
{
	int rc = new_hasher(p, err);
	if (rc == 0)
		rc = open_on_disk(p, call, err);
	if (is_full(rc) && p->map == NULL)
		rc = partial_to_memory(p, err);
	return rc;
}

int partial_open(struct store *s, const struct digest *d, uint64_t size, struct chunk_map *map,
		 struct call *call, struct partial **ret, struct err *err)
{
	uint64_t limit = space_limit(s);
	if (size > limit) {
		char want[UNITS_SIZE_MAX], cap[UNITS_SIZE_MAX];
		units_format_size(size, want);
		units_format_size(limit, cap);
		return err_set(err, -EFBIG, "%s are more than the cache may hold (%s)", want, cap);
	}
	int rc = blobs_room(s, s->open_max, err); /* found out before anything is transferred */
	if (rc < 0)
		return rc;
	struct partial *p = calloc(1, sizeof(*p));
	if (p == NULL)
		return err_errno(err, -ENOMEM, "partial");
	*p = (struct partial){.store = s, .digest = *d, .size = size, .map = map, .fd = -1};
	path_partial(d, size, p->name);
	rc = claim_in_process(p, call, err);
	if (rc < 0) {
		free(p);
		return rc;
	}
	uint64_t verified_size;
	if (blobs_open_size(s, d, &verified_size))
		rc = err_set(err, -EEXIST, "it is in the cache");
	else
		rc = open_partial(p, call, err);
	if (rc < 0) {
		partial_close(p);
		return store_errno(rc);
	}
	*ret = p;
	return 0;
}

int store_partial(struct store *s, const struct digest *d, uint64_t size, struct call *call,
		  struct partial **ret, struct err *err)
{
	return partial_open(s, d, size, NULL, call, ret, err);
}

uint64_t partial_have(const struct partial *p)
{
	return p->have;
}

static int write_failed(struct partial *p, int code, struct err *err)
{
	return err_errno(err, is_full(code) ? -ENOSPC : -EIO, "cannot write to the cache %s",
			 p->store->dirs.path);
}

/* The disk may be full in spite of the reservation, where the file system
 * cannot reserve or copies on write. */
static int write_piece(struct partial *p, const void *data, size_t len, struct err *err)
{
	int rc = file_pwrite_all(p->fd, data, len, p->have);
	if (!is_full(rc) || p->in_memory)
		return rc < 0 ? write_failed(p, rc, err) : 0;
	if (space_evict_more(p->store, p->size - p->have))
		rc = file_pwrite_all(p->fd, data, len, p->have);
	if (is_full(rc)) {
		(void)write_failed(p, rc, err);
		rc = partial_to_memory(p, err);
		if (rc < 0)
			return rc;
		rc = file_pwrite_all(p->fd, data, len, p->have);
	}
	return rc < 0 ? write_failed(p, rc, err) : 0;
}

int partial_write(struct partial *p, const void *data, size_t len, struct err *err)
{
	int grown = p->unsized ? partial_grow(p, len, err) : 0;
	if (grown < 0)
		return store_errno(grown);
	if (len > p->size - p->have)
		return err_set(err, -EFBIG, "longer than the %llu bytes that were announced",
			       (unsigned long long)p->size);
	const char *at = data;
	while (len > 0) {
		size_t piece = len < PIECE ? len : PIECE;
		int rc = write_piece(p, at, piece, err);
		if (rc < 0)
			return rc;
		rc = hasher_update(p->hasher, at, piece);
		if (rc < 0)
			return err_errno(err, rc, "cannot hash");
		p->have += piece;
		at += piece;
		len -= piece;
	}
	if (!p->in_memory && p->have - p->flushed >= FLUSH_BYTES) {
		publish_flush(p->store, p->fd, p->flushed, p->have - p->flushed);
		p->flushed = p->have;
	}
	return 0;
}

int partial_restart(struct partial *p, struct err *err)
{
	int rc = new_hasher(p, err);
	if (rc < 0)
		return rc;
	if (ftruncate(p->fd, 0) < 0)
		return err_errno(err, -EIO, "%s", p->name);
	p->have = 0;
	p->there = 0;
	p->flushed = 0;
	/* The blocks went with the bytes. */
	if (!p->in_memory) {
		rc = space_reserve(p->store, p->fd, p->size, &p->charged, NULL, err);
		if (is_full(rc))
			rc = partial_to_memory(p, err);
	}
	return rc;
}

static void free_partial(struct partial *p)
{
	claim_end(p);
	auto_close_(&p->fd);
	hasher_free(p->hasher);
	free(p);
}

void partial_drop(struct partial *p)
{
	if (p == NULL)
		return;
	if (p->in_memory)
		memory_return(p->store, p->charged);
	else if (p->fd >= 0)
		leave_disk(p);
	free_partial(p);
}

void partial_close(struct partial *p)
{
	if (p == NULL)
		return;
	/* What was there when its hashing was given up is as good as before. */
	uint64_t keep = p->have > p->there ? p->have : p->there;
	if (p->map != NULL)
		keep = chunk_map_present(p->map) * CHUNK_BYTES;
	if (p->fd < 0 || p->in_memory || p->is_private || keep == 0) {
		partial_drop(p);
		return;
	}
	/* Half a piece of a write that failed, and the blocks behind the end. */
	struct stat st;
	if (p->map != NULL)
		chunks_punch(p);
	bool cut = p->map != NULL || ftruncate(p->fd, (off_t)keep) == 0;
	if (!cut || fstat(p->fd, &st) < 0) {
		partial_drop(p);
		return;
	}
	/* It may not have its blocks yet. */
	uint64_t left =
	    disk_bytes(&st) > space_rounded(keep) ? disk_bytes(&st) : space_rounded(keep);
	space_adjust(p->store, p->charged, left);
	/* A write-back under way has the open file still, and with it the lock. */
	(void)filelock_drop(p->fd, FILELOCK_WRITER);
	(void)filelock_drop(p->fd, FILELOCK_CHARGED);
	free_partial(p);
}

static int check_content(struct partial *p, struct err *err)
{
	int trimmed = p->unsized ? partial_trim(p, err) : 0;
	if (trimmed < 0)
		return trimmed;
	if (p->have != p->size)
		return err_set(err, -EBADMSG, "%llu bytes instead of the %llu announced",
			       (unsigned long long)p->have, (unsigned long long)p->size);
	struct digest got;
	int rc = hasher_final(p->hasher, &got);
	if (rc < 0)
		return err_errno(err, rc, "cannot hash");
	if (p->unsized && p->digest.len == 0)
		p->digest = got;
	if (digest_equal(&got, &p->digest))
		return 0;
	p->store->mismatches++;
	char text[DIGEST_STRING_MAX];
	digest_string(&got, text);
	return err_set(err, -EBADMSG, "the bytes do not match their digest: they are %s", text);
}

/* Hands the locked file over to the publisher. */
static void publish_partial(struct partial *p, struct blob *b)
{
	struct publication what = {.digest = p->digest, .charged = p->charged};
	memcpy(what.name, p->name, sizeof(what.name));
	if (publish_later(p->store, &what, p->fd, b) < 0) {
		partial_close(p);
		return;
	}
	p->fd = -1;
	free_partial(p);
}

static int commit_disk(struct partial *p, struct blob **ret, struct err *err)
{
	struct stat st;
	if (fstat(p->fd, &st) < 0 || (uint64_t)st.st_size != p->size) {
		partial_drop(p);
		return err_set(err, -EIO, "the file of a fetched blob changed under us");
	}
	/* A disk may refuse what it was given long after it took it. What was started
	 * during the fetch (publish_flush) leaves little to wait for. */
	if (fdatasync(p->fd) < 0) {
		int code = errno == ENOSPC || errno == EDQUOT ? -ENOSPC : -EIO;
		partial_drop(p);
		return err_errno(err, code, "cannot sync a fetched blob");
	}
	int reader = open_again(p->fd);
	if (reader < 0) {
		partial_close(p);
		return err_errno(err, -EIO, "cannot open a fetched blob (%s)",
				 strerrorname_np(-reader));
	}
	struct file_id id;
	file_id_of(&st, &id);
	struct blob *b = NULL;
	int rc = blobs_add(p->store, &p->digest, reader, &id, BLOB_FRESH, &b);
	if (rc < 0) {
		partial_close(p);
		return err_errno(err, rc, "cache");
	}
	/* Somebody put and verified the same: theirs is in use already. */
	if (!file_id_equal(&b->id, &id))
		partial_drop(p);
	else
		publish_partial(p, b);
	*ret = b;
	return 0;
}

static int commit_memory(struct partial *p, struct blob **ret, struct err *err)
{
	int rc = memory_blob(p->store, &p->digest, steal_fd(&p->fd), p->charged, ret);
	free_partial(p);
	return rc < 0 ? err_errno(err, rc, "cache") : 0;
}

int partial_commit(struct partial *p, struct blob **ret, struct err *err)
{
	int rc = check_content(p, err);
	if (rc < 0) {
		partial_drop(p);
		return rc;
	}
	return p->in_memory ? commit_memory(p, ret, err) : commit_disk(p, ret, err);
}
