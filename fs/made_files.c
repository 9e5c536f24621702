/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/made_files.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "cache/store.h"
#include "fs/number_hash.h"

struct made_file {
	uint64_t fh;
	struct blob *blob;
	bool left_out;
	UT_hash_handle hh;
};

void made_files_init(struct made_files *m)
{
	lock_init(&m->lock);
	m->open = NULL;
}

static void made_file_free(struct made_file *f)
{
	if (!f)
		return;
	blob_unref(f->blob);
	free(f);
}

void made_files_release(struct made_files *m)
{
	struct made_file *f, *next;
	HASH_ITER(hh, m->open, f, next)
	{
		HASH_DEL(m->open, f);
		made_file_free(f);
	}
	lock_release(&m->lock);
}

static struct made_file *find(struct made_files *m, uint64_t fh) REQUIRES(m->lock)
{
	struct made_file *f = NULL;
	HASH_FIND(hh, m->open, &fh, sizeof(fh), f);
	return f;
}

int made_files_put(struct made_files *m, uint64_t fh, struct blob *blob)
{
	struct made_file *fresh = calloc(1, sizeof(*fresh));
	if (!fresh)
		return -ENOMEM;
	*fresh = (struct made_file){.fh = fh, .blob = blob_ref(blob)};
	lock_take(&m->lock);
	bool known = find(m, fh) != NULL;
	if (!known)
		HASH_ADD(hh, m->open, fh, sizeof(fresh->fh), fresh);
	bool kept = !known && !fresh->left_out;
	lock_drop(&m->lock);
	if (!kept)
		made_file_free(fresh);
	return kept || known ? 0 : -ENOMEM;
}

struct blob *made_files_get(struct made_files *m, uint64_t fh)
{
	lock_take(&m->lock);
	struct made_file *f = find(m, fh);
	struct blob *blob = f ? blob_ref(f->blob) : NULL;
	lock_drop(&m->lock);
	return blob;
}

void made_files_close(struct made_files *m, uint64_t fh)
{
	lock_take(&m->lock);
	struct made_file *f = find(m, fh);
	if (f)
		HASH_DEL(m->open, f);
	lock_drop(&m->lock);
	made_file_free(f);
}
