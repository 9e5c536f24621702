/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/archive_helper.h"

#include <archive.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "fs/archive_confine.h"
#include "fs/archive_gzip.h"
#include "fs/tar_scan.h"

#define READ_PIECE (256u << 10)

static const struct compression {
	const char *name;
	int filter;
	const char *magic;
	size_t len;
	unsigned char mask; /* of the first byte */
} compressions[] = {
    {"gzip", ARCHIVE_FILTER_GZIP, "\x1f\x8b\x08", 3, 0xff},
    {"zstd", ARCHIVE_FILTER_ZSTD, "\x28\xb5\x2f\xfd", 4, 0xff},
    /* A frame to skip, which some compressors begin with. */
    {"zstd", ARCHIVE_FILTER_ZSTD, "\x50\x2a\x4d\x18", 4, 0xf0},
    {"bzip2", ARCHIVE_FILTER_BZIP2, "BZh", 3, 0xff},
    {"xz", ARCHIVE_FILTER_XZ, "\xfd\x37\x7a\x58\x5a\x00", 6, 0xff},
};

const char *layer_compression(const void *head, size_t len)
{
	const unsigned char *p = head;
	for (size_t i = 0; i < ARRAY_LEN(compressions); i++) {
		const struct compression *c = &compressions[i];
		if (len >= c->len && (p[0] & c->mask) == (unsigned char)c->magic[0] &&
		    memcmp(p + 1, c->magic + 1, c->len - 1) == 0)
			return c->name;
	}
	return NULL;
}

static int find_filter(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(compressions); i++) {
		if (name != NULL && strcmp(name, compressions[i].name) == 0)
			return compressions[i].filter;
	}
	return -1;
}

/* What libarchive has to say. */
static int failed(struct archive *a, struct err *err)
{
	const char *said = archive_error_string(a);
	if (archive_errno(a) == ENOMEM)
		return err_set(err, -EFBIG, "it needs more than %llu MiB of memory",
			       ARCHIVE_MEMORY >> 20);
	return err_set(err, -EPROTO, "cannot be decompressed: %s",
		       said != NULL ? said : "no reason given");
}

static int copy_out(struct archive *a, struct err *err)
{
	struct archive_entry *e;
	const void *block;
	size_t len;
	la_int64_t at;
	int r = archive_read_next_header(a, &e);
	if (r == ARCHIVE_EOF)
		return 0;
	if (r != ARCHIVE_OK)
		return failed(a, err);
	while ((r = archive_read_data_block(a, &block, &len, &at)) == ARCHIVE_OK) {
		int rc = file_write_all(STDOUT_FILENO, block, len);
		if (rc < 0)
			return err_errno(err, -EIO, "cannot hand on what was decompressed");
	}
	return r == ARCHIVE_EOF ? 0 : failed(a, err);
}

/* Exactly one compression: what is compressed twice is no layer. */
static int expand(const char *name, struct err *err)
{
	int filter = find_filter(name);
	if (filter == ARCHIVE_FILTER_GZIP)
		return archive_gunzip(STDIN_FILENO, STDOUT_FILENO, err);
	struct archive *a = filter >= 0 ? archive_read_new() : NULL;
	if (a == NULL)
		return err_set(err, -EIO, "the archive helper was started wrongly");
	int rc;
	if (archive_read_support_format_raw(a) != ARCHIVE_OK ||
	    archive_read_support_format_empty(a) != ARCHIVE_OK ||
	    archive_read_append_filter(a, filter) != ARCHIVE_OK ||
	    archive_read_open_fd(a, STDIN_FILENO, READ_PIECE) != ARCHIVE_OK ||
	    archive_error_string(a) != NULL)
		/* An error at the very start would else be taken for the end of nothing. */
		rc = failed(a, err);
	else
		rc = copy_out(a, err);
	archive_read_free(a);
	return rc;
}

/* The file is a blob of the cache: nobody makes it shorter. */
static int index_tar(struct err *err)
{
	struct stat st;
	char *text = NULL;
	size_t len = 0;
	if (fstat(STDIN_FILENO, &st) < 0)
		return err_errno(err, -EIO, "cannot look at the tar");
	size_t size = (size_t)st.st_size;
	void *tar = NULL;
	if (size > 0)
		tar = mmap(NULL, size, PROT_READ, MAP_PRIVATE, STDIN_FILENO, 0);
	if (tar == MAP_FAILED)
		return err_errno(err, -EIO, "cannot map the tar");
	int rc = tar_scan(tar, size, &text, &len, err);
	if (rc == 0 && file_write_all(STDOUT_FILENO, text, len) < 0)
		rc = err_errno(err, -EIO, "cannot hand on the index");
	free(text);
	return rc;
}

bool archive_helper_called(int argc, char **argv)
{
	return argc >= 2 && strcmp(argv[1], ARCHIVE_HELPER_WORD) == 0;
}

static int run(int argc, char **argv, struct err *err)
{
	/* No setlocale(3): of pax names libarchive would make another Unicode form, and two
	 * names one. Where it cannot convert, as here, it leaves the bytes as they are, with
	 * a warning (fs/tar_scan.c). */
	int rc = archive_confine(err);
	if (rc < 0)
		return rc;
	if (argc == 4 && strcmp(argv[2], "expand") == 0)
		return expand(argv[3], err);
	if (argc == 3 && strcmp(argv[2], "index") == 0)
		return index_tar(err);
	return err_set(err, -EIO, "the archive helper was started wrongly");
}

_Noreturn void archive_helper_main(int argc, char **argv)
{
	struct err err = {{0}};
	int rc = run(argc, argv, &err);
	/* Its status says enough where its words cannot be had. */
	if (rc < 0 && write(STDERR_FILENO, err.text, strlen(err.text)) < 0)
		_exit(ARCHIVE_EXIT_LOCAL);
	/* Nothing was buffered, and nothing is worth to be taken down. */
	_exit(rc == 0         ? 0
	      : rc == -EPROTO ? ARCHIVE_EXIT_MALFORMED
	      : rc == -EFBIG  ? ARCHIVE_EXIT_TOO_LARGE
			      : ARCHIVE_EXIT_LOCAL);
}
