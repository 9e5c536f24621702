/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/open_dirs.h"

#include <stdlib.h>

#include "fs/dirlist.h"
#include "fs/number_hash.h"

struct open_dir {
	uint64_t fh;
	struct dirlist *list;
	bool left_out;
	UT_hash_handle hh;
};

void open_dirs_init(struct open_dirs *o)
{
	lock_init(&o->lock);
	o->open = NULL;
	o->last = 0;
}

void open_dirs_start(struct open_dirs *o, uint32_t generation)
{
	lock_take(&o->lock);
	o->last = (uint64_t)generation << 32;
	lock_drop(&o->lock);
}

static void open_dir_free(struct open_dir *d)
{
	if (!d)
		return;
	dirlist_free(d->list);
	free(d);
}

void open_dirs_release(struct open_dirs *o)
{
	struct open_dir *d, *next;
	HASH_ITER(hh, o->open, d, next)
	{
		HASH_DEL(o->open, d);
		open_dir_free(d);
	}
	lock_release(&o->lock);
}

uint64_t open_dirs_number(struct open_dirs *o)
{
	lock_take(&o->lock);
	uint64_t fh = ++o->last;
	lock_drop(&o->lock);
	return fh;
}

static struct open_dir *find(struct open_dirs *o, uint64_t fh) REQUIRES(o->lock)
{
	struct open_dir *d = NULL;
	HASH_FIND(hh, o->open, &fh, sizeof(fh), d);
	return d;
}

const struct dirlist *open_dirs_fill(struct open_dirs *o, uint64_t fh, struct dirlist *list)
{
	struct open_dir *fresh = calloc(1, sizeof(*fresh));
	if (!fresh) {
		dirlist_free(list);
		return NULL;
	}
	*fresh = (struct open_dir){.fh = fh, .list = list};
	lock_take(&o->lock);
	struct open_dir *d = find(o, fh);
	if (!d) {
		HASH_ADD(hh, o->open, fh, sizeof(fresh->fh), fresh);
		d = fresh->left_out ? NULL : fresh;
	}
	const struct dirlist *there = d ? d->list : NULL;
	lock_drop(&o->lock);
	if (d != fresh)
		open_dir_free(fresh);
	return there;
}

const struct dirlist *open_dirs_list(struct open_dirs *o, uint64_t fh)
{
	lock_take(&o->lock);
	struct open_dir *d = find(o, fh);
	const struct dirlist *list = d ? d->list : NULL;
	lock_drop(&o->lock);
	return list;
}

void open_dirs_close(struct open_dirs *o, uint64_t fh)
{
	lock_take(&o->lock);
	struct open_dir *d = find(o, fh);
	if (d)
		HASH_DEL(o->open, d);
	lock_drop(&o->lock);
	open_dir_free(d);
}
