/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/made_files.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cache/store.h"

struct made_file {
	LIST_ENTRY(made_file) entry;
	struct blob *blob;
	const char *text;
};

void made_files_init(struct made_files *m)
{
	lock_init(&m->lock);
	LIST_INIT(&m->open);
}

static void release(struct made_file *f)
{
	blob_unref(f->blob);
	free(f);
}

void made_files_release(struct made_files *m)
{
	struct made_file *f;
	lock_take(&m->lock);
	while ((f = LIST_FIRST(&m->open)) != NULL) {
		LIST_REMOVE(f, entry);
		release(f);
	}
	lock_drop(&m->lock);
	lock_release(&m->lock);
}

struct made_file *made_file_new(struct made_files *m, struct blob *blob, const char *text)
{
	struct made_file *f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->blob = blob ? blob_ref(blob) : NULL;
	f->text = text;
	lock_take(&m->lock);
	LIST_INSERT_HEAD(&m->open, f, entry);
	lock_drop(&m->lock);
	return f;
}

int64_t made_file_read(const struct made_file *f, void *buf, size_t size, uint64_t offset)
{
	if (f->blob)
		return file_pread_full(blob_fd(f->blob), buf, size, offset);
	size_t len = strlen(f->text);
	if (offset >= len)
		return 0;
	size_t n = size < len - offset ? size : len - (size_t)offset;
	memcpy(buf, f->text + offset, n);
	return (int64_t)n;
}

void made_file_close(struct made_files *m, struct made_file *f)
{
	lock_take(&m->lock);
	LIST_REMOVE(f, entry);
	lock_drop(&m->lock);
	release(f);
}
