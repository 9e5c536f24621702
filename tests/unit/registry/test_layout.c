/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "registry/layout_index.h"
#include "registry/referrers.h"
#include "registry/source_impl.h"

#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define BIG           (600u << 10) /* several pieces */

struct fixture {
	char dir[64];  /* the test's own */
	char path[80]; /* the layout in it */
	struct source *source;
	struct call call;
	char *big;
	struct digest big_digest, manifest_digest, child_digest;
	char manifest[1024];
	struct err err;
};

static void write_file(const struct fixture *f, const char *name, const void *data, size_t len)
{
	char path[512];
	(void)snprintf(path, sizeof(path), "%s/%s", f->path, name);
	(void)unlink(path);
	AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, data, len), 0);
}

static void write_text(const struct fixture *f, const char *name, const char *text)
{
	write_file(f, name, text, strlen(text));
}

static void blob_name(const struct digest *d, char ret[200])
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(d, hex);
	(void)snprintf(ret, 200, "blobs/%s/%s", digest_alg_name(d), hex);
}

static struct digest add_blob(const struct fixture *f, const void *data, size_t len)
{
	struct digest d;
	char name[200];
	assert_int_equal(digest_of(DIGEST_SHA256, data, len, &d), 0);
	blob_name(&d, name);
	write_file(f, name, data, len);
	return d;
}

/* One entry of index.json. */
static const char *entry(const struct digest *d, size_t size, const char *ref)
{
	static char text[4][1024];
	static unsigned next;
	char digest[DIGEST_STRING_MAX];
	char *s = text[next++ % ARRAY_LEN(text)];
	digest_string(d, digest);
	(void)snprintf(s, sizeof(text[0]),
		       "{\"mediaType\":\"" MANIFEST_TYPE "\",\"digest\":\"%s\",\"size\":%zu,"
		       "\"annotations\":{\"org.opencontainers.image.ref.name\":\"%s\"}}",
		       digest, size, ref);
	return s;
}

static void write_index(const struct fixture *f, const char *entries)
{
	char text[8192];
	(void)snprintf(text, sizeof(text), "{\"schemaVersion\":2,\"manifests\":[%s]}", entries);
	write_text(f, "index.json", text);
}

static int open_path(struct fixture *f, const char *path)
{
	struct source_options o = {.spec = path};
	struct source_spec spec = {.kind = SOURCE_LAYOUT};
	assert_true(strlen(path) < sizeof(spec.directory));
	memcpy(spec.directory, path, strlen(path) + 1);
	return layout_source_open(&o, &spec, &f->source, &f->err);
}

static void open_layout(struct fixture *f)
{
	if (open_path(f, f->path) != 0)
		fail_msg("%s", f->err.text);
}

static void make_content(struct fixture *f)
{
	char digest[DIGEST_STRING_MAX];
	char entries[4096];
	f->big = malloc(BIG);
	assert_non_null(f->big);
	for (size_t i = 0; i < BIG; i++)
		f->big[i] = (char)(i * 7 + i / 1000);
	f->big_digest = add_blob(f, f->big, BIG);
	digest_string(&f->big_digest, digest);
	(void)snprintf(f->manifest, sizeof(f->manifest),
		       "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/x\","
		       "\"digest\":\"%s\",\"size\":%u},\"layers\":[]}",
		       digest, BIG);
	f->manifest_digest = add_blob(f, f->manifest, strlen(f->manifest));
	static const char child[] = "{\"schemaVersion\":2,\"mediaType\":"
				    "\"application/vnd.oci.image.index.v1+json\",\"manifests\":[]}";
	f->child_digest = add_blob(f, child, strlen(child));
	(void)snprintf(entries, sizeof(entries), "%s,%s,%s",
		       entry(&f->manifest_digest, strlen(f->manifest), "v1"),
		       entry(&f->manifest_digest, strlen(f->manifest), "docker.io/a/b:v2"),
		       entry(&f->manifest_digest, strlen(f->manifest), "not a tag"));
	write_index(f, entries);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[512];
	assert_non_null(f);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/test_layout.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/My Layout", f->dir);
	assert_int_equal(mkdir(f->path, 0755), 0);
	(void)snprintf(path, sizeof(path), "%s/blobs", f->path);
	assert_int_equal(mkdir(path, 0755), 0);
	(void)snprintf(path, sizeof(path), "%s/blobs/sha256", f->path);
	assert_int_equal(mkdir(path, 0755), 0);
	write_text(f, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
	call_init(&f->call, INT64_MAX);
	make_content(f);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	source_free(f->source);
	call_release(&f->call);
	assert_int_equal(nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	free(f->big);
	free(f);
	return 0;
}

/* The words of the last error. */
static void said(const struct fixture *f, const char *words)
{
	if (strstr(f->err.text, words) == NULL)
		fail_msg("'%s' is not in '%s'", words, f->err.text);
}

static void it_says_what_it_is(void **state)
{
	struct fixture *f = *state;
	char expected[200];
	char name[REPOSITORY_MAX];
	struct names repos = {0};
	open_layout(f);
	assert_true(source_is_local(f->source));
	(void)snprintf(expected, sizeof(expected), "oci:%s", f->path);
	assert_string_equal(source_title(f->source), expected);
	(void)snprintf(expected, sizeof(expected), "layout:%s", f->path);
	assert_string_equal(source_origin(f->source), expected);
	assert_int_equal(source_catalog(f->source, &f->call, &repos, NULL, &f->err), 0);
	assert_int_equal(repos.n, 1);
	assert_string_equal(repos.v[0], "my-layout");
	names_release(&repos);
	assert_int_equal(source_repository(f->source, "my-layout", name), 0);
	assert_string_equal(name, "my-layout");
	assert_int_equal(source_down(f->source, &f->err), 0);
}

static void directories_become_names(void **state)
{
	(void)state;
	static const char *const v[][2] = {
	    {"app", "app"},
	    {"My Layout (v1.0)", "my-layout--v1.0"},
	    {"a:b", "a-b"},
	    {"", "layout"},
	    {"...", "layout"},
	    {"_x_", "x"},
	    {"a._b", "a-b"},
	    {"a___b", "a-b"},
	    {"a__b..c--d", "a__b-c--d"},
	    {"\xc3\xa4\xff"
	     "z",
	     "z"},
	    {".hidden", "hidden"},
	    {"x.", "x"},
	};
	char name[REPOSITORY_MAX];
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		layout_repository_name(v[i][0], strlen(v[i][0]), name);
		assert_string_equal(name, v[i][1]);
		assert_true(reference_is_component(name, strlen(name)));
	}
	char longest[300];
	memset(longest, 'a', sizeof(longest));
	layout_repository_name(longest, sizeof(longest), name);
	assert_int_equal(strlen(name), NAME_COMPONENT_MAX);
	memset(longest, '.', sizeof(longest));
	longest[0] = 'a';
	layout_repository_name(longest, sizeof(longest), name);
	assert_string_equal(name, "a");
}

static void tags_resolve(void **state)
{
	struct fixture *f = *state;
	struct names tags = {0};
	struct descriptor d;
	open_layout(f);
	assert_int_equal(source_tags(f->source, "my-layout", false, &f->call, &tags, NULL, &f->err),
			 0);
	assert_int_equal(tags.n, 2);
	assert_string_equal(tags.v[0], "v1");
	assert_string_equal(tags.v[1], "v2");
	for (size_t i = 0; i < tags.n; i++) {
		assert_int_equal(
		    source_resolve(f->source, "my-layout", tags.v[i], NULL, &f->call, &d, &f->err),
		    0);
		assert_true(digest_equal(&d.digest, &f->manifest_digest));
		assert_int_equal(d.size, strlen(f->manifest));
		assert_string_equal(d.media_type, MANIFEST_TYPE);
	}
	names_release(&tags);
	assert_int_equal(source_resolve(f->source, "my-layout", "v3", NULL, &f->call, &d, &f->err),
			 -ENOENT);
	said(f, "index.json has no tag v3");
	assert_int_equal(source_resolve(f->source, "other", "v1", NULL, &f->call, &d, &f->err),
			 -ENOENT);
	said(f, "there is one repository, my-layout, and no other");
	assert_int_equal(source_tags(f->source, "other", false, &f->call, &tags, NULL, &f->err),
			 -ENOENT);
}

static void documents_are_served_and_typed(void **state)
{
	struct fixture *f = *state;
	struct document doc;
	char digest[DIGEST_STRING_MAX];
	open_layout(f);
	assert_int_equal(source_document(f->source, "my-layout", "v1", &f->call, &doc, &f->err), 0);
	assert_int_equal(doc.desc.size, strlen(f->manifest));
	assert_memory_equal(doc.bytes, f->manifest, doc.desc.size);
	assert_string_equal(doc.desc.media_type, MANIFEST_TYPE);
	document_release(&doc);

	digest_string(&f->child_digest, digest);
	assert_int_equal(source_document(f->source, "my-layout", digest, &f->call, &doc, &f->err),
			 0);
	assert_string_equal(doc.desc.media_type, "application/vnd.oci.image.index.v1+json");
	assert_true(digest_equal(&doc.desc.digest, &f->child_digest));
	document_release(&doc);

	digest_string(&f->big_digest, digest);
	assert_int_equal(source_document(f->source, "my-layout", digest, &f->call, &doc, &f->err),
			 -ENOENT);
	said(f, "but no manifest");
	assert_int_equal(
	    source_document(f->source, "my-layout", "blake3:00", &f->call, &doc, &f->err),
	    -EOPNOTSUPP);
	assert_int_equal(source_document(f->source, "my-layout", "sha256:../../../etc/passwd",
					 &f->call, &doc, &f->err),
			 -ENOENT);
}

static void unlisted_manifests_keep_their_faults(void **state)
{
	struct fixture *f = *state;
	struct document doc;
	char digest[DIGEST_STRING_MAX];
	static const char broken[] = "{\"schemaVersion\":2,\"layers\":7}";
	static const char old[] = "{\"schemaVersion\":1,\"fsLayers\":[]}";
	struct digest d = add_blob(f, broken, strlen(broken));
	open_layout(f);
	digest_string(&d, digest);
	assert_int_equal(source_document(f->source, "my-layout", digest, &f->call, &doc, &f->err),
			 -EPROTO);
	d = add_blob(f, old, strlen(old));
	digest_string(&d, digest);
	assert_int_equal(source_document(f->source, "my-layout", digest, &f->call, &doc, &f->err),
			 -EOPNOTSUPP);
}

static void sizes_are_told(void **state)
{
	struct fixture *f = *state;
	struct descriptor d;
	struct digest none = f->big_digest;
	bool is_manifest = true;
	open_layout(f);
	assert_int_equal(source_stat(f->source, "my-layout", &f->big_digest, false, &f->call, &d,
				     &is_manifest, &f->err),
			 0);
	assert_int_equal(d.size, BIG);
	assert_string_equal(d.media_type, "");
	assert_false(is_manifest);
	assert_int_equal(source_stat(f->source, "my-layout", &f->manifest_digest, false, &f->call,
				     &d, &is_manifest, &f->err),
			 0);
	assert_true(is_manifest);
	assert_string_equal(d.media_type, MANIFEST_TYPE);
	none.bytes[0] ^= 1;
	assert_int_equal(
	    source_stat(f->source, "my-layout", &none, false, &f->call, &d, NULL, &f->err),
	    -ENOENT);
	said(f, "is not there");
}

/* A sink that keeps what it gets. */
struct bowl {
	char *bytes;
	uint64_t start, at;
	struct call *cancel; /* after the first piece */
	int refuse;          /* what write returns */
};

static int bowl_begin(void *ctx, uint64_t offset, struct err *err)
{
	struct bowl *b = ctx;
	(void)err;
	b->start = b->at = offset;
	return 0;
}

static int bowl_write(void *ctx, const void *data, size_t len, struct err *err)
{
	struct bowl *b = ctx;
	if (b->refuse < 0)
		return err_set(err, b->refuse, "the bowl is full");
	assert_true(b->at + len <= BIG);
	memcpy(b->bytes + b->at, data, len);
	b->at += len;
	if (b->cancel != NULL)
		call_cancel(b->cancel);
	return 0;
}

static int pour(struct fixture *f, struct bowl *b, const struct digest *d, uint64_t size,
		uint64_t offset, _Atomic uint64_t *progress)
{
	struct sink sink = {bowl_begin, bowl_write, b};
	return source_blob(f->source, "my-layout", d, size, offset, &sink, &f->call, progress,
			   &f->err);
}

static void blobs_are_streamed(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE char *bytes = calloc(1, BIG);
	struct bowl b = {.bytes = bytes};
	_Atomic uint64_t progress = 5;
	open_layout(f);
	assert_int_equal(pour(f, &b, &f->big_digest, BIG, 0, &progress), 0);
	assert_int_equal(b.at, BIG);
	assert_true(progress == BIG + 5);
	assert_memory_equal(bytes, f->big, BIG);

	memset(bytes, 0, BIG);
	assert_int_equal(pour(f, &b, &f->big_digest, BIG, BIG - 10, NULL), 0);
	assert_int_equal(b.start, BIG - 10);
	assert_int_equal(b.at, BIG);
	assert_memory_equal(bytes + BIG - 10, f->big + BIG - 10, 10);

	assert_int_equal(pour(f, &b, &f->big_digest, BIG + 1, 0, NULL), -EBADMSG);
	said(f, "a blob of 614400 bytes, declared with 614401");
	assert_int_equal(pour(f, &b, &f->big_digest, BIG - 1, 0, NULL), -EBADMSG);
}

static void transfers_can_be_given_up(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE char *bytes = calloc(1, BIG);
	struct bowl b = {.bytes = bytes, .refuse = -ENOSPC};
	struct source_health health;
	open_layout(f);
	assert_int_equal(pour(f, &b, &f->big_digest, BIG, 0, NULL), -ENOSPC);
	assert_string_equal(f->err.text, "the bowl is full");
	source_health(f->source, &health);
	assert_int_equal(health.last_errno, 0);
	b = (struct bowl){.bytes = bytes, .cancel = &f->call};
	assert_int_equal(pour(f, &b, &f->big_digest, BIG, 0, NULL), -ECANCELED);
	assert_true(b.at > 0 && b.at < BIG);
	struct descriptor d;
	assert_int_equal(source_resolve(f->source, "my-layout", "v1", NULL, &f->call, &d, &f->err),
			 -ECANCELED);
}

static void replace_blob(const struct fixture *f, const struct digest *d, char path[512])
{
	char name[200];
	blob_name(d, name);
	(void)snprintf(path, 512, "%s/%s", f->path, name);
	assert_int_equal(unlink(path), 0);
}

static void only_regular_files_are_blobs(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE char *bytes = calloc(1, BIG);
	struct bowl b = {.bytes = bytes};
	struct document doc;
	struct descriptor d;
	char path[512];
	open_layout(f);

	replace_blob(f, &f->big_digest, path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(pour(f, &b, &f->big_digest, BIG, 0, NULL), -EPROTO);
	said(f, "is not a regular file of the layout");
	assert_int_equal(
	    source_stat(f->source, "my-layout", &f->big_digest, false, &f->call, &d, NULL, &f->err),
	    -EPROTO);

	replace_blob(f, &f->big_digest, path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(pour(f, &b, &f->big_digest, BIG, 0, NULL), -EPROTO);

	replace_blob(f, &f->manifest_digest, path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(source_document(f->source, "my-layout", "v1", &f->call, &doc, &f->err),
			 -EPROTO);
	assert_int_equal(source_resolve(f->source, "my-layout", "v1", NULL, &f->call, &d, &f->err),
			 -EPROTO);

	replace_blob(f, &f->big_digest, path);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(pour(f, &b, &f->big_digest, BIG, 0, NULL), -EPROTO);
}

static void a_directory_that_is_a_symlink_is_not_followed(void **state)
{
	struct fixture *f = *state;
	struct document doc;
	char from[512], to[512];
	open_layout(f);
	(void)snprintf(from, sizeof(from), "%s/blobs/sha256", f->path);
	(void)snprintf(to, sizeof(to), "%s/elsewhere", f->dir);
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(symlink(to, from), 0);
	assert_int_equal(source_document(f->source, "my-layout", "v1", &f->call, &doc, &f->err),
			 -EPROTO);
}

static void wrong_bytes_are_refused(void **state)
{
	struct fixture *f = *state;
	struct document doc;
	struct descriptor d;
	char name[200];
	open_layout(f);
	blob_name(&f->manifest_digest, name);
	f->manifest[3] ^= 1;
	write_text(f, name, f->manifest);
	assert_int_equal(source_document(f->source, "my-layout", "v1", &f->call, &doc, &f->err),
			 -EBADMSG);
	said(f, "does not match its name");
	f->manifest[3] ^= 1;
	write_text(f, name, f->manifest);
	write_index(f, entry(&f->manifest_digest, strlen(f->manifest) + 1, "v1"));
	assert_int_equal(source_document(f->source, "my-layout", "v1", &f->call, &doc, &f->err),
			 -EBADMSG);
	said(f, "listed with");
	assert_int_equal(source_resolve(f->source, "my-layout", "v1", NULL, &f->call, &d, &f->err),
			 -EBADMSG);
	said(f, "listed with the size");
}

static void documents_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct document doc;
	char name[200], path[512];
	open_layout(f);
	blob_name(&f->manifest_digest, name);
	(void)snprintf(path, sizeof(path), "%s/%s", f->path, name);
	assert_int_equal(truncate(path, SOURCE_DOCUMENT_MAX + 1), 0);
	assert_int_equal(source_document(f->source, "my-layout", "v1", &f->call, &doc, &f->err),
			 -EFBIG);
}

static void a_new_index_is_seen(void **state)
{
	struct fixture *f = *state;
	struct descriptor d;
	struct source_health health;
	open_layout(f);
	write_index(f, entry(&f->child_digest, 91, "next"));
	assert_int_equal(source_resolve(f->source, "my-layout", "v1", NULL, &f->call, &d, &f->err),
			 -ENOENT);
	write_text(f, "index.json", "{\"manifests\":[");
	assert_int_equal(source_resolve(f->source, "my-layout", "v1", NULL, &f->call, &d, &f->err),
			 -EPROTO);
	said(f, "index.json: the manifest is not JSON");
	source_health(f->source, &health);
	assert_int_equal(health.last_errno, EPROTO);
	assert_string_equal(health.text, f->err.text);
	write_index(f, entry(&f->manifest_digest, strlen(f->manifest), "v9"));
	assert_int_equal(source_resolve(f->source, "my-layout", "v9", NULL, &f->call, &d, &f->err),
			 0);
	source_health(f->source, &health);
	assert_int_equal(health.last_errno, 0);
	assert_string_equal(health.text, "");
}

static void a_layout_that_goes_away_is_no_absence(void **state)
{
	struct fixture *f = *state;
	struct descriptor d;
	open_layout(f);
	assert_int_equal(nftw(f->path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	assert_int_equal(
	    source_stat(f->source, "my-layout", &f->big_digest, false, &f->call, &d, NULL, &f->err),
	    -EIO);
	said(f, "the layout is gone");
	assert_int_equal(source_resolve(f->source, "my-layout", "v1", NULL, &f->call, &d, &f->err),
			 -EPROTO);
	said(f, "there is no index.json");
}

static void what_is_no_layout_is_not_opened(void **state)
{
	struct fixture *f = *state;
	char path[512];
	assert_int_equal(open_path(f, "/tmp/there is no such directory"), -ENOENT);
	assert_int_equal(open_path(f, "/etc/passwd"), -ENOTDIR);
	assert_int_equal(open_path(f, f->dir), -EPROTO);
	said(f, "it has no file oci-layout");
	write_text(f, "oci-layout", "{\"imageLayoutVersion\":\"2.0.0\"}");
	assert_int_equal(open_path(f, f->path), -EPROTO);
	said(f, "version 2.0.0, not 1.0.0");
	write_text(f, "oci-layout", "{\"imageLayoutVersion\":1}");
	assert_int_equal(open_path(f, f->path), -EPROTO);
	write_text(f, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
	write_text(f, "index.json", f->manifest);
	assert_int_equal(open_path(f, f->path), -EPROTO);
	said(f, "index.json");
	(void)snprintf(path, sizeof(path), "%s/index.json", f->path);
	assert_int_equal(truncate(path, SOURCE_DOCUMENT_MAX + 1), 0);
	assert_int_equal(open_path(f, f->path), -EFBIG);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(open_path(f, f->path), -EPROTO);
	said(f, "there is no index.json");
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(open_path(f, f->path), -EPROTO);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(open_path(f, f->path), -EPROTO);
	assert_null(f->source);
}

static void hostile_entries_are_harmless(void **state)
{
	struct fixture *f = *state;
	struct names tags = {0};
	struct descriptor d;
	static const char unknown[] =
	    "{\"digest\":\"blake3:00\",\"size\":1,\"annotations\":"
	    "{\"org.opencontainers.image.ref.name\":\"odd\"}},"
	    "{\"digest\":\"blake3:00\",\"size\":1,\"annotations\":"
	    "{\"org.opencontainers.image.ref.name\":\"../../x\"}},"
	    "{\"digest\":\"blake3:00\",\"size\":1,\"annotations\":"
	    "{\"org.opencontainers.image.ref.name\":\"localhost:5000/x\"}},"
	    "{\"digest\":\"blake3:00\",\"size\":1,\"annotations\":"
	    "{\"org.opencontainers.image.ref.name\":\"@\"}}";
	open_layout(f);
	write_index(f, unknown);
	assert_int_equal(source_tags(f->source, "my-layout", false, &f->call, &tags, NULL, &f->err),
			 0);
	assert_int_equal(tags.n, 1);
	names_release(&tags);
	assert_int_equal(source_resolve(f->source, "my-layout", "odd", NULL, &f->call, &d, &f->err),
			 -EOPNOTSUPP);
	write_index(f, "{\"digest\":\"sha256:../../../../etc/passwd\",\"size\":1,\"annotations\":"
		       "{\"org.opencontainers.image.ref.name\":\"out\"}}");
	assert_int_equal(source_tags(f->source, "my-layout", false, &f->call, &tags, NULL, &f->err),
			 0);
	assert_int_equal(tags.n, 1);
	names_release(&tags);
	assert_int_equal(source_resolve(f->source, "my-layout", "out", NULL, &f->call, &d, &f->err),
			 -EPROTO);
	said(f, "is not a digest");
}

/* A manifest with a subject, listed by nothing but its digest; an index under the tag of the
 * schema; what cosign tags; and a listed one that is not there. */
static void referrers_are_found_by_subject_and_by_tag(void **state)
{
	struct fixture *f = *state;
	struct referrers found = {0};
	char subject[DIGEST_STRING_MAX], own[1024], index[1024], entries[4096], tag[160];
	const struct digest gone = {.alg = DIGEST_SHA256, .len = 32};
	digest_string(&f->manifest_digest, subject);
	(void)snprintf(own, sizeof(own),
		       "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/sig\","
		       "\"digest\":\"%s\",\"size\":2},\"layers\":[],\"subject\":{\"digest\":\"%s\","
		       "\"size\":%zu},\"annotations\":{\"k\":\"v\"}}",
		       subject, subject, strlen(f->manifest));
	struct digest own_digest = add_blob(f, own, strlen(own));
	(void)snprintf(index, sizeof(index), "{\"schemaVersion\":2,\"manifests\":[%s,%s]}",
		       entry(&own_digest, 1, "x"), entry(&f->child_digest, 2, "y"));
	struct digest index_digest = add_blob(f, index, strlen(index));
	(void)snprintf(tag, sizeof(tag), "sha256-%s", subject + 7);
	size_t n = (size_t)snprintf(entries, sizeof(entries), "%s,%s,%s,", entry(&gone, 9, "gone"),
				    entry(&own_digest, strlen(own), "-"),
				    entry(&index_digest, strlen(index), tag));
	strcat(tag, ".att");
	(void)snprintf(entries + n, sizeof(entries) - n, "%s", entry(&f->big_digest, BIG, tag));
	write_index(f, entries);
	open_layout(f);
	assert_int_equal(source_referrers(f->source, "my-layout", &f->manifest_digest, &f->call,
					  &found, &f->err),
			 0);
	assert_int_equal(found.n, 3);
	for (size_t i = 0; i < found.n; i++) {
		const struct referrer *r = &found.v[i];
		bool is_own = digest_equal(&r->desc.digest, &own_digest);
		bool is_att = digest_equal(&r->desc.digest, &f->big_digest);
		assert_true(is_own || is_att || digest_equal(&r->desc.digest, &f->child_digest));
		assert_int_equal(r->type_is_own, is_own);
		assert_int_equal(r->annotation_count, is_att ? 0 : 1);
		if (is_own)
			assert_string_equal(r->artifact_type, "application/sig");
		if (is_att)
			assert_string_equal(r->cosign, "att");
	}
	referrers_release(&found);
	assert_int_equal(
	    source_referrers(f->source, "my-layout", &f->big_digest, &f->call, &found, &f->err), 0);
	assert_int_equal(found.n, 0);
	assert_int_equal(
	    source_referrers(f->source, "other", &f->big_digest, &f->call, &found, &f->err),
	    -ENOENT);
}

#define WITH_LAYOUT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_LAYOUT(it_says_what_it_is),
	    cmocka_unit_test(directories_become_names),
	    WITH_LAYOUT(tags_resolve),
	    WITH_LAYOUT(documents_are_served_and_typed),
	    WITH_LAYOUT(unlisted_manifests_keep_their_faults),
	    WITH_LAYOUT(sizes_are_told),
	    WITH_LAYOUT(blobs_are_streamed),
	    WITH_LAYOUT(transfers_can_be_given_up),
	    WITH_LAYOUT(only_regular_files_are_blobs),
	    WITH_LAYOUT(a_directory_that_is_a_symlink_is_not_followed),
	    WITH_LAYOUT(wrong_bytes_are_refused),
	    WITH_LAYOUT(documents_are_bounded),
	    WITH_LAYOUT(a_new_index_is_seen),
	    WITH_LAYOUT(a_layout_that_goes_away_is_no_absence),
	    WITH_LAYOUT(what_is_no_layout_is_not_opened),
	    WITH_LAYOUT(hostile_entries_are_harmless),
	    WITH_LAYOUT(referrers_are_found_by_subject_and_by_tag),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
