/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/tar_contents.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

#define PIECE (256u << 10)

struct drain {
	contents_fn take;
	void *ctx;
	struct call *call;
	char *piece; /* PIECE bytes */
};

static size_t piece_of(uint64_t left)
{
	return left < PIECE ? (size_t)left : PIECE;
}

static int drain_bytes(struct drain *d, int fd, uint64_t at, uint64_t len, struct err *err)
{
	while (len > 0) {
		size_t want = piece_of(len);
		int rc = call_check(d->call, err);
		if (rc < 0)
			return rc;
		if (file_pread_full(fd, d->piece, want, at) != (int64_t)want)
			return err_set(err, -EIO, "cannot read a tar in the cache");
		rc = d->take(d->ctx, d->piece, want, err);
		if (rc < 0)
			return rc;
		at += want;
		len -= want;
	}
	return 0;
}

static int drain_zeros(struct drain *d, uint64_t len, struct err *err)
{
	if (len > 0)
		memset(d->piece, 0, piece_of(len));
	while (len > 0) {
		size_t want = piece_of(len);
		int rc = call_check(d->call, err);
		if (rc == 0)
			rc = d->take(d->ctx, d->piece, want, err);
		if (rc < 0)
			return rc;
		len -= want;
	}
	return 0;
}

int tar_contents(int fd, const struct tar_member *m, contents_fn take, void *ctx, struct call *call,
		 struct err *err)
{
	AUTO_FREE char *piece = malloc(PIECE);
	struct drain d = {take, ctx, call, piece};
	uint64_t at = 0;
	if (piece == NULL)
		return err_errno(err, -ENOMEM, "tar");
	for (uint32_t i = 0; i < m->segments; i++) {
		struct tar_segment s = tar_index_segment(m, i);
		int rc = drain_zeros(&d, s.at - at, err);
		if (rc == 0)
			rc = drain_bytes(&d, fd, s.tar, s.len, err);
		if (rc < 0)
			return rc;
		at = s.at + s.len;
	}
	return drain_zeros(&d, m->size - at, err);
}

static int hash_some(void *ctx, const void *data, size_t len, struct err *err)
{
	int rc = hasher_update(ctx, data, len);
	return rc < 0 ? err_errno(err, rc, "cannot hash") : 0;
}

/* Ends the hash whatever has come of it. */
static int finish(struct hasher *h, int rc, struct digest *ret, struct err *err)
{
	if (rc == 0) {
		rc = hasher_final(h, ret);
		if (rc < 0)
			(void)err_errno(err, rc, "cannot hash");
	}
	hasher_free(h);
	return rc;
}

int tar_contents_digest(int fd, const struct tar_member *m, struct call *call, struct digest *ret,
			struct err *err)
{
	struct hasher *h = NULL;
	int rc = hasher_new(DIGEST_SHA256, &h);
	if (rc < 0)
		return err_errno(err, rc, "cannot hash");
	return finish(h, tar_contents(fd, m, hash_some, h, call, err), ret, err);
}

int tar_file_digest(int fd, uint64_t size, enum digest_alg alg, struct call *call,
		    struct digest *ret, struct err *err)
{
	AUTO_FREE char *piece = malloc(PIECE);
	struct hasher *h = NULL;
	int rc = piece != NULL ? hasher_new(alg, &h) : -ENOMEM;
	if (rc < 0)
		return err_errno(err, rc, "cannot hash");
	struct drain d = {hash_some, h, call, piece};
	return finish(h, drain_bytes(&d, fd, 0, size, err), ret, err);
}
