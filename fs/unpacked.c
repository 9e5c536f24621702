/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/unpacked.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/units.h"
#include "cache/archives.h"
#include "cache/store.h"
#include "fs/archive_helper.h"
#include "fs/archive_run.h"
#include "fs/log.h"
#include "fs/tar_contents.h"

uint64_t unpacked_bomb_least = ARCHIVE_BOMB_LEAST;

static const struct digest any_sha256 = {.alg = DIGEST_SHA256};

/* ---- references ---- */

/* Takes over the index. */
static int new_unpacked(const struct digest *layer, const struct digest *tar,
			struct tar_index *index, struct unpacked **ret, struct err *err)
{
	struct unpacked *u = calloc(1, sizeof(*u));
	if (u == NULL) {
		tar_index_free(index);
		return err_errno(err, -ENOMEM, "layer");
	}
	u->layer = *layer;
	u->tar = *tar;
	u->index = index;
	atomic_init(&u->refs, 1);
	*ret = u;
	return 0;
}

struct unpacked *unpacked_ref(struct unpacked *u)
{
	atomic_fetch_add(&u->refs, 1);
	return u;
}

void unpacked_unref(struct unpacked *u)
{
	if (u == NULL || atomic_fetch_sub(&u->refs, 1) != 1)
		return;
	tar_index_free(u->index);
	free(u);
}

/* ---- blobs ---- */

/* What the cache has; hashed if it was not yet. Wrong bytes are as good as none. */
static int from_store(struct store *s, const struct digest *d, struct call *call, struct blob **ret,
		      struct err *err)
{
	int rc = store_get(s, d, ret, err);
	if (rc == -EAGAIN)
		rc = store_verify(s, d, call, ret, err);
	if (rc != -EBADMSG)
		return rc;
	log_warning("cache", "%s; unpacking it anew",
		    err != NULL ? err->text : "a blob is corrupt");
	return -ENOENT;
}

int unpacked_tar(struct store *s, const struct digest *tar, struct call *call, struct blob **ret,
		 struct err *err)
{
	return from_store(s, tar, call, ret, err);
}

static int read_exactly(const struct blob *b, void *buf, size_t len, uint64_t at, struct err *err)
{
	int64_t n = file_pread_full(blob_fd(b), buf, len, at);
	return n == (int64_t)len ? 0 : err_set(err, -EIO, "cannot read what is in the cache");
}

static int put_text(struct store *s, const char *text, size_t len, struct blob **ret,
		    struct err *err)
{
	struct partial *p = NULL;
	int rc = store_unsized(s, &any_sha256, &p, err);
	if (rc < 0)
		return rc;
	rc = partial_write(p, text, len, err);
	if (rc < 0) {
		partial_drop(p);
		return rc;
	}
	return partial_commit(p, ret, err);
}

/* Of all files of one layer. */
static uint64_t size_limit(struct store *s)
{
	struct store_usage usage;
	store_usage(s, &usage);
	return usage.limit > 0 ? usage.limit : STORE_LIMIT_DEFAULT;
}

/* ---- what was done before ---- */

static int load_index(struct store *s, const struct archive_record *rec, struct call *call,
		      struct tar_index **ret, struct err *err)
{
	struct blob *b = NULL;
	int rc = from_store(s, &rec->index, call, &b, err);
	if (rc < 0)
		return rc;
	size_t len = (size_t)blob_size(b);
	AUTO_FREE char *text = len <= TAR_INDEX_MAX ? malloc(len + 1) : NULL;
	rc = text != NULL ? read_exactly(b, text, len, 0, err) : err_errno(err, -ENOMEM, "index");
	blob_unref(b);
	if (rc < 0)
		return rc;
	rc = tar_index_parse(steal_ptr(&text), len, rec->tar_size, UINT64_MAX, ret, err);
	if (rc == 0 && tar_index_is_complete(*ret))
		return 0;
	if (rc == 0)
		tar_index_free(*ret);
	/* Of another version of ours: made anew. */
	return rc == -ENOMEM ? rc : err_set(err, -ENOENT, "not unpacked");
}

int unpacked_load(struct store *s, const struct digest *layer, struct call *call,
		  struct unpacked **ret, struct err *err)
{
	struct archive_record rec;
	struct tar_index *index = NULL;
	int rc = archives_load(s, layer, &rec, err);
	if (rc == 0)
		rc = load_index(s, &rec, call, &index, err);
	return rc == 0 ? new_unpacked(layer, &rec.tar, index, ret, err) : rc;
}

static int wrong_diff_id(const struct digest *tar, const struct digest *diff_id, struct err *err)
{
	char is[DIGEST_STRING_MAX], said[DIGEST_STRING_MAX];
	digest_string(tar, is);
	digest_string(diff_id, said);
	return err_set(err, -EBADMSG, "the layer unpacks to %s, and its image declares %s", is,
		       said);
}

int unpacked_check(const struct digest *tar, const struct digest *diff_id, struct err *err)
{
	if (diff_id == NULL || digest_equal(diff_id, tar))
		return 0;
	if (diff_id->alg != tar->alg)
		return -EAGAIN;
	return wrong_diff_id(tar, diff_id, err);
}

int unpacked_check_tar(const struct blob *tar, const struct digest *diff_id, struct call *call,
		       struct err *err)
{
	struct digest got;
	int rc = tar_file_digest(blob_fd(tar), blob_size(tar), diff_id->alg, call, &got, err);
	if (rc == 0 && !digest_equal(&got, diff_id))
		rc = wrong_diff_id(&got, diff_id, err);
	return rc;
}

/* ---- decompressing ---- */

struct expansion {
	struct partial *partial;
	uint64_t from, to; /* bytes of the layer, and so far of its tar */
};

static int expand_write(void *ctx, const void *data, size_t len, struct err *err)
{
	struct expansion *e = ctx;
	e->to += len;
	if (e->to > unpacked_bomb_least && e->to / ARCHIVE_BOMB_RATIO > e->from) {
		char size[UNITS_SIZE_MAX];
		units_format_size(e->from, size);
		return err_set(err, -EFBIG, "%s unpack to more than %d times as much", size,
			       ARCHIVE_BOMB_RATIO);
	}
	return partial_write(e->partial, data, len, err);
}

static int expand(struct store *s, struct blob *layer, const char *compression,
		  const struct digest *diff_id, struct call *call, struct blob **ret,
		  struct err *err)
{
	struct expansion e = {.from = blob_size(layer)};
	struct archive_sink sink = {expand_write, &e};
	int rc = store_unsized(s, diff_id != NULL ? diff_id : &any_sha256, &e.partial, err);
	if (rc < 0)
		return rc;
	rc = archive_run(compression, blob_fd(layer), &sink, call, err);
	if (rc < 0) {
		partial_drop(e.partial);
		return rc;
	}
	rc = partial_commit(e.partial, ret, err);
	return rc == -EBADMSG ? err_wrap(err, rc, "not the diff id that the image declares") : rc;
}

/* A tar that is not compressed is the layer itself. */
static int check_plain(struct blob *layer, const struct digest *diff_id, struct call *call,
		       struct err *err)
{
	if (diff_id == NULL || digest_equal(diff_id, blob_digest(layer)))
		return 0;
	if (diff_id->alg == blob_digest(layer)->alg)
		return wrong_diff_id(blob_digest(layer), diff_id, err);
	return unpacked_check_tar(layer, diff_id, call, err);
}

static int make_tar(struct store *s, struct blob *layer, const struct digest *diff_id,
		    struct call *call, struct blob **ret, struct err *err)
{
	char head[ARCHIVE_MAGIC_MAX];
	size_t len = blob_size(layer) < sizeof(head) ? (size_t)blob_size(layer) : sizeof(head);
	int rc = read_exactly(layer, head, len, 0, err);
	if (rc < 0)
		return rc;
	const char *compression = layer_compression(head, len);
	if (compression == NULL) {
		rc = check_plain(layer, diff_id, call, err);
		if (rc == 0)
			*ret = blob_ref(layer);
		return rc;
	}
	return expand(s, layer, compression, diff_id, call, ret, err);
}

int unpacked_restore(struct store *s, const struct digest *tar, struct blob *layer,
		     struct call *call, struct blob **ret, struct err *err)
{
	return make_tar(s, layer, tar, call, ret, err);
}

/* ---- indexing ---- */

struct listing_text {
	char *text;
	size_t len, room;
};

static int keep_text(void *ctx, const void *data, size_t len, struct err *err)
{
	struct listing_text *t = ctx;
	if (len > TAR_INDEX_MAX - t->len)
		return err_set(err, -EFBIG, "its index is longer than %u bytes", TAR_INDEX_MAX);
	if (t->room - t->len < len) {
		size_t room = (t->len + len) * 2;
		char *text = realloc(t->text, room);
		if (text == NULL)
			return err_errno(err, -ENOMEM, "index");
		t->text = text;
		t->room = room;
	}
	memcpy(t->text + t->len, data, len);
	t->len += len;
	return 0;
}

static int list_members(struct store *s, struct blob *tar, struct call *call,
			struct tar_index **ret, struct err *err)
{
	struct listing_text t = {0};
	struct archive_sink sink = {keep_text, &t};
	int rc = archive_run(NULL, blob_fd(tar), &sink, call, err);
	if (rc < 0) {
		free(t.text);
		return rc;
	}
	/* Holes cost time to be hashed, however little room they take. */
	uint64_t size = blob_size(tar), most = size_limit(s);
	if (most > ARCHIVE_HOLES_LEAST && size < (most - ARCHIVE_HOLES_LEAST) / ARCHIVE_HOLES_RATIO)
		most = ARCHIVE_HOLES_LEAST + size * ARCHIVE_HOLES_RATIO;
	if (most < size)
		most = size;
	return tar_index_parse(t.text, t.len, blob_size(tar), most, ret, err);
}

static int hash_members(struct blob *tar, struct tar_index *index, struct call *call,
			struct err *err)
{
	for (size_t i = 0; i < index->n; i++) {
		struct digest d;
		if (index->v[i].kind != TAR_FILE)
			continue;
		int rc = tar_contents_digest(blob_fd(tar), &index->v[i], call, &d, err);
		if (rc < 0)
			return rc;
		tar_index_set_digest(index, i, &d);
	}
	int rc = tar_index_complete(index);
	return rc < 0 ? err_errno(err, rc, "index") : 0;
}

/* Not being able to write it down costs no more than doing it again some day. */
static void record(struct store *s, const struct digest *layer, const struct blob *tar,
		   const struct blob *index)
{
	struct archive_record rec = {*blob_digest(tar), blob_size(tar), *blob_digest(index),
				     blob_size(index)};
	struct err err = {{0}};
	if (archives_save(s, layer, &rec, &err) < 0)
		log_warning("cache", "%s; the layer may have to be unpacked again", err.text);
}

static int make_index(struct store *s, const struct digest *layer, struct blob *tar,
		      struct call *call, struct tar_index **ret, struct err *err)
{
	struct tar_index *index = NULL;
	struct blob *kept = NULL;
	int rc = list_members(s, tar, call, &index, err);
	if (rc < 0)
		return rc;
	rc = hash_members(tar, index, call, err);
	if (rc == 0)
		rc = put_text(s, index->text, index->len, &kept, err);
	if (rc < 0) {
		tar_index_free(index);
		return rc;
	}
	record(s, layer, tar, kept);
	blob_unref(kept);
	*ret = index;
	return 0;
}

int unpacked_make(struct store *s, struct blob *layer, const struct digest *diff_id,
		  struct call *call, struct unpacked **ret, struct err *err)
{
	const struct digest *of = blob_digest(layer);
	struct archive_record rec;
	struct blob *tar = NULL;
	struct tar_index *index = NULL;
	/* What a diff id names may be in the cache: that proves nothing of this layer. What
	 * was made of it before does. */
	int rc = archives_load(s, of, &rec, NULL);
	if (rc == 0 && (diff_id == NULL || digest_equal(diff_id, &rec.tar)))
		rc = from_store(s, &rec.tar, call, &tar, err);
	else
		rc = -ENOENT;
	if (rc == -ENOENT)
		rc = make_tar(s, layer, diff_id, call, &tar, err);
	if (rc == 0)
		rc = make_index(s, of, tar, call, &index, err);
	if (rc == 0)
		rc = new_unpacked(of, blob_digest(tar), index, ret, err);
	blob_unref(tar);
	return rc;
}

/* ---- members ---- */

bool unpacked_in_one_piece(const struct tar_member *m, uint64_t *ret_at)
{
	if (m->size == 0) {
		*ret_at = 0;
		return true;
	}
	struct tar_segment s = {0};
	if (m->segments == 1)
		s = tar_index_segment(m, 0);
	*ret_at = s.tar;
	return s.len == m->size;
}

static int extract_some(void *ctx, const void *data, size_t len, struct err *err)
{
	return partial_write(ctx, data, len, err);
}

int unpacked_extract(struct store *s, struct blob *tar, const struct tar_member *m,
		     struct call *call, struct blob **ret, struct err *err)
{
	struct digest d = tar_index_digest(m);
	struct partial *p = NULL;
	int rc = from_store(s, &d, call, ret, err);
	if (rc != -ENOENT)
		return rc;
	rc = store_unsized(s, &d, &p, err);
	if (rc < 0)
		return rc;
	rc = tar_contents(blob_fd(tar), m, extract_some, p, call, err);
	if (rc < 0) {
		partial_drop(p);
		return rc;
	}
	return partial_commit(p, ret, err);
}
