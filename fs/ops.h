/* SPDX-License-Identifier: Apache-2.0 */
/* ops — the requests of the kernel. Layer: fs/. Each decodes its request and
 * hands it to the tree; <fuse_lowlevel.h> says which replies are valid. What
 * libfuse answers with ENOSYS for us is left out on purpose: POLL, STATX, FLUSH,
 * LSEEK (docs/architecture.md, "ENOSYS"). */
#pragma once

#include <fuse_lowlevel.h>

#include "base/macros.h"

/* The userdata of the session is a struct fs. */
extern const struct fuse_lowlevel_ops fs_ops;

/* The largest READ that the kernel sends. */
#define OPS_READ_MAX (1u << 20)

struct node;
struct op;
/* Whether content could be opened now, as an OPEN would find out. -EINPROGRESS. */
NODISCARD int ops_check_open(struct op *op, const struct node *node);

/* ops_file.c, for that table */
void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/* ops_dir.c, for that table */
void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void ops_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
