/* SPDX-License-Identifier: Apache-2.0 */
/* unpacked — a layer whose members can be opened. Layer: fs/.
 *
 * Unpacking writes no file for each member: a compressed layer is decompressed once
 * into its tar, a blob of the store under its own digest, and the tar is read once for
 * an index of what lies where, a blob too (fs/tar_index.h). cache/archives.h remembers
 * which these are, so that it is done once for a machine. The index is then held in
 * memory; the tar is needed only when a member is opened.
 *
 * Decompressing and reading is the helper's (fs/archive_run.h). What it says is checked
 * here: the tar by the diff id that the image declares, if one is declared; the index
 * by its parser. The digests of members are computed here, not there, because they name
 * content nodes that all images share.
 *
 * Limits: a tar larger than the cache; one more than ARCHIVE_BOMB_RATIO times as large
 * as the layer, once it has ARCHIVE_BOMB_LEAST bytes; files that are by their holes
 * in all larger than the cache, or than ARCHIVE_HOLES_LEAST and ARCHIVE_HOLES_RATIO times
 * the tar; those of fs/tar_index.h.
 *
 * Errors: -ENOENT not unpacked, or not in the cache any more: see each; -EBADMSG not the
 * diff id that was declared; -EPROTO cannot be read as a tar; -EFBIG; -ENOSPC; -EIO;
 * -ECANCELED, -ETIMEDOUT the call.
 *
 * Threads: an unpacked layer is read only and shared by reference. Functions with a
 * call BLOCK: on the disk, and on the helper.
 */
#pragma once

#include <stdint.h>

#include "base/call.h"
#include "base/digest.h"
#include "base/err.h"
#include "fs/tar_index.h"

struct blob;
struct store;

#define ARCHIVE_BOMB_LEAST  (1ull << 30)
#define ARCHIVE_BOMB_RATIO  200
#define ARCHIVE_HOLES_LEAST (1ull << 30)
#define ARCHIVE_HOLES_RATIO 64

extern uint64_t unpacked_bomb_least; /* ARCHIVE_BOMB_LEAST; tests lower it */

struct unpacked {
	struct digest layer, tar;
	struct tar_index *index;
	_Atomic int refs;
};

/* By what was recorded. -ENOENT: nothing was, or the index is not in the cache. The tar
 * may be gone. */
NODISCARD int unpacked_load(struct store *s, const struct digest *layer, struct call *call,
			    struct unpacked **ret, struct err *err);
/* Unpacks it, as far as that is not done. diff_id: NULL: none was declared. */
NODISCARD int unpacked_make(struct store *s, struct blob *layer, const struct digest *diff_id,
			    struct call *call, struct unpacked **ret, struct err *err);
/* Whether what a layer was unpacked to is what an image declares it to be. -EBADMSG; -EAGAIN: that
 * is of another algorithm than the tar's digest, so its bytes must tell: by unpacked_check_tar. */
NODISCARD int unpacked_check(const struct digest *tar, const struct digest *diff_id,
			     struct err *err);
NODISCARD int unpacked_check_tar(const struct blob *tar, const struct digest *diff_id,
				 struct call *call, struct err *err);
struct unpacked *unpacked_ref(struct unpacked *u);
void unpacked_unref(struct unpacked *u); /* NULL is fine */

/* The verified tar. -ENOENT: it is not in the cache. */
NODISCARD int unpacked_tar(struct store *s, const struct digest *tar, struct call *call,
			   struct blob **ret, struct err *err);
/* The tar again, from the layer, once unpacked_tar does not find it. */
NODISCARD int unpacked_restore(struct store *s, const struct digest *tar, struct blob *layer,
			       struct call *call, struct blob **ret, struct err *err);
/* A member (TAR_FILE) as a blob of its own. */
NODISCARD int unpacked_extract(struct store *s, struct blob *tar, const struct tar_member *m,
			       struct call *call, struct blob **ret, struct err *err);
/* Whether a member's bytes lie in the tar in one piece, from *ret_at on. */
bool unpacked_in_one_piece(const struct tar_member *m, uint64_t *ret_at);
