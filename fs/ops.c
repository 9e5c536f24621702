/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/file.h"
#include "cache/store.h"
#include "fs/backing.h"
#include "fs/fetch.h"
#include "fs/log.h"
#include "fs/tree.h"
#include "fs/xattr.h"

static int negative(struct op *op, double entry_s)
{
	struct fuse_entry_param none = {.entry_timeout = entry_s};
	if (entry_s <= 0)
		return -ENOENT;
	(void)op_reply_entry(op, &none);
	return OP_REPLIED;
}

static int do_lookup(struct op *op)
{
	struct node parent, node;
	struct found found = {0};
	struct fuse_entry_param e = {0};
	struct nodes *nodes = op->fs->nodes;
	int r = node_read(nodes, op->ino, &parent);
	if (r == 0)
		r = tree_lookup(op, &parent, op->name, &found);
	if (r == -ENOENT)
		return negative(op, found.entry_s);
	if (r)
		return r;
	r = node_get(nodes, &found.key, &node);
	if (r)
		return r;
	r = tree_attr(op, &node, &e.attr, &e.attr_timeout);
	if (r) {
		node_forget(nodes, node.id, 1);
		return r;
	}
	e.ino = node.id;
	e.entry_timeout = found.entry_s;
	if (op_reply_entry(op, &e))
		node_forget(nodes, node.id, 1); /* the kernel never heard of it */
	return OP_REPLIED;
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct op *op = op_new(req, parent, "lookup", do_lookup);
	size_t len = strlen(name);
	if (!op)
		return;
	if (len >= sizeof(op->name)) {
		op_reply_err(op, -ENAMETOOLONG);
		return;
	}
	memcpy(op->name, name, len + 1);
	op_hold_briefly(op);
	op_start(op);
}

static void on_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	struct fs *fs = fuse_req_userdata(req);
	node_forget(fs->nodes, ino, count);
	fuse_reply_none(req);
}

static void on_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *v)
{
	struct fs *fs = fuse_req_userdata(req);
	for (size_t i = 0; i < count; i++)
		node_forget(fs->nodes, v[i].ino, v[i].nlookup);
	fuse_reply_none(req);
}

static int do_getattr(struct op *op)
{
	struct node node;
	struct stat st;
	double s = 0;
	int r = node_read(op->fs->nodes, op->ino, &node);
	if (r == 0)
		r = tree_attr(op, &node, &st, &s);
	if (r)
		return r;
	op_reply_attr(op, &st, s);
	return OP_REPLIED;
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	struct op *op = op_new(req, ino, "stat", do_getattr);
	if (op)
		op_start(op);
}

static int do_readlink(struct op *op)
{
	struct node node;
	char target[PATH_MAX];
	int r = node_read(op->fs->nodes, op->ino, &node);
	if (r == 0)
		r = tree_readlink(op, &node, target);
	if (r)
		return r;
	op_reply_readlink(op, target);
	return OP_REPLIED;
}

static void on_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct op *op = op_new(req, ino, "readlink", do_readlink);
	if (op)
		op_start(op);
}

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

/* Content is one node, whichever registry it is opened under, and the node knows but the
 * latest that named it: one that is down keeps it from nobody. */
static bool try_elsewhere(struct op *op, const struct node *node, const struct place *p)
{
	bool failed = op_failed(op, &op->want) || fetch_refused(op->site->fetcher, NULL);
	return op->fs->sites.several && failed && op_go_elsewhere(op, named_by(node, p));
}

/* Of the registry that the op is about. */
static int place_bytes(struct op *op, const struct node *node, struct place *p, struct blob **ret,
		       uint64_t *ret_at)
{
	if (op->tried)
		memcpy(p->repo, op->repo, sizeof(p->repo));
	if (p->member)
		return tree_member_bytes(op, node, p, ret, ret_at);
	return op_want_blob(op, &node->digest, node->size, p->repo);
}

/* The file in which the node's bytes lie, from *ret_at on. New reference. */
static int content_blob(struct op *op, const struct node *node, struct blob **ret, uint64_t *ret_at)
{
	char text[NODE_REPO_MAX];
	struct place place;
	*ret_at = 0;
	if (op->blob && digest_equal(blob_digest(op->blob), &node->digest)) {
		*ret = blob_ref(op->blob);
		return 0;
	}
	int r = store_get(op->fs->store, &node->digest, ret, &op->err);
	if (r != -EAGAIN && r != -ENOENT)
		return r;
	if (!op->site)
		return -ESTALE;
	r = node_content_place(op->fs->nodes, node->id, text);
	if (r == 0 && place_parse(text, &place))
		r = -ESTALE;
	if (r == 0)
		r = place_bytes(op, node, &place, ret, ret_at);
	while (r == -EINPROGRESS && try_elsewhere(op, node, &place))
		r = place_bytes(op, node, &place, ret, ret_at);
	if (r == -EINPROGRESS)
		op_share_time(op, named_by(node, &place));
	return r;
}

/* What an open of the node is served from: a new reference, and where in it. */
static int open_blob(struct op *op, const struct node *node, struct blob **ret, uint64_t *ret_at)
{
	struct blob *blob = NULL;
	if (!node_kind_is_content(node->kind))
		return -EINVAL;
	if ((op->fi.flags & O_ACCMODE) != O_RDONLY)
		return -EROFS;
	int r = content_blob(op, node, &blob, ret_at);
	if (r)
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
	int r = open_blob(op, node, &blob, &at);
	blob_unref(blob);
	return r;
}

static int open_made(struct op *op, const struct node *node)
{
	bool index = node->kind == NODE_INDEX_JSON;
	int r = check_made(op, node);
	if (r)
		return r;
	struct made_file *f =
	    made_file_new(&op->fs->made_files, index ? op->blob : NULL, TREE_OCI_LAYOUT);
	if (!f)
		return -ENOMEM;
	op->fi.fh = (uint64_t)(uintptr_t)f;
	op->fi.direct_io = index;
	op->fi.keep_cache = !index;
	struct made_files *all = &op->fs->made_files;
	if (op_reply_open(op, 0))
		made_file_close(all, f);
	return OP_REPLIED;
}

static int do_open(struct op *op)
{
	struct node node;
	struct blob *blob = NULL;
	struct backing_open open;
	uint64_t at = 0;
	int r = node_read(op->fs->nodes, op->ino, &node);
	if (r == 0 && is_made(&node))
		return open_made(op, &node);
	if (r == 0)
		r = open_blob(op, &node, &blob, &at);
	if (r)
		return r;
	struct backing_table *backing = op->fs->backing;
	backing_get(backing, node.id, node.size, blob, at, &open);
	blob_unref(blob);
	if (!open.blob)
		return err_set(&op->err, -ENOMEM, "no memory to open a file");
	blob_unref(open.blob);
	op->fi.keep_cache = open.backing_id <= 0;
	if (op_reply_open(op, open.backing_id))
		backing_put(backing, node.id);
	return OP_REPLIED;
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct op *op = op_new(req, ino, "open", do_open);
	if (!op)
		return;
	op->fi = *fi;
	op_start(op);
}

static void read_made(fuse_req_t req, const struct made_file *f, size_t size, off_t off)
{
	size = size < OPS_READ_MAX ? size : OPS_READ_MAX;
	AUTO_FREE char *buf = malloc(size);
	int64_t n = buf ? made_file_read(f, buf, size, (uint64_t)off) : -ENOMEM;
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_buf(req, buf, (size_t)n);
}

/* Only what was made has a handle: content is one thing, however often it is open. */
static struct made_file *made(const struct fuse_file_info *fi)
{
	return (struct made_file *)(uintptr_t)fi->fh;
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	if (made(fi)) {
		read_made(req, made(fi), size, off);
		return;
	}
	uint64_t at, all;
	struct blob *blob = backing_blob(fs->backing, ino, &at, &all);
	if (!blob) {
		fuse_reply_err(req, EIO);
		return;
	}
	uint64_t left = (uint64_t)off < all ? all - (uint64_t)off : 0;
	size = size < OPS_READ_MAX ? size : OPS_READ_MAX;
	size = size < left ? size : (size_t)left;
	AUTO_FREE char *buf = malloc(size + 1);
	int64_t n = buf ? file_pread_full(blob_fd(blob), buf, size, at + (uint64_t)off) : -ENOMEM;
	/* Somebody has cut the file: an end that is none must not look like one. */
	if (n >= 0 && (uint64_t)n < size)
		n = -EIO;
	blob_unref(blob);
	if (n < 0) {
		log_failure("fs", "read", "reading a cached blob: %s", strerror((int)-n));
		fuse_reply_err(req, EIO);
	} else {
		fuse_reply_buf(req, buf, (size_t)n);
	}
}

static void on_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	if (made(fi))
		made_file_close(&fs->made_files, made(fi));
	else
		backing_put(fs->backing, ino);
	fuse_reply_err(req, 0); /* the kernel keeps an inode until it is answered */
}

static void on_statfs(fuse_req_t req, fuse_ino_t ino)
{
	(void)ino;
	struct fs *fs = fuse_req_userdata(req);
	struct store_usage u;
	store_usage(fs->store, &u);
	struct statvfs st = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = NAME_MAX};
	st.f_blocks = (fsblkcnt_t)((u.bytes + 4095) / 4096);
	st.f_files = (fsfilcnt_t)u.blobs;
	fuse_reply_statfs(req, &st);
}

/* The protocol: a size of 0 asks how long the answer would be. */
static int reply_sized(struct op *op, const char *data, size_t len)
{
	if (op->size == 0)
		op_reply_xattr(op, len);
	else if (op->size < len)
		return -ERANGE;
	else
		op_reply_buf(op, data, len);
	return OP_REPLIED;
}

static int do_getxattr(struct op *op)
{
	struct node node;
	AUTO_FREE char *value = NULL;
	int r = node_read(op->fs->nodes, op->ino, &node);
	if (r == 0)
		r = xattr_get(op, &node, op->name, &value);
	return r ? r : reply_sized(op, value, strlen(value));
}

static void on_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	size_t len = strlen(name);
	if (strncmp(name, "user.oci.", 9) != 0 || len > NAME_MAX) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	struct op *op = op_new(req, ino, "getxattr", do_getxattr);
	if (!op)
		return;
	memcpy(op->name, name, len + 1);
	op->size = size;
	op_start(op);
}

static int do_listxattr(struct op *op)
{
	struct node node;
	AUTO_FREE char *list = NULL;
	size_t len = 0;
	int r = node_read(op->fs->nodes, op->ino, &node);
	if (r == 0)
		r = xattr_list(op, &node, &list, &len);
	return r ? r : reply_sized(op, list, len);
}

static void on_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct op *op = op_new(req, ino, "listxattr", do_listxattr);
	if (!op)
		return;
	op->size = size;
	op_start(op);
}

const struct fuse_lowlevel_ops fs_ops = {
    .lookup = on_lookup,
    .forget = on_forget,
    .forget_multi = on_forget_multi,
    .getattr = on_getattr,
    .readlink = on_readlink,
    .open = on_open,
    .read = on_read,
    .release = on_release,
    .opendir = ops_opendir,
    .readdir = ops_readdir,
    .releasedir = ops_releasedir,
    .statfs = on_statfs,
    .getxattr = on_getxattr,
    .listxattr = on_listxattr,
};
