/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/open_dirs.h"

#include <stdlib.h>

#include "fs/dirlist.h"

struct open_dir {
	LIST_ENTRY(open_dir) link; /* guarded by the lock of its open_dirs, as below */
	struct dirlist *list;
};

void open_dirs_init(struct open_dirs *o)
{
	lock_init(&o->lock);
	LIST_INIT(&o->open);
}

static void open_dir_free(struct open_dir *d)
{
	dirlist_free(d->list);
	free(d);
}

void open_dirs_release(struct open_dirs *o)
{
	struct open_dir *d;
	while ((d = LIST_FIRST(&o->open)) != NULL) {
		LIST_REMOVE(d, link);
		open_dir_free(d);
	}
	lock_release(&o->lock);
}

struct open_dir *open_dir_new(struct open_dirs *o)
{
	struct open_dir *d = calloc(1, sizeof(*d));
	if (!d)
		return NULL;
	lock_take(&o->lock);
	LIST_INSERT_HEAD(&o->open, d, link);
	lock_drop(&o->lock);
	return d;
}

void open_dir_close(struct open_dirs *o, struct open_dir *d)
{
	lock_take(&o->lock);
	LIST_REMOVE(d, link);
	lock_drop(&o->lock);
	open_dir_free(d);
}

void open_dir_fill(struct open_dirs *o, struct open_dir *d, struct dirlist *list)
{
	lock_take(&o->lock);
	struct dirlist *extra = d->list ? list : NULL;
	if (!d->list)
		d->list = list;
	lock_drop(&o->lock);
	dirlist_free(extra);
}

const struct dirlist *open_dir_list(struct open_dirs *o, const struct open_dir *d)
{
	lock_take(&o->lock);
	const struct dirlist *list = d->list;
	lock_drop(&o->lock);
	return list;
}
