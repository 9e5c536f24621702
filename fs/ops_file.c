/* SPDX-License-Identifier: Apache-2.0 */
/* Files: OPEN, READ, RELEASE.
 *
 * What an open file is read from is at hand (fs/backing.h, fs/made_files.h), unless the process
 * before us opened it: then its first READ brings it again, and may wait as an OPEN does. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "cache/store.h"
#include "fs/backing.h"
#include "fs/fetch.h"
#include "fs/log.h"
#include "fs/op.h"
#include "fs/ops.h"
#include "fs/stream.h"
#include "fs/tree.h"
#include "fs/xattr.h"

/* Where the bytes of an open file lie. */
struct part {
	struct blob *blob; /* a reference */
	uint64_t at, size;
};

/* A runtime that is handed a native object as main.wasm would execute it. */
static int check_wasm(struct op *op, struct blob *blob, uint64_t at, uint64_t size)
{
	char head[WASM_SNIFF_LEN];
	size_t len = size < sizeof(head) ? (size_t)size : sizeof(head);
	int64_t n = file_pread_full(blob_fd(blob), head, len, at);
	if (n < 0)
		return err_set(&op->err, (int)n, "cannot read a cached blob");
	const char *kind = content_kind(head, (size_t)n);
	if (content_is_wasm(kind))
		return 0;
	return err_set(&op->err, -ENOEXEC, "main.wasm: its bytes are no WebAssembly (%s)",
		       kind ? kind : "unknown");
}

/* What a registry that has the node's bytes will have named. */
static const struct digest *named_by(const struct node *node, const struct place *p)
{
	return p->member ? &p->manifest : &node->digest;
}

/* Of the registry that the op is about. */
static int place_bytes(struct op *op, const struct node *node, struct place *p, struct blob **ret,
		       uint64_t *ret_at)
{
	memcpy(p->repo, op->repo, sizeof(p->repo));
	if (p->member)
		return tree_member_bytes(op, node, p, ret, ret_at);
	return op_want_blob(op, &node->digest, node->size, p->repo);
}

/* For fs/metrics.h; what is found later was fetched meanwhile. */
static void note_bytes(struct op *op, bool here)
{
	if (op->bytes == OP_BYTES_UNKNOWN)
		op->bytes = here ? OP_BYTES_HERE : OP_BYTES_MISSING;
}

/* Whether it is read as it arrives: large, in one piece, and from where that may be done. Not
 * main.wasm: a runtime reads all of it, and whether it is Wasm is known before it opens. */
static bool may_stream(struct op *op, const struct node *node, const struct place *p)
{
	struct store_usage usage;
	if (!op->fs->streams || op->explains || op->verifies_first || p->member ||
	    node->kind == NODE_MAIN_WASM || node->size < STREAM_MIN ||
	    !source_in_parts(op->site->source, op->repo) || fetch_refused(op->site->fetcher, NULL))
		return false;
	store_usage(op->fs->store, &usage);
	return usage.limit == 0 || node->size <= usage.limit;
}

/* The file in which the node's bytes lie, from *ret_at on: a new reference; or the stream that
 * they come by: one user more. ret_stream NULL: whole files only. */
static int content_blob(struct op *op, const struct node *node, struct blob **ret, uint64_t *ret_at,
			struct stream **ret_stream)
{
	char text[NODE_REPO_MAX];
	struct place place;
	*ret_at = 0;
	if (op->blob && digest_equal(blob_digest(op->blob), &node->digest)) {
		*ret = blob_ref(op->blob);
		return 0;
	}
	int r = store_get(op->fs->store, &node->digest, ret, &op->err);
	if (r == 0 || r == -EAGAIN)
		note_bytes(op, true);
	if (r != -EAGAIN && r != -ENOENT)
		return r;
	if (!op->site)
		return -ESTALE;
	r = node_content_place(op->fs->nodes, node->id, text);
	if (r == 0 && place_parse(text, &place))
		r = -ESTALE;
	if (r)
		return r;
	op_route_begin(op, named_by(node, &place), place.repo, node->size);
	if (ret_stream && may_stream(op, node, &place)) {
		r = streams_open(op->fs->streams, op->site, op->repo, &node->digest, node->size,
				 ret_stream, &op->err);
		if (r == 0)
			note_bytes(op, false);
		if (r != -EAGAIN)
			return r;
	}
	r = place_bytes(op, node, &place, ret, ret_at);
	note_bytes(op,
		   r == 0 || (r == -EINPROGRESS && fetch_is_cached(op->site->fetcher, &op->want)));
	while (r == -EINPROGRESS && op_route_turn(op, named_by(node, &place)))
		r = place_bytes(op, node, &place, ret, ret_at);
	if (r == -EINPROGRESS)
		op_route_share(op);
	return r;
}

/* What an open of the node is served from: a new reference, and where in it; or a stream, as of
 * content_blob. */
static int open_blob(struct op *op, const struct node *node, struct blob **ret, uint64_t *ret_at,
		     struct stream **ret_stream)
{
	struct blob *blob = NULL;
	if (!node_kind_is_content(node->kind))
		return -EINVAL;
	if ((op->fi.flags & O_ACCMODE) != O_RDONLY)
		return -EROFS;
	int r = content_blob(op, node, &blob, ret_at, ret_stream);
	if (r || !blob)
		return r;
	bool whole = digest_equal(blob_digest(blob), &node->digest);
	if (whole && blob_size(blob) != node->size)
		r = err_set(&op->err, -EBADMSG, "the blob has %llu bytes, its descriptor says %llu",
			    (unsigned long long)blob_size(blob), (unsigned long long)node->size);
	else if (node->kind == NODE_MAIN_WASM)
		r = check_wasm(op, blob, *ret_at, node->size);
	if (r)
		blob_unref(blob);
	else
		*ret = blob;
	return r;
}

static bool is_made(const struct node *node)
{
	return node->kind == NODE_INDEX_JSON || node->kind == NODE_OCI_LAYOUT;
}

/* What index.json is made of: what the flight before this run has brought. */
static int check_made(struct op *op, const struct node *node)
{
	char repo[REPOSITORY_MAX];
	if ((op->fi.flags & O_ACCMODE) != O_RDONLY)
		return -EROFS;
	if (node->kind == NODE_OCI_LAYOUT)
		return 0;
	if (op->blob && op->want.kind == WANT_INDEX)
		return 0;
	int r = tree_repo(op, node->parent, repo);
	struct want w = tree_want(WANT_INDEX, repo);
	return r ? r : op_want(op, &w, 0);
}

int ops_check_open(struct op *op, const struct node *node)
{
	struct blob *blob = NULL;
	uint64_t at;
	if (is_made(node))
		return check_made(op, node);
	int r = open_blob(op, node, &blob, &at, NULL);
	blob_unref(blob);
	return r;
}

/* RELEASE, of whatever it is; done twice is fine. */
static void close_file(struct fs *fs, uint64_t fh)
{
	struct digest d;
	if (node_made_read(fs->nodes, fh, &d) == 0) {
		node_made_close(fs->nodes, fh);
		made_files_close(&fs->made_files, fh);
	} else {
		backing_put(fs->backing, fh);
	}
}

/* One is made for each open file; the other is the same for all, and has no handle. */
static int open_made(struct op *op, const struct node *node)
{
	struct fs *fs = op->fs;
	uint64_t fh = 0;
	int r = check_made(op, node);
	if (r == 0 && node->kind == NODE_INDEX_JSON)
		r = node_made_open(fs->nodes, op->unique, blob_digest(op->blob), &fh);
	if (r)
		return r;
	if (fh && made_files_put(&fs->made_files, fh, op->blob)) {
		node_made_close(fs->nodes, fh);
		return -ENOMEM;
	}
	op->fi.fh = fh;
	op->fi.direct_io = fh != 0;
	op->fi.keep_cache = fh == 0;
	if (op_reply_open(op, 0))
		close_file(fs, fh);
	return OP_REPLIED;
}

/* NULL is fine. */
static int check_spoiled(struct op *op, struct stream *stream)
{
	if (!stream || !stream_is_spoiled(stream))
		return 0;
	stream_why_spoiled(stream, &op->err);
	return -EBADMSG;
}

static int do_open(struct op *op)
{
	struct node node;
	struct blob *blob = NULL;
	struct stream *stream = NULL;
	struct backing_open open;
	uint64_t at = 0;
	op_note_no_room(op);
	int r = node_read(op->fs->nodes, op->ino, &node);
	if (r == 0 && is_made(&node))
		return open_made(op, &node);
	if (r == 0)
		r = open_blob(op, &node, &blob, &at, &stream);
	if (r == 0 && stream)
		r = op_open_stream(op, stream);
	if (r)
		return r;
	struct backing_table *backing = op->fs->backing;
	if (stream)
		backing_get_stream(backing, node.id, op->unique, node.size, stream, &open);
	else
		backing_get(backing, node.id, op->unique, node.size, blob, at, &open);
	blob_unref(blob);
	blob_unref(open.blob);
	r = open.fh ? check_spoiled(op, stream) : -ENOMEM;
	if (stream)
		stream_leave(stream);
	if (open.fh == 0)
		return err_set(&op->err, -ENOMEM, "no memory to open a file");
	if (r) {
		backing_put(backing, open.fh);
		return r;
	}
	op->fi.fh = open.fh;
	/* What is read before it is verified leaves no page behind. Who opens it while it is open
	 * finds pages of the same bytes, and must not wait for those that are on their way: the
	 * kernel would drop them, and wait for each where nobody can be killed. */
	bool unsure = op->fs->streams && node.size >= STREAM_MIN && !open.joined;
	op->fi.keep_cache = open.backing_id <= 0 && !unsure;
	if (op_reply_open(op, open.backing_id))
		backing_put(backing, open.fh);
	return OP_REPLIED;
}

void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct op *op = op_new(req, ino, OPERATION_OPEN, do_open);
	if (!op)
		return;
	op->fi = *fi;
	backing_undo(op->fs->backing, op->unique);
	op_start(op);
}

/* Bytes of a file in the cache: `all` of them, from at on. *ret_len is less at the end only. */
static int read_bytes(const struct part *p, size_t size, uint64_t off, char **ret, size_t *ret_len)
{
	uint64_t left = off < p->size ? p->size - off : 0;
	size = size < OPS_READ_MAX ? size : OPS_READ_MAX;
	size = size < left ? size : (size_t)left;
	AUTO_FREE char *buf = malloc(size + 1);
	int64_t n = buf ? file_pread_full(blob_fd(p->blob), buf, size, p->at + off) : -ENOMEM;
	/* Somebody has cut the file: an end that is none must not look like one. */
	if (n >= 0 && (uint64_t)n < size)
		n = -EIO;
	if (n < 0) {
		log_failure("fs", "read", "reading a cached blob: %s", strerror((int)-n));
		return -EIO;
	}
	*ret_len = (size_t)n;
	*ret = steal_ptr(&buf);
	return 0;
}

/* What was made for this open file, and is not at hand. */
static int made_again(struct op *op, const struct node *node, struct part *ret)
{
	struct digest d;
	uint64_t size;
	char repo[REPOSITORY_MAX];
	int r = node_made_read(op->fs->nodes, op->fi.fh, &d);
	if (r == 0)
		r = tree_repo(op, node->parent, repo);
	if (r)
		return r;
	if (op->blob && digest_equal(blob_digest(op->blob), &d)) {
		*ret = (struct part){blob_ref(op->blob), 0, blob_size(op->blob)};
		return made_files_put(&op->fs->made_files, op->fi.fh, op->blob);
	}
	if (op->blob && op->want.kind == WANT_INDEX)
		return err_set(&op->err, -EIO,
			       "index.json is another one than when it was opened, and that one is "
			       "gone from the cache; open it again");
	struct want w = tree_want(WANT_INDEX, repo);
	if (store_has(op->fs->store, &d, &size))
		return op_want_blob(op, &d, size, repo);
	return op_want(op, &w, 0);
}

/* A file that the process before us opened. */
static int open_again(struct op *op, struct part *ret, struct stream **ret_stream)
{
	struct node node;
	int r = node_read(op->fs->nodes, op->ino, &node);
	if (r == 0 && node.kind == NODE_INDEX_JSON)
		return made_again(op, &node, ret);
	if (r == 0 && !node_kind_is_content(node.kind))
		r = -ESTALE;
	if (r == 0 && node_open_is_spoiled(op->fs->nodes, node.id))
		r = err_set(&op->err, -EBADMSG,
			    "it was read as it arrived, and did not match; open it again");
	if (r == 0)
		r = content_blob(op, &node, &ret->blob, &ret->at, ret_stream);
	if (r)
		return r;
	if (*ret_stream) {
		backing_adopt_stream(op->fs->backing, node.id, node.size, *ret_stream);
		stream_ref(*ret_stream);
		stream_leave(*ret_stream);
		return 0;
	}
	ret->size = node.size;
	backing_adopt(op->fs->backing, node.id, node.size, ret->blob, ret->at);
	return 0;
}

static int do_read(struct op *op)
{
	struct part p = {0};
	AUTO_FREE char *buf = NULL;
	size_t len = 0;
	struct stream *stream = backing_stream(op->fs->backing, op->ino);
	int r = stream ? 0 : open_again(op, &p, &stream);
	if (r)
		return r;
	r = stream ? op_read_stream(op, stream, &buf, &len)
		   : read_bytes(&p, op->size, op->offset, &buf, &len);
	blob_unref(p.blob);
	if (r)
		return r;
	op_reply_buf(op, buf, len);
	return OP_REPLIED;
}

static void read_later(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       const struct fuse_file_info *fi)
{
	struct op *op = op_new(req, ino, OPERATION_READ, do_read);
	if (!op)
		return;
	op->fi = *fi;
	op->size = size;
	op->offset = (uint64_t)off;
	/* A thread may end that has asked for O_DIRECT, and another one wait for that. */
	op->waiter.unheard = (fi->flags & O_DIRECT) == 0;
	op_start(op);
}

/* What is here of it is read at once. */
static void read_stream(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			const struct fuse_file_info *fi, int64_t start_us)
{
	struct fs *fs = fuse_req_userdata(req);
	struct stream *stream = backing_stream(fs->backing, ino);
	AUTO_FREE char *buf = NULL;
	struct want want;
	uint64_t first;
	size_t len = 0;
	int r = stream ? stream_read(stream, (uint64_t)off, size, &buf, &len, &want, &first)
		       : -EINPROGRESS;
	stream_unref(stream);
	if (r == -EINPROGRESS) {
		read_later(req, ino, size, off, fi);
		return;
	}
	metrics_count(&fs->metrics, OPERATION_READ, -r, start_us);
	if (r)
		fuse_reply_err(req, -r);
	else
		fuse_reply_buf(req, buf, len);
}

static void read_layout(fuse_req_t req, size_t size, off_t off)
{
	size_t len = strlen(TREE_OCI_LAYOUT);
	size_t at = off < (off_t)len ? (size_t)off : len;
	fuse_reply_buf(req, &TREE_OCI_LAYOUT[at], size < len - at ? size : len - at);
}

static bool is_open_here(struct fs *fs, fuse_ino_t ino, uint64_t fh, struct part *ret)
{
	ret->blob = backing_blob(fs->backing, ino, &ret->at, &ret->size);
	if (ret->blob)
		return true;
	ret->blob = made_files_get(&fs->made_files, fh);
	ret->size = ret->blob ? blob_size(ret->blob) : 0;
	return ret->blob != NULL;
}

void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct part p = {0};
	AUTO_FREE char *buf = NULL;
	size_t len = 0;
	struct fs *fs = fuse_req_userdata(req);
	int64_t start_us = clock_us();
	if (fi->fh == 0) {
		metrics_count(&fs->metrics, OPERATION_READ, 0, start_us);
		read_layout(req, size, off);
		return;
	}
	if (!is_open_here(fs, ino, fi->fh, &p)) {
		read_stream(req, ino, size, off, fi, start_us);
		return;
	}
	int r = read_bytes(&p, size, (uint64_t)off, &buf, &len);
	blob_unref(p.blob);
	metrics_count(&fs->metrics, OPERATION_READ, -r, start_us);
	if (r)
		fuse_reply_err(req, -r);
	else
		fuse_reply_buf(req, buf, len);
}

void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	struct fs *fs = fuse_req_userdata(req);
	int64_t start_us = clock_us();
	close_file(fs, fi->fh);
	metrics_count(&fs->metrics, OPERATION_RELEASE, 0, start_us);
	fuse_reply_err(req, 0); /* the kernel keeps an inode until it is answered */
}
