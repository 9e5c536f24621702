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
	o->bytes = 0;
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
	dirlist_unref(d->list);
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

static void take_out(struct open_dirs *o, struct open_dir *d) REQUIRES(o->lock)
{
	HASH_DEL(o->open, d);
	o->bytes -= dirlist_bytes(d->list);
}

/* The first of those that are too much, or NULL: the table is in the order of their use, and
 * the one that was put in last stays. */
static struct open_dir *take_surplus(struct open_dirs *o) REQUIRES(o->lock)
{
	struct open_dir *d = o->open;
	if (o->bytes <= OPEN_DIRS_BYTES || !d || !d->hh.next)
		return NULL;
	take_out(o, d);
	return d;
}

void open_dirs_fill(struct open_dirs *o, uint64_t fh, struct dirlist *list)
{
	struct open_dir *fresh = calloc(1, sizeof(*fresh));
	struct open_dir *surplus;
	if (!fresh)
		return;
	*fresh = (struct open_dir){.fh = fh, .list = dirlist_ref(list)};
	lock_take(&o->lock);
	bool known = find(o, fh) != NULL;
	if (!known)
		HASH_ADD(hh, o->open, fh, sizeof(fresh->fh), fresh);
	bool kept = !known && !fresh->left_out;
	if (kept)
		o->bytes += dirlist_bytes(list);
	lock_drop(&o->lock);
	if (!kept)
		open_dir_free(fresh);
	do {
		lock_take(&o->lock);
		surplus = take_surplus(o);
		lock_drop(&o->lock);
		open_dir_free(surplus);
	} while (surplus);
}

/* To the end: it was read last. Returns what has no place any more, for want of memory. */
static struct open_dir *renew(struct open_dirs *o, struct open_dir *d) REQUIRES(o->lock)
{
	if (!d->hh.next)
		return NULL;
	HASH_DEL(o->open, d);
	HASH_ADD(hh, o->open, fh, sizeof(d->fh), d);
	if (!d->left_out)
		return NULL;
	o->bytes -= dirlist_bytes(d->list);
	return d;
}

struct dirlist *open_dirs_list(struct open_dirs *o, uint64_t fh)
{
	struct dirlist *list = NULL;
	struct open_dir *lost = NULL;
	lock_take(&o->lock);
	struct open_dir *d = find(o, fh);
	if (d) {
		list = dirlist_ref(d->list);
		lost = renew(o, d);
	}
	lock_drop(&o->lock);
	open_dir_free(lost);
	return list;
}

void open_dirs_close(struct open_dirs *o, uint64_t fh)
{
	lock_take(&o->lock);
	struct open_dir *d = find(o, fh);
	if (d)
		take_out(o, d);
	lock_drop(&o->lock);
	open_dir_free(d);
}
