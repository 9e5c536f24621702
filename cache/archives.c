/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/archives.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cache/ref_record.h"
#include "cache/refs_impl.h"

#define ARCHIVES_DIR_MAX  32
#define ARCHIVES_PATH_MAX (ARCHIVES_DIR_MAX + DIGEST_HEX_MAX)

static void path_dir(const struct digest *layer, char out[ARCHIVES_DIR_MAX])
{
	snprintf(out, ARCHIVES_DIR_MAX, "archives/%s", digest_alg_name(layer));
}

int archives_load(struct store *s, const struct digest *layer, struct archive_record *ret,
		  struct err *err)
{
	char dir[ARCHIVES_DIR_MAX], hex[DIGEST_HEX_MAX], path[ARCHIVES_PATH_MAX];
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	path_dir(layer, dir);
	digest_hex(layer, hex);
	snprintf(path, sizeof(path), "%s/%s", dir, hex);
	int rc = file_read_small(s->dirs.fd, path, REF_LINE_MAX, &text, &len);
	if (rc < 0 && !says_no_file(rc))
		return err_errno(err, -EIO, "cannot read from the cache %s (%s)", s->dirs.path,
				 strerrorname_np(-rc));
	if (rc < 0 || ref_record_parse_archive(text, len, layer, ret) < 0)
		return err_set(err, -ENOENT, "nothing recorded");
	return 0;
}

int archives_save(struct store *s, const struct digest *layer, const struct archive_record *rec,
		  struct err *err)
{
	char dir[ARCHIVES_DIR_MAX], hex[DIGEST_HEX_MAX], line[REF_LINE_MAX];
	int len = ref_record_format_archive(layer, rec, line);
	if (len < 0)
		return err_errno(err, len, "cannot record an unpacked layer");
	int rc = space_spare(s, (uint64_t)len, err);
	if (rc < 0)
		return rc;
	path_dir(layer, dir);
	digest_hex(layer, hex);
	AUTO_FD int dirfd = dirs_make(&s->dirs, dir, err);
	if (dirfd < 0)
		return store_errno(dirfd);
	return refs_replace(s, dirfd, hex, line, (size_t)len, err);
}

void archives_forget(struct store *s, const struct digest *layer)
{
	char dir[ARCHIVES_DIR_MAX], hex[DIGEST_HEX_MAX];
	path_dir(layer, dir);
	digest_hex(layer, hex);
	AUTO_FD int dirfd = dirs_open(&s->dirs, dir);
	if (dirfd >= 0)
		(void)unlinkat(dirfd, hex, 0);
}

/* ---- what is worth nothing any more ---- */

static bool is_worthless(struct store *s, const char *alg, const char *hex)
{
	struct digest layer;
	struct archive_record rec;
	uint64_t size;
	if (digest_parse_parts(alg, strlen(alg), hex, strlen(hex), &layer) < 0)
		return true;
	int rc = archives_load(s, &layer, &rec, NULL);
	if (rc < 0)
		return rc == -ENOENT;
	return open_blob_exists(s, &rec.index, &size) == -ENOENT &&
	       open_blob_exists(s, &rec.tar, &size) == -ENOENT;
}

struct records {
	struct store *store;
	const char *alg;
};

/* A young one may be of what is on its way into blobs/. */
static int sweep_record(void *ctx, int dirfd, const char *name)
{
	const struct records *r = ctx;
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode) &&
	    sweep_is_old(&st) && is_worthless(r->store, r->alg, name))
		(void)unlinkat(dirfd, name, 0);
	return 0;
}

static void sweep_records(struct store *s, const char *alg)
{
	char path[ARCHIVES_DIR_MAX];
	struct records records = {s, alg};
	snprintf(path, sizeof(path), "archives/%s", alg);
	(void)dirs_each(dirs_open(&s->dirs, path), sweep_record, &records);
}

void archives_sweep(struct store *s)
{
	sweep_records(s, "sha256");
	sweep_records(s, "sha512");
}
