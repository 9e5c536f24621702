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
	r = node_get(nodes, &found.key, op->unique, &node);
	if (r)
		return r;
	r = tree_attr(op, &node, &e.attr, &e.attr_timeout);
	uint64_t unique = op->unique;
	e.ino = node.id;
	e.entry_timeout = found.entry_s;
	bool heard = r == 0 && op_reply_entry(op, &e) == 0;
	node_answered(nodes, unique);
	if (!heard)
		node_forget(nodes, node.id, 1);
	return r;
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct op *op = op_new(req, parent, OPERATION_LOOKUP, do_lookup);
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
	struct op *op = op_new(req, ino, OPERATION_GETATTR, do_getattr);
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
	struct op *op = op_new(req, ino, OPERATION_READLINK, do_readlink);
	if (op)
		op_start(op);
}

static void on_statfs(fuse_req_t req, fuse_ino_t ino)
{
	(void)ino;
	struct fs *fs = fuse_req_userdata(req);
	int64_t start_us = clock_us();
	struct store_usage u;
	store_usage(fs->store, &u);
	struct statvfs st = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = NAME_MAX};
	st.f_blocks = (fsblkcnt_t)((u.bytes + 4095) / 4096);
	st.f_files = (fsfilcnt_t)u.blobs;
	metrics_count(&fs->metrics, OPERATION_STATFS, 0, start_us);
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
		struct fs *fs = fuse_req_userdata(req);
		metrics_count(&fs->metrics, OPERATION_GETXATTR, ENODATA, clock_us());
		fuse_reply_err(req, ENODATA);
		return;
	}
	struct op *op = op_new(req, ino, OPERATION_GETXATTR, do_getxattr);
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
	struct op *op = op_new(req, ino, OPERATION_LISTXATTR, do_listxattr);
	if (!op)
		return;
	op->size = size;
	op_start(op);
}

const struct fuse_lowlevel_ops fs_ops = {
    .lookup = on_lookup,
    .getattr = on_getattr,
    .readlink = on_readlink,
    .open = ops_open,
    .read = ops_read,
    .release = ops_release,
    .opendir = ops_opendir,
    .readdir = ops_readdir,
    .releasedir = ops_releasedir,
    .statfs = on_statfs,
    .getxattr = on_getxattr,
    .listxattr = on_listxattr,
};
