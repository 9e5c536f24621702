/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/tar_scan.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fs/tar_index.h"

#define BLOCK 512u

struct scan {
	struct archive *reader;
	const char *tar;
	size_t len;
	struct tar_index_builder index;
	struct tar_segment *segments; /* of the member at hand */
	size_t n_segments, room;
	bool cut; /* behind the contents of the last member: nothing follows */
};

static int out_of_memory(struct err *err)
{
	return err_set(err, -EFBIG, "a tar that needs more memory than it is worth");
}

/* What libarchive has to say. */
static int unreadable(struct scan *s, struct err *err)
{
	const char *said = archive_error_string(s->reader);
	if (archive_errno(s->reader) == ENOMEM)
		return out_of_memory(err);
	return err_set(err, -EPROTO, "not a tar that can be read: %s",
		       said != NULL ? said : "no reason given");
}

/* Names that are no UTF-8 are fine: they come out as they are. All else that is only
 * a warning means that something of the member was not understood. */
static bool is_only_charset(struct scan *s)
{
	const char *said = archive_error_string(s->reader);
	return said != NULL && strstr(said, "can't be converted from") != NULL;
}

static int add_segment(struct scan *s, const struct tar_segment *new, struct err *err)
{
	struct tar_segment *last = s->n_segments > 0 ? &s->segments[s->n_segments - 1] : NULL;
	if (last != NULL && last->at + last->len == new->at && last->tar + last->len == new->tar) {
		last->len += new->len;
		return 0;
	}
	if (s->n_segments == s->room) {
		size_t room = s->room > 0 ? s->room * 2 : 64;
		struct tar_segment *v = room < TAR_INDEX_MAX / sizeof(*v)
					    ? realloc(s->segments, room * sizeof(*v))
					    : NULL;
		if (v == NULL)
			return out_of_memory(err);
		s->segments = v;
		s->room = room;
	}
	s->segments[s->n_segments++] = *new;
	return 0;
}

/* All of it was there, and the tar ends in the zeros that fill up its last block: readers
 * that go by the Go library, as clients do, take that for an end like any other. */
static bool ends_in_padding(const struct scan *s, uint64_t size)
{
	const struct tar_segment *last = s->n_segments > 0 ? &s->segments[s->n_segments - 1] : NULL;
	return last != NULL && last->at + last->len == size &&
	       s->len - (last->tar + last->len) < BLOCK - (last->tar + last->len) % BLOCK;
}

/* libarchive hands out pointers into the tar that it was given. */
static int find_contents(struct scan *s, uint64_t size, struct err *err)
{
	const void *block;
	size_t len;
	la_int64_t at;
	int r;
	uint64_t end = 0;
	s->n_segments = 0;
	while ((r = archive_read_data_block(s->reader, &block, &len, &at)) == ARCHIVE_OK) {
		uintptr_t from = (uintptr_t)block - (uintptr_t)s->tar;
		if (len == 0)
			continue;
		if (from > s->len || len > s->len - from)
			return err_set(err, -EPROTO, "contents that do not lie in the tar");
		if (at < 0 || (uint64_t)at < end || (uint64_t)at > size ||
		    len > size - (uint64_t)at)
			return err_set(err, -EPROTO, "a sparse file whose map leads out of it");
		struct tar_segment segment = {(uint64_t)at, from, len};
		end = segment.at + len;
		r = add_segment(s, &segment, err);
		if (r < 0)
			return r;
	}
	s->cut = r != ARCHIVE_EOF && ends_in_padding(s, size);
	return r == ARCHIVE_EOF || s->cut ? 0 : unreadable(s, err);
}

static int unnameable(struct err *err, const char *what, const char *name)
{
	return err_set(err, -EPROTO, "%s is longer than a path may be: %.80s…", what, name);
}

static int add_hardlink(struct scan *s, struct tar_item *item, const char *target, struct err *err)
{
	char clean[TAR_PATH_MAX];
	int len = tar_path_clean(target, clean);
	if (len < 0)
		return unnameable(err, "the target of a hard link", target);
	if (len == 0)
		return err_set(err, -EPROTO, "%.200s: a hard link to no file", item->path);
	item->kind = TAR_HARDLINK;
	item->link = clean;
	int rc = tar_index_add(&s->index, item, err);
	item->link = NULL;
	return rc;
}

static int add_symlink(struct scan *s, struct tar_item *item, const char *target, struct err *err)
{
	if (target == NULL || *target == '\0')
		return err_set(err, -EPROTO, "%.200s: a link to nothing", item->path);
	if (strlen(target) >= TAR_LINK_MAX)
		return unnameable(err, "the target of a link", target);
	item->kind = TAR_SYMLINK;
	item->link = target;
	return tar_index_add(&s->index, item, err);
}

static int add_file(struct scan *s, struct tar_item *item, la_int64_t size, struct err *err)
{
	if (size < 0)
		return err_set(err, -EPROTO, "%.200s: a file of a size below 0", item->path);
	item->kind = TAR_FILE;
	item->size = (uint64_t)size;
	int rc = find_contents(s, item->size, err);
	if (rc < 0)
		return err_wrap(err, rc, "%.200s", item->path);
	item->segments = s->segments;
	item->n_segments = s->n_segments;
	return tar_index_add(&s->index, item, err);
}

/* By the kind of file; some old tars mark a directory by nothing but its '/'. */
static int add_by_type(struct scan *s, struct tar_item *item, struct archive_entry *e,
		       const char *name, struct err *err)
{
	switch (archive_entry_filetype(e)) {
	case AE_IFREG:
		if (archive_entry_size(e) > 0 || name[strlen(name) - 1] != '/')
			return add_file(s, item, archive_entry_size(e), err);
		break;
	case AE_IFDIR:
		break;
	case AE_IFLNK:
		return add_symlink(s, item, archive_entry_symlink(e), err);
	case AE_IFCHR:
	case AE_IFBLK:
	case AE_IFIFO:
	case AE_IFSOCK:
		item->kind = TAR_OTHER;
		return tar_index_add(&s->index, item, err);
	default:
		return err_set(err, -EPROTO, "%.200s: of a type that cannot be unpacked",
			       item->path);
	}
	item->kind = TAR_DIR;
	return tar_index_add(&s->index, item, err);
}

static int add_entry(struct scan *s, struct archive_entry *e, struct err *err)
{
	char path[TAR_PATH_MAX];
	const char *name = archive_entry_pathname(e);
	const char *hardlink = archive_entry_hardlink(e);
	if (name == NULL)
		return err_set(err, -EPROTO, "a member without a name");
	int len = tar_path_clean(name, path);
	if (len < 0)
		return unnameable(err, "the name of a member", name);
	if (len == 0) /* the top, which is there */
		return 0;
	struct tar_item item = {.path = path, .mode = (unsigned)archive_entry_perm(e)};
	return hardlink != NULL ? add_hardlink(s, &item, hardlink, err)
				: add_by_type(s, &item, e, name, err);
}

static bool is_zero(const char *p, size_t len)
{
	return len == 0 || (p[0] == '\0' && memcmp(p, p + 1, len - 1) == 0);
}

/* Two blocks of zeros end a tar, or its end does. One block of zeros ends it too for
 * libarchive, whatever follows; for clients it is damaged then. Who believed the one would
 * lack files without a word. */
static int check_end(const struct scan *s, uint64_t end, struct err *err)
{
	uint64_t rest = s->len - end;
	if (rest == 0 || rest == BLOCK)
		return 0;
	if (rest >= (uint64_t)2 * BLOCK && is_zero(s->tar + end + BLOCK, BLOCK))
		return 0;
	return err_set(err, -EPROTO,
		       "not a tar that can be read: a lone block of zeros, and "
		       "something behind it");
}

static int scan_all(struct scan *s, struct err *err)
{
	struct archive_entry *e;
	la_int64_t end = 0; /* of what was read */
	int r;
	while ((r = archive_read_next_header(s->reader, &e)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
		if (r == ARCHIVE_WARN && !is_only_charset(s))
			break;
		r = add_entry(s, e, err);
		if (r < 0 || s->cut)
			return r;
		r = archive_read_data_skip(s->reader);
		if (r != ARCHIVE_OK)
			break;
		end = archive_filter_bytes(s->reader, 0);
	}
	return r == ARCHIVE_EOF ? check_end(s, (uint64_t)end, err) : unreadable(s, err);
}

int tar_scan(const void *tar, size_t len, char **ret, size_t *ret_len, struct err *err)
{
	struct scan s = {.reader = archive_read_new(), .tar = tar, .len = len};
	int rc = 0;
	if (s.reader == NULL)
		return out_of_memory(err);
	/* An empty file is a tar without members, which libarchive does not know. */
	if (len > 0) {
		if (archive_read_support_format_tar(s.reader) != ARCHIVE_OK ||
		    archive_read_open_memory(s.reader, tar, len) != ARCHIVE_OK)
			rc = unreadable(&s, err);
		else
			rc = scan_all(&s, err);
	}
	archive_read_free(s.reader);
	free(s.segments);
	if (rc == 0)
		rc = tar_index_finish(&s.index, len, ret, ret_len, err);
	tar_index_builder_release(&s.index);
	return rc;
}
