/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/chunks.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "cache/partial_impl.h"

#define HASH_PIECE  (256u << 10)
#define FLUSH_EVERY (8u << 20) /* write-back starts for so much at a time */
#define BOOT_FILE   "/proc/sys/kernel/random/boot_id"

struct chunks {
	struct store *store;
	struct partial *partial; /* NULL: ended */
	struct chunk_map *map;
	int fd;        /* for reading */
	char *buf;     /* of chunks_hash */
	uint64_t next; /* to be hashed */
};

/* False: it is not known, and nothing of another process can be continued. */
static bool boot_id(uint8_t ret[CHUNK_MAP_BOOT])
{
	AUTO_FREE char *text = NULL;
	size_t len, n = 0;
	memset(ret, 0, CHUNK_MAP_BOOT);
	if (file_read_small(AT_FDCWD, BOOT_FILE, 64, &text, &len) < 0)
		return false;
	for (const char *p = text; *p != '\0' && n < 2 * CHUNK_MAP_BOOT; p++) {
		int digit = *p >= '0' && *p <= '9'   ? *p - '0'
			    : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10
						     : -1;
		if (digit < 0)
			continue;
		ret[n / 2] = (uint8_t)(ret[n / 2] << 4 | digit);
		n++;
	}
	return n == 2 * CHUNK_MAP_BOOT;
}

static int continue_map(struct partial *p, const uint8_t boot[CHUNK_MAP_BOOT])
{
	size_t len = chunk_map_len(p->size);
	AUTO_FREE char *data = malloc(len);
	if (data == NULL)
		return -ENOMEM;
	int64_t n = file_pread_full(p->fd, data, len, chunk_map_at(p->size));
	return n == (int64_t)len ? chunk_map_parse(p->map, boot, data, len) : -EINVAL;
}

int chunks_adopt(struct partial *p, struct err *err)
{
	uint8_t boot[CHUNK_MAP_BOOT];
	uint64_t end = chunk_map_at(p->size) + chunk_map_len(p->size);
	struct stat st;
	if (fstat(p->fd, &st) < 0)
		return err_errno(err, -EIO, "%s", p->name);
	p->charged = disk_bytes(&st);
	if (boot_id(boot) && (uint64_t)st.st_size == end && continue_map(p, boot) == 0)
		return 0;
	if (ftruncate(p->fd, 0) < 0 || ftruncate(p->fd, (off_t)end) < 0)
		return err_errno(err, errno == EFBIG ? -ENOSPC : -EIO, "%s", p->name);
	return 0;
}

int chunks_begin(struct partial *p, struct err *err)
{
	uint8_t boot[CHUNK_MAP_BOOT], head[CHUNK_MAP_HEAD];
	(void)boot_id(boot);
	chunk_map_head(p->map, boot, head);
	int rc = file_pwrite_all(p->fd, head, sizeof(head), chunk_map_at(p->size));
	return rc < 0 ? err_errno(err, rc, "%s", p->name) : 0;
}

void chunks_punch(struct partial *p)
{
	const struct chunk_map *m = p->map;
	uint64_t n = chunk_map_missing(m, 0);
	while (n < chunk_map_count(m)) {
		uint64_t next = chunk_map_here(m, n);
		uint64_t from = n * CHUNK_BYTES;
		uint64_t to = chunk_map_end(m, next - 1);
		/* Where that cannot be done they stay, and are counted. */
		(void)fallocate(p->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
				(off_t)(to - from));
		n = chunk_map_missing(m, next);
	}
}

int store_chunks(struct store *s, const struct digest *d, uint64_t size, struct call *call,
		 struct chunks **ret, struct err *err)
{
	if (size > CHUNK_MAP_BLOB_MAX)
		return err_set(err, -EFBIG, "it is too large to be read as it arrives");
	struct chunks *c = calloc(1, sizeof(*c));
	if (c == NULL)
		return err_errno(err, -ENOMEM, "partial");
	*c = (struct chunks){.store = s, .fd = -1};
	c->map = chunk_map_new(size);
	c->buf = malloc(HASH_PIECE);
	int rc = c->map != NULL && c->buf != NULL ? 0 : err_errno(err, -ENOMEM, "partial");
	if (rc == 0)
		rc = partial_open(s, d, size, c->map, call, &c->partial, err);
	if (rc == 0) {
		c->fd = open_again(c->partial->fd);
		if (c->fd < 0)
			rc = err_errno(err, -EIO, "cannot open a partial (%s)",
				       strerrorname_np(-c->fd));
	}
	if (rc < 0) {
		chunks_close(c);
		chunks_free(c);
		return store_errno(rc);
	}
	*ret = c;
	return 0;
}

int chunks_fd(const struct chunks *c)
{
	return c->fd;
}

const struct chunk_map *chunks_map(const struct chunks *c)
{
	return c->map;
}

static bool is_full(int code)
{
	return code == -ENOSPC || code == -EDQUOT || code == -EROFS;
}

static int write_failed(const struct chunks *c, int code, struct err *err)
{
	return err_errno(err, is_full(code) ? -ENOSPC : -EIO, "cannot write to the cache %s",
			 c->store->dirs.path);
}

int chunks_write(struct chunks *c, const void *data, size_t len, uint64_t off, struct err *err)
{
	int rc = file_pwrite_all(c->partial->fd, data, len, off);
	/* In spite of the reservation, where the file system copies on write. */
	if (is_full(rc) && space_evict_more(c->store, len))
		rc = file_pwrite_all(c->partial->fd, data, len, off);
	return rc < 0 ? write_failed(c, rc, err) : 0;
}

int chunks_done(struct chunks *c, uint64_t n, struct err *err)
{
	uint64_t base = chunk_map_at(c->partial->size) + CHUNK_MAP_HEAD;
	uint64_t word, at;
	if (!chunk_map_set(c->map, n))
		return 0;
	/* Who sets another bit of it meanwhile may write before us, or after. */
	do {
		word = chunk_map_word(c->map, n, &at);
		int rc = file_pwrite_all(c->partial->fd, &word, sizeof(word), base + at);
		if (rc < 0)
			return write_failed(c, rc, err);
	} while (chunk_map_word(c->map, n, &at) != word);
	uint64_t end = (n + 1) * CHUNK_BYTES;
	if (end % FLUSH_EVERY == 0)
		publish_flush(c->store, c->partial->fd, end - FLUSH_EVERY, FLUSH_EVERY);
	return 0;
}

int chunks_hash(struct chunks *c, struct err *err)
{
	struct partial *p = c->partial;
	uint64_t from = c->next;
	uint64_t missing = chunk_map_missing(c->map, from / CHUNK_BYTES);
	uint64_t end = missing < chunk_map_count(c->map) ? missing * CHUNK_BYTES : p->size;
	if (from >= end)
		return 0;
	size_t len = end - from < HASH_PIECE ? (size_t)(end - from) : HASH_PIECE;
	int64_t n = file_pread_full(c->fd, c->buf, len, from);
	if (n != (int64_t)len)
		return err_errno(err, -EIO, "cannot read a partial");
	int rc = hasher_update(p->hasher, c->buf, len);
	if (rc < 0)
		return err_errno(err, rc, "cannot hash");
	c->next = from + len;
	return 1;
}

bool chunks_hashed(const struct chunks *c)
{
	return c->partial != NULL && c->next == c->partial->size;
}

int chunks_commit(struct chunks *c, struct blob **ret, struct err *err)
{
	struct partial *p = c->partial;
	c->partial = NULL;
	p->have = c->next;
	p->map = NULL;
	/* What lies behind the bytes is none of the blob's. */
	if (ftruncate(p->fd, (off_t)p->size) < 0) {
		int rc = err_errno(err, -EIO, "%s", p->name);
		partial_drop(p);
		return rc;
	}
	return partial_commit(p, ret, err);
}

int chunks_sync(const struct chunks *c, struct err *err)
{
	/* An open file of its own, which is told of an error that the commit's was told of. */
	if (fdatasync(c->fd) == 0)
		return 0;
	return err_errno(err, is_full(-errno) ? -ENOSPC : -EIO, "cannot sync a fetched blob");
}

void chunks_close(struct chunks *c)
{
	partial_close(c->partial);
	c->partial = NULL;
}

void chunks_drop(struct chunks *c)
{
	/* It is open for reading still, and must not use the disk. */
	if (c->partial != NULL)
		(void)!ftruncate(c->partial->fd, 0);
	partial_drop(c->partial);
	c->partial = NULL;
}

void chunks_free(struct chunks *c)
{
	if (c == NULL)
		return;
	auto_close_(&c->fd);
	chunk_map_free(c->map);
	free(c->buf);
	free(c);
}
