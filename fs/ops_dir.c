/* SPDX-License-Identifier: Apache-2.0 */
/* Directories: OPENDIR, READDIR, RELEASEDIR.
 *
 * A list is made in OPENDIR, which holds no lock of the kernel while it waits.
 * Programs that open a directory without O_DIRECTORY do not mean to list it (df
 * opens every mountpoint to have it mounted, fsync and flock take any file): they
 * get it at once, whatever the origin is like, and should one list it after all,
 * its first READDIR does. That holds the directory's lock, so it waits no longer
 * than a LOOKUP. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/clock.h"
#include "fs/dirlist.h"
#include "fs/op.h"
#include "fs/ops.h"
#include "fs/tree.h"

static int do_opendir(struct op *op)
{
	struct node dir;
	struct dirlist *list = NULL;
	struct open_dirs *all = &op->fs->open_dirs;
	int r = node_read(op->fs->nodes, op->ino, &dir);
	if (r == 0 && (op->fi.flags & O_DIRECTORY))
		r = tree_list(op, &dir, &list);
	if (r)
		return r;
	uint64_t fh = open_dirs_number(all);
	bool whole = list && !dirlist_has_unknown(list);
	if (list)
		open_dirs_fill(all, fh, list);
	dirlist_unref(list);
	op->fi.fh = fh;
	bool immutable = dir.kind == NODE_MANIFEST || dir.kind == NODE_TAG ||
			 dir.kind == NODE_LAYERS || dir.kind == NODE_FILES ||
			 dir.kind == NODE_PLATFORMS;
	op->fi.cache_readdir = immutable && whole;
	op->fi.keep_cache = immutable && whole;
	if (op_reply_open(op, 0))
		open_dirs_close(all, fh);
	return OP_REPLIED;
}

void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct op *op = op_new(req, ino, OPERATION_OPENDIR, do_opendir);
	if (!op)
		return;
	op->fi = *fi;
	op_start(op);
}

static int reply_entries(struct op *op, const struct dirlist *list)
{
	AUTO_FREE char *buf = malloc(op->size);
	size_t used = 0;
	if (!buf)
		return -ENOMEM;
	for (size_t i = dirlist_after(list, op->offset); i < dirlist_count(list); i++) {
		struct dirlist_entry e = dirlist_at(list, i);
		struct stat st = {.st_ino = e.ino, .st_mode = e.type};
		size_t n = fuse_add_direntry(op->req, buf + used, op->size - used, e.name, &st,
					     (off_t)e.cookie);
		if (n > op->size - used)
			break;
		used += n;
	}
	op_reply_buf(op, buf, used);
	return OP_REPLIED;
}

static int do_readdir(struct op *op)
{
	struct open_dirs *all = &op->fs->open_dirs;
	struct dirlist *list = open_dirs_list(all, op->fi.fh);
	int r = 0;
	if (!list) {
		struct node dir;
		r = node_read(op->fs->nodes, op->ino, &dir);
		if (r == 0)
			r = tree_list(op, &dir, &list);
		if (r)
			return r;
		open_dirs_fill(all, op->fi.fh, list);
	}
	r = reply_entries(op, list);
	dirlist_unref(list);
	return r;
}

void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct op *op = op_new(req, ino, OPERATION_READDIR, do_readdir);
	if (!op)
		return;
	op->fi = *fi;
	op->size = size < OPS_READ_MAX ? size : OPS_READ_MAX;
	op->offset = off > 0 ? (uint64_t)off : 0;
	op_hold_briefly(op);
	op_start(op);
}

void ops_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	struct fs *fs = fuse_req_userdata(req);
	int64_t start_us = clock_us();
	open_dirs_close(&fs->open_dirs, fi->fh);
	metrics_count(&fs->metrics, OPERATION_RELEASEDIR, 0, start_us);
	fuse_reply_err(req, 0);
}
