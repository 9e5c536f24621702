/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/tar_index.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC        "wasmtar1"
#define MAGIC_LEN    8
#define HEAD_LEN     24
#define MEMBER_LEN   20
#define SHA256_LEN   32
#define SEGMENT_LEN  24
#define FLAG_DIGESTS 1u

/* ---- numbers in the text ---- */

static uint16_t get16(const char *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

static uint32_t get32(const char *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint64_t get64(const char *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static void put16(char *p, size_t v)
{
	uint16_t le = htole16((uint16_t)v);
	memcpy(p, &le, sizeof(le));
}

static void put32(char *p, size_t v)
{
	uint32_t le = htole32((uint32_t)v);
	memcpy(p, &le, sizeof(le));
}

static void put64(char *p, uint64_t v)
{
	uint64_t le = htole64(v);
	memcpy(p, &le, sizeof(le));
}

/* ---- names ---- */

static size_t component(const char *path)
{
	return strcspn(path, "/");
}

int tar_path_clean(const char *path, char ret[TAR_PATH_MAX])
{
	size_t len = 0;
	while (*path != '\0') {
		size_t n = component(path);
		if (n == 2 && memcmp(path, "..", 2) == 0) {
			while (len > 0 && ret[--len] != '/')
				;
		} else if (n > 0 && !(n == 1 && path[0] == '.')) {
			if (n > TAR_NAME_MAX || len + 1 + n >= TAR_PATH_MAX)
				return -ENAMETOOLONG;
			if (len > 0)
				ret[len++] = '/';
			memcpy(ret + len, path, n);
			len += n;
		}
		path += n;
		path += *path == '/';
	}
	ret[len] = '\0';
	return (int)len;
}

static bool is_clean(const char *path)
{
	char again[TAR_PATH_MAX];
	return tar_path_clean(path, again) > 0 && strcmp(path, again) == 0;
}

/* ---- reading ---- */

struct reader {
	const char *p;
	size_t left;
	uint64_t tar_size, tar_left; /* of the tar, for further segments */
	uint64_t size_left;          /* of what all files may have */
};

static int malformed(struct err *err, const char *what)
{
	return err_set(err, -EPROTO, "the index of a layer is malformed: %s", what);
}

static const char *take(struct reader *r, size_t len)
{
	if (len > r->left)
		return NULL;
	const char *at = r->p;
	r->p += len;
	r->left -= len;
	return at;
}

/* A string of that length, with its NUL and none before. */
static const char *take_text(struct reader *r, size_t len)
{
	const char *s = take(r, len + 1);
	return s != NULL && memchr(s, '\0', len + 1) == s + len ? s : NULL;
}

static int check_kind(const struct tar_member *m, struct err *err)
{
	bool file = m->kind == TAR_FILE;
	if (!file && (m->size != 0 || m->segments != 0))
		return malformed(err, "contents of what is no file");
	switch ((enum tar_kind)m->kind) {
	case TAR_SYMLINK:
		return m->link[0] != '\0' ? 0 : malformed(err, "a link to nothing");
	case TAR_HARDLINK:
		return is_clean(m->link) ? 0 : malformed(err, "a hard link out of the tree");
	case TAR_DIR:
	case TAR_FILE:
	case TAR_OTHER:
		return m->link[0] == '\0' ? 0 : malformed(err, "a target of what is no link");
	}
	return malformed(err, "a member of no kind");
}

static int check_segments(struct reader *r, const struct tar_member *m, struct err *err)
{
	uint64_t at = 0;
	for (uint32_t i = 0; i < m->segments; i++) {
		struct tar_segment s = tar_index_segment(m, i);
		if (s.len == 0 || s.at < at || s.len > m->size || s.at > m->size - s.len)
			return malformed(err, "a segment outside of its file");
		if (s.len > r->tar_left || s.tar > r->tar_size - s.len)
			return malformed(err, "a segment outside of the tar");
		r->tar_left -= s.len;
		at = s.at + s.len;
	}
	if (m->size > r->size_left)
		return err_set(err, -EFBIG, "its files are larger than the cache");
	r->size_left -= m->size;
	return 0;
}

static int read_member(struct reader *r, struct tar_member *m, struct err *err)
{
	const char *head = take(r, MEMBER_LEN);
	if (head == NULL)
		return malformed(err, "it ends too early");
	*m = (struct tar_member){.kind = (uint8_t)head[0],
				 .mode = get16(head + 2),
				 .segments = get32(head + 8),
				 .size = get64(head + 12)};
	if (head[1] != 0 || m->mode > 07777 || m->segments > r->left / SEGMENT_LEN)
		return malformed(err, "numbers that cannot be");
	m->text = take(r, SHA256_LEN + (size_t)m->segments * SEGMENT_LEN);
	m->path = m->text != NULL ? take_text(r, get16(head + 4)) : NULL;
	m->link = m->path != NULL ? take_text(r, get16(head + 6)) : NULL;
	if (m->link == NULL || strlen(m->link) >= TAR_LINK_MAX)
		return malformed(err, "a name that is none");
	if (!is_clean(m->path))
		return malformed(err, "a path out of the tree");
	int rc = check_kind(m, err);
	return rc == 0 ? check_segments(r, m, err) : rc;
}

static int read_all(struct tar_index *ix, uint64_t size_max, struct err *err)
{
	struct reader r = {ix->text + HEAD_LEN, ix->len - HEAD_LEN, ix->tar_size, ix->tar_size,
			   size_max};
	for (size_t i = 0; i < ix->n; i++) {
		int rc = read_member(&r, &ix->v[i], err);
		if (rc < 0)
			return rc;
		ix->files += ix->v[i].kind == TAR_FILE;
	}
	return r.left == 0 ? 0 : malformed(err, "something behind its end");
}

static int read_head(struct tar_index *ix, uint64_t tar_size, struct err *err)
{
	if (ix->len < HEAD_LEN || memcmp(ix->text, MAGIC, MAGIC_LEN) != 0)
		return malformed(err, "it is none");
	if (ix->len > TAR_INDEX_MAX)
		return err_set(err, -EFBIG, "its index is longer than %u bytes", TAR_INDEX_MAX);
	ix->tar_size = get64(ix->text + 8);
	ix->n = get32(ix->text + 16);
	if (ix->tar_size != tar_size || (get32(ix->text + 20) & ~FLAG_DIGESTS) != 0)
		return malformed(err, "it is of another tar");
	if (ix->n > TAR_MEMBERS_MAX)
		return err_set(err, -EFBIG, "more than %u members", TAR_MEMBERS_MAX);
	if (ix->n > (ix->len - HEAD_LEN) / MEMBER_LEN)
		return malformed(err, "it ends too early");
	return 0;
}

int tar_index_parse(char *text, size_t len, uint64_t tar_size, uint64_t size_max,
		    struct tar_index **ret, struct err *err)
{
	struct tar_index *ix = calloc(1, sizeof(*ix));
	if (ix == NULL) {
		free(text);
		return err_errno(err, -ENOMEM, "index");
	}
	ix->text = text;
	ix->len = len;
	int rc = read_head(ix, tar_size, err);
	if (rc == 0) {
		ix->v = calloc(ix->n + 1, sizeof(*ix->v));
		rc = ix->v != NULL ? read_all(ix, size_max, err) : err_errno(err, -ENOMEM, "index");
	}
	if (rc == 0 && tar_index_is_complete(ix))
		rc = tar_index_complete(ix);
	if (rc < 0) {
		tar_index_free(ix);
		return rc;
	}
	*ret = ix;
	return 0;
}

void tar_index_free(struct tar_index *ix)
{
	if (ix == NULL)
		return;
	free(ix->by_digest);
	free(ix->v);
	free(ix->text);
	free(ix);
}

size_t tar_index_bytes(const struct tar_index *ix)
{
	return sizeof(*ix) + ix->len + ix->n * sizeof(*ix->v) +
	       (ix->by_digest != NULL ? ix->files * sizeof(*ix->by_digest) : 0);
}

struct tar_segment tar_index_segment(const struct tar_member *m, uint32_t i)
{
	const char *p = m->text + SHA256_LEN + (size_t)i * SEGMENT_LEN;
	return (struct tar_segment){get64(p), get64(p + 8), get64(p + 16)};
}

/* ---- digests ---- */

struct digest tar_index_digest(const struct tar_member *m)
{
	struct digest d = {.alg = DIGEST_SHA256, .len = SHA256_LEN};
	memcpy(d.bytes, m->text, SHA256_LEN);
	return d;
}

bool tar_index_is_complete(const struct tar_index *ix)
{
	return (get32(ix->text + 20) & FLAG_DIGESTS) != 0;
}

void tar_index_set_digest(struct tar_index *ix, size_t member, const struct digest *d)
{
	ASSERT(member < ix->n && ix->v[member].kind == TAR_FILE && d->len == SHA256_LEN);
	memcpy(ix->text + (ix->v[member].text - ix->text), d->bytes, SHA256_LEN);
}

static int compare(const struct tar_member *m, const uint8_t *bytes, uint64_t size)
{
	int r = memcmp(m->text, bytes, SHA256_LEN);
	return r != 0 ? r : (m->size > size) - (m->size < size);
}

static int by_digest(const void *a, const void *b, void *ctx)
{
	const struct tar_member *v = ctx;
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
	int r = compare(&v[i], (const uint8_t *)v[k].text, v[k].size);
	return r != 0 ? r : (i > k) - (i < k);
}

int tar_index_complete(struct tar_index *ix)
{
	ix->by_digest = calloc(ix->files + 1, sizeof(*ix->by_digest));
	if (ix->by_digest == NULL)
		return -ENOMEM;
	size_t n = 0;
	for (size_t i = 0; i < ix->n; i++) {
		if (ix->v[i].kind == TAR_FILE)
			ix->by_digest[n++] = (uint32_t)i;
	}
	qsort_r(ix->by_digest, n, sizeof(*ix->by_digest), by_digest, ix->v);
	put32(ix->text + 20, FLAG_DIGESTS);
	return 0;
}

const struct tar_member *tar_index_find(const struct tar_index *ix, const struct digest *d,
					uint64_t size)
{
	size_t low = 0, high = ix->by_digest != NULL ? ix->files : 0;
	if (d->alg != DIGEST_SHA256)
		return NULL;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (compare(&ix->v[ix->by_digest[mid]], d->bytes, size) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	const struct tar_member *m =
	    ix->by_digest != NULL && low < ix->files ? &ix->v[ix->by_digest[low]] : NULL;
	return m != NULL && compare(m, d->bytes, size) == 0 ? m : NULL;
}

bool tar_index_has(const struct tar_index *ix, const struct digest *d, uint64_t *ret_size)
{
	size_t low = 0, high = ix->by_digest != NULL ? ix->files : 0;
	if (d->alg != DIGEST_SHA256)
		return false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct tar_member *m = &ix->v[ix->by_digest[mid]];
		int order = memcmp(m->text, d->bytes, SHA256_LEN);
		if (order == 0) {
			*ret_size = m->size;
			return true;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

/* ---- making one ---- */

static char *append(struct tar_index_builder *b, size_t len)
{
	if (b->room - b->len < len) {
		size_t room = (b->len + len) * 2;
		char *text = realloc(b->text, room);
		if (text == NULL)
			return NULL;
		b->text = text;
		b->room = room;
	}
	char *at = b->text + b->len;
	memset(at, 0, len);
	b->len += len;
	return at;
}

int tar_index_add(struct tar_index_builder *b, const struct tar_item *item, struct err *err)
{
	const char *link = item->link != NULL ? item->link : "";
	size_t path_len = strlen(item->path), link_len = strlen(link);
	size_t fixed = MEMBER_LEN + SHA256_LEN + item->n_segments * SEGMENT_LEN;
	size_t head = b->len == 0 ? HEAD_LEN : 0;
	ASSERT(path_len < TAR_PATH_MAX && link_len < TAR_LINK_MAX);
	if (b->n >= TAR_MEMBERS_MAX)
		return err_set(err, -EFBIG, "more than %u members", TAR_MEMBERS_MAX);
	if (item->n_segments > TAR_INDEX_MAX / SEGMENT_LEN ||
	    b->len + head + fixed + path_len + link_len + 2 > TAR_INDEX_MAX)
		return err_set(err, -EFBIG, "its index is longer than %u bytes", TAR_INDEX_MAX);
	char *p = append(b, head + fixed + path_len + link_len + 2);
	if (p == NULL)
		return err_errno(err, -ENOMEM, "index");
	p += head;
	p[0] = (char)item->kind;
	put16(p + 2, item->mode & 07777);
	put16(p + 4, path_len);
	put16(p + 6, link_len);
	put32(p + 8, item->n_segments);
	put64(p + 12, item->size);
	p += MEMBER_LEN + SHA256_LEN;
	for (size_t i = 0; i < item->n_segments; i++, p += SEGMENT_LEN) {
		put64(p, item->segments[i].at);
		put64(p + 8, item->segments[i].tar);
		put64(p + 16, item->segments[i].len);
	}
	memcpy(p, item->path, path_len);
	memcpy(p + path_len + 1, link, link_len);
	b->n++;
	return 0;
}

int tar_index_finish(struct tar_index_builder *b, uint64_t tar_size, char **ret, size_t *ret_len,
		     struct err *err)
{
	if (b->len == 0 && append(b, HEAD_LEN) == NULL)
		return err_errno(err, -ENOMEM, "index");
	memcpy(b->text, MAGIC, MAGIC_LEN);
	put64(b->text + 8, tar_size);
	put32(b->text + 16, b->n);
	*ret = b->text;
	*ret_len = b->len;
	*b = (struct tar_index_builder){0};
	return 0;
}

void tar_index_builder_release(struct tar_index_builder *b)
{
	free(b->text);
	*b = (struct tar_index_builder){0};
}
