/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cache/support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "cache/refs_impl.h"

#define ORIGIN "https://example.org:5000"
#define NAMED  "refs/https%3A%2F%2Fexample.org%3A5000/r/a%2Fb/named"
#define TAG    "refs/https%3A%2F%2Fexample.org%3A5000/r/a%2Fb/tags/v1"

static struct refs *refs;

static int make_refs(void **state)
{
	int rc = make_store(state);
	const struct fixture *f = *state;
	return rc < 0 ? rc : refs_open(f->store, &refs, NULL);
}

static int remove_refs(void **state)
{
	refs_close(refs);
	refs = NULL;
	return remove_root(state);
}

static void reopen_refs(struct fixture *f)
{
	refs_close(refs);
	assert_int_equal(refs_open(f->store, &refs, NULL), 0);
}

static struct descriptor describe(unsigned seed)
{
	struct descriptor d = {.size = seed};
	assert_int_equal(digest_of(DIGEST_SHA256, &seed, sizeof(seed), &d.digest), 0);
	snprintf(d.media_type, sizeof(d.media_type), "application/x.test+%u", seed % 3);
	return d;
}

static void assert_described(const struct descriptor *d, unsigned seed)
{
	struct descriptor want = describe(seed);
	assert_true(digest_equal(&d->digest, &want.digest));
	assert_int_equal(d->size, want.size);
	assert_string_equal(d->media_type, want.media_type);
}

static bool is_named(const char *origin, const char *repo, unsigned seed)
{
	struct descriptor d = describe(seed), got;
	int rc = refs_named(refs, origin, repo, &d.digest, &got, NULL);
	if (rc == 0)
		assert_described(&got, seed);
	else
		assert_int_equal(rc, -ENOENT);
	return rc == 0;
}

static void name(const char *repo, unsigned seed)
{
	struct descriptor d = describe(seed);
	assert_int_equal(refs_name(refs, ORIGIN, repo, &d, 1, NULL), 0);
}

static void tags_come_back_as_they_were(void **state)
{
	struct fixture *f = *state;
	struct tag_record rec = {.desc = describe(1), .seen_ms = 123456789}, got;
	assert_int_equal(refs_tag_load(refs, ORIGIN, "a/b", "v1", &got, &f->err), -ENOENT);
	assert_int_equal(refs_tag_save(refs, ORIGIN, "a/b", "v1", &rec, &f->err), 0);
	reopen_refs(f);
	assert_int_equal(refs_tag_load(refs, ORIGIN, "a/b", "v1", &got, &f->err), 0);
	assert_described(&got.desc, 1);
	assert_int_equal(got.seen_ms, 123456789);
	rec.desc = describe(2);
	assert_int_equal(refs_tag_save(refs, ORIGIN, "a/b", "v1", &rec, &f->err), 0);
	assert_int_equal(refs_tag_load(refs, ORIGIN, "a/b", "v1", &got, &f->err), 0);
	assert_described(&got.desc, 2);
	refs_tag_forget(refs, ORIGIN, "a/b", "v1");
	refs_tag_forget(refs, ORIGIN, "none", "v1");
	assert_int_equal(refs_tag_load(refs, ORIGIN, "a/b", "v1", &got, &f->err), -ENOENT);
	/* No temporary file stays. */
	assert_int_equal(disk_use(f), 0);
}

static void origins_repositories_and_tags_do_not_mix(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *origin, *repo, *tag;
	} places[] = {
	    {ORIGIN, "a/b", "v1"},     {ORIGIN, "a/b", "V1"},   {ORIGIN, "a", "v1"},
	    {"http://h", "a/b", "v1"}, {ORIGIN, "a%2Fb", "v1"}, {ORIGIN, "..", ".."},
	    {"..", "..", ".."},        {ORIGIN, "", "x"},
	};
	struct tag_record got;
	for (unsigned i = 0; i < ARRAY_LEN(places); i++) {
		struct tag_record rec = {.desc = describe(i)};
		assert_int_equal(refs_tag_save(refs, places[i].origin, places[i].repo,
					       places[i].tag, &rec, &f->err),
				 0);
	}
	for (unsigned i = 0; i < ARRAY_LEN(places); i++) {
		assert_int_equal(refs_tag_load(refs, places[i].origin, places[i].repo,
					       places[i].tag, &got, &f->err),
				 0);
		assert_described(&got.desc, i);
	}
}

static void long_names_have_a_place_too(void **state)
{
	struct fixture *f = *state;
	char repo[256] = "", other[256];
	for (int i = 0; i < 127; i++)
		strcat(repo, "a/");
	strcat(repo, "b");
	strcpy(other, repo);
	other[254] = 'c';
	struct tag_record rec = {.desc = describe(1)}, got;
	assert_int_equal(refs_tag_save(refs, ORIGIN, repo, "v1", &rec, &f->err), 0);
	assert_int_equal(refs_tag_load(refs, ORIGIN, repo, "v1", &got, &f->err), 0);
	assert_int_equal(refs_tag_load(refs, ORIGIN, other, "v1", &got, &f->err), -ENOENT);
	name(other, 7);
	name("a/b", 7);
	struct names repos;
	assert_int_equal(refs_repos(refs, ORIGIN, &repos, &f->err), 0);
	assert_int_equal(repos.n, 3);
	assert_true(names_has(&repos, repo));
	assert_true(names_has(&repos, other));
	assert_true(names_has(&repos, "a/b"));
	names_release(&repos);
	assert_int_equal(refs_repos(refs, "https://none", &repos, &f->err), 0);
	assert_int_equal(repos.n, 0);
}

/* One of which only a tag was forgotten, or a catalog is kept, has none. */
static void origins_that_have_repositories(void **state)
{
	struct fixture *f = *state;
	struct names all, in = {0};
	assert_int_equal(refs_origins(refs, &all, &f->err), 0);
	assert_int_equal(all.n, 0);
	name("a/b", 7);
	assert_int_equal(names_add(&in, "a", 1), 0);
	assert_int_equal(refs_listing_save(refs, "https:other:443", "", &in, 1, &f->err), 0);
	refs_tag_forget(refs, "https:third:443", "a", "v1");
	names_release(&in);
	assert_int_equal(refs_origins(refs, &all, &f->err), 0);
	assert_int_equal(all.n, 1);
	assert_string_equal(all.v[0], ORIGIN);
	names_release(&all);
}

static void listings_come_back_sorted(void **state)
{
	struct fixture *f = *state;
	struct names in = {0}, out;
	int64_t seen = 0;
	assert_int_equal(refs_listing_load(refs, ORIGIN, "a/b", &out, &seen, &f->err), -ENOENT);
	static const char *const tags[] = {"v2", "latest", "v1"};
	for (size_t i = 0; i < ARRAY_LEN(tags); i++)
		assert_int_equal(names_add(&in, tags[i], strlen(tags[i])), 0);
	assert_int_equal(refs_listing_save(refs, ORIGIN, "a/b", &in, 42, &f->err), 0);
	assert_int_equal(refs_listing_load(refs, ORIGIN, "a/b", &out, &seen, &f->err), 0);
	assert_int_equal(seen, 42);
	assert_int_equal(out.n, 3);
	assert_string_equal(out.v[0], "latest");
	names_release(&out);
	/* The catalog is no repository. */
	assert_int_equal(refs_listing_load(refs, ORIGIN, "", &out, &seen, &f->err), -ENOENT);
	assert_int_equal(refs_listing_save(refs, ORIGIN, "", &in, 43, &f->err), 0);
	assert_int_equal(refs_listing_load(refs, ORIGIN, "", &out, &seen, &f->err), 0);
	assert_int_equal(seen, 43);
	names_release(&out);
	assert_int_equal(refs_listing_load(refs, ORIGIN, "catalog", &out, &seen, &f->err), -ENOENT);
	assert_int_equal(names_add(&in, "two\nlines", 9), 0);
	assert_int_equal(refs_listing_save(refs, ORIGIN, "a/b", &in, 44, &f->err), -EINVAL);
	names_release(&in);
}

static void named_digests_stay_named(void **state)
{
	struct fixture *f = *state;
	assert_false(is_named(ORIGIN, "a/b", 1));
	name("a/b", 1);
	assert_true(is_named(ORIGIN, "a/b", 1));
	assert_false(is_named(ORIGIN, "a/b", 2));
	assert_false(is_named(ORIGIN, "a", 1));
	assert_false(is_named("https://other", "a/b", 1));
	reopen_refs(f);
	assert_true(is_named(ORIGIN, "a/b", 1));
	/* As first declared. */
	struct descriptor d = describe(1), got;
	strcpy(d.media_type, "text/plain");
	d.size = 99;
	assert_int_equal(refs_name(refs, ORIGIN, "a/b", &d, 1, NULL), 0);
	assert_int_equal(refs_named(refs, ORIGIN, "a/b", &d.digest, &got, NULL), 0);
	assert_described(&got, 1);
}

static void whether_anything_was_named_is_known(void **state)
{
	struct fixture *f = *state;
	struct refs *mine = refs;
	struct tag_record rec = {.desc = describe(1)};
	assert_false(refs_named_any(refs, ORIGIN, "a/b"));
	assert_int_equal(refs_tag_save(refs, ORIGIN, "a/b", "v1", &rec, NULL), 0);
	assert_false(refs_named_any(refs, ORIGIN, "a/b"));
	/* By another process. */
	assert_int_equal(refs_open(f->store, &refs, NULL), 0);
	name("a/b", 1);
	refs_close(refs);
	refs = mine;
	assert_true(refs_named_any(refs, ORIGIN, "a/b"));
	assert_false(refs_named_any(refs, ORIGIN, "a"));
	/* From memory. */
	assert_int_equal(unlink(path_in(f, NAMED)), 0);
	assert_true(refs_named_any(refs, ORIGIN, "a/b"));
	reopen_refs(f);
	assert_false(refs_named_any(refs, ORIGIN, "a/b"));
}

static void all_named_digests_are_listed(void **state)
{
	struct fixture *f = *state;
	struct descriptor in[500], *out = NULL;
	size_t n = 0;
	for (unsigned i = 0; i < ARRAY_LEN(in); i++)
		in[i] = describe(i / 2);
	assert_int_equal(refs_named_all(refs, ORIGIN, "a/b", &out, &n, NULL), 0);
	assert_int_equal(n, 0);
	free(out);
	assert_int_equal(refs_name(refs, ORIGIN, "a/b", in, ARRAY_LEN(in), NULL), 0);
	reopen_refs(f);
	assert_int_equal(refs_named_all(refs, ORIGIN, "a/b", &out, &n, NULL), 0);
	assert_int_equal(n, ARRAY_LEN(in) / 2);
	for (unsigned i = 0; i < n; i++)
		assert_described(&out[i], i);
	free(out);
}

static void what_another_process_appended_is_seen(void **state)
{
	struct fixture *f = *state;
	struct refs *mine = refs;
	name("a/b", 1);
	assert_int_equal(refs_open(f->store, &refs, NULL), 0);
	assert_true(is_named(ORIGIN, "a/b", 1));
	name("a/b", 2);
	refs_close(refs);
	refs = mine;
	assert_true(is_named(ORIGIN, "a/b", 2));
	/* A new file with as many bytes is another file. */
	assert_int_equal(unlink(path_in(f, NAMED)), 0);
	name("a/b", 3);
	assert_true(is_named(ORIGIN, "a/b", 1));
	reopen_refs(f);
	assert_false(is_named(ORIGIN, "a/b", 1));
	assert_true(is_named(ORIGIN, "a/b", 3));
}

static void replace_file(const char *path, const char *data, size_t len)
{
	AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(file_write_all(fd, data, len), 0);
}

static void cut_lines_are_no_records_and_spoil_none(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	name("a/b", 1);
	assert_int_equal(file_read_small(AT_FDCWD, path_in(f, NAMED), 4096, &text, &len), 0);
	for (size_t cut = 0; cut < len; cut++) {
		replace_file(path_in(f, NAMED), text, cut);
		reopen_refs(f);
		assert_false(is_named(ORIGIN, "a/b", 1));
		name("a/b", 2);
		reopen_refs(f);
		assert_true(is_named(ORIGIN, "a/b", 2));
		/* Without its last byte, the line is completed by the next one's
		 * first: it was written whole. */
		assert_int_equal(is_named(ORIGIN, "a/b", 1), cut == len - 1);
	}
}

static void wrong_bytes_are_no_records(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	name("a/b", 1);
	assert_int_equal(file_read_small(AT_FDCWD, path_in(f, NAMED), 4096, &text, &len), 0);
	for (size_t i = 1; i < len; i++) {
		text[i] = (char)(text[i] ^ 1);
		replace_file(path_in(f, NAMED), text, len);
		text[i] = (char)(text[i] ^ 1);
		reopen_refs(f);
		assert_false(is_named(ORIGIN, "a/b", 1));
	}
}

static void cut_tag_records_are_not_there(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	struct tag_record rec = {.desc = describe(1), .seen_ms = 5}, got;
	assert_int_equal(refs_tag_save(refs, ORIGIN, "a/b", "v1", &rec, &f->err), 0);
	assert_int_equal(file_read_small(AT_FDCWD, path_in(f, TAG), 4096, &text, &len), 0);
	for (size_t cut = 0; cut < len; cut++) {
		replace_file(path_in(f, TAG), text, cut);
		assert_int_equal(refs_tag_load(refs, ORIGIN, "a/b", "v1", &got, &f->err), -ENOENT);
	}
	replace_file(path_in(f, TAG), text, len);
	assert_int_equal(refs_tag_load(refs, ORIGIN, "a/b", "v1", &got, &f->err), 0);
	/* Of another tag. */
	char other[600];
	snprintf(other, sizeof(other), "%s0", path_in(f, TAG));
	replace_file(other, text, len);
	assert_int_equal(refs_tag_load(refs, ORIGIN, "a/b", "v10", &got, &f->err), -ENOENT);
}

static void symlinks_are_not_followed(void **state)
{
	struct fixture *f = *state;
	struct tag_record rec = {.desc = describe(1)}, got;
	char kept[200];
	snprintf(kept, sizeof(kept), "%s/kept", f->root);
	assert_int_equal(refs_tag_save(refs, ORIGIN, "a/b", "v1", &rec, &f->err), 0);
	assert_int_equal(rename(path_in(f, TAG), kept), 0);
	assert_int_equal(symlink(kept, path_in(f, TAG)), 0);
	assert_int_equal(refs_tag_load(refs, ORIGIN, "a/b", "v1", &got, &f->err), -ENOENT);
	replace_file(kept, "x", 1);
	assert_int_equal(refs_tag_save(refs, ORIGIN, "a/b", "v1", &rec, &f->err), 0);
	struct stat st;
	assert_int_equal(lstat(path_in(f, TAG), &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(stat(kept, &st), 0);
	assert_int_equal(st.st_size, 1);
	/* Nor appended to. */
	assert_int_equal(symlink(kept, path_in(f, NAMED)), 0);
	struct descriptor d = describe(3);
	assert_true(refs_name(refs, ORIGIN, "a/b", &d, 1, NULL) < 0);
	assert_int_equal(stat(kept, &st), 0);
	assert_int_equal(st.st_size, 1);
}

static void vanished_directory_is_made_anew(void **state)
{
	struct fixture *f = *state;
	char cmd[200];
	struct tag_record rec = {.desc = describe(1)}, got;
	name("a/b", 1);
	settle(f);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", f->dir);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(refs_tag_save(refs, ORIGIN, "a/b", "v1", &rec, &f->err), 0);
	assert_int_equal(refs_tag_load(refs, ORIGIN, "a/b", "v1", &got, &f->err), 0);
	name("a/b", 2);
	assert_true(is_named(ORIGIN, "a/b", 1));
	assert_true(is_named(ORIGIN, "a/b", 2));
}

static void more_repositories_than_are_kept_in_memory(void **state)
{
	struct fixture *f = *state;
	(void)f;
	char repo[32];
	for (unsigned i = 0; i < 200; i++) {
		snprintf(repo, sizeof(repo), "repo%u", i);
		name(repo, i);
	}
	for (unsigned i = 0; i < 200; i++) {
		snprintf(repo, sizeof(repo), "repo%u", i);
		assert_true(is_named(ORIGIN, repo, i));
		assert_false(is_named(ORIGIN, repo, i + 1));
	}
}

static void what_does_not_leave_the_floor_is_not_recorded(void **state)
{
	struct fixture *f = *state;
	struct tag_record rec = {.desc = describe(1), .seen_ms = 1}, got;
	struct descriptor d = describe(2);
	struct names in = {0}, out;
	int64_t seen = 0;
	uint64_t floor = f->store->space.floor;
	assert_int_equal(names_add(&in, "v1", 2), 0);
	f->store->space.floor = UINT64_MAX / 2;
	assert_int_equal(refs_tag_save(refs, ORIGIN, "a/b", "v1", &rec, &f->err), -ENOSPC);
	assert_non_null(strstr(f->err.text, "no room for"));
	assert_int_equal(refs_listing_save(refs, ORIGIN, "a/b", &in, 42, &f->err), -ENOSPC);
	assert_int_equal(refs_listing_save(refs, ORIGIN, "", &in, 42, &f->err), -ENOSPC);
	assert_int_equal(refs_name(refs, ORIGIN, "a/b", &d, 1, &f->err), -ENOSPC);
	assert_int_equal(access(path_in(f, "refs"), F_OK), -1);
	/* In this process it is known. */
	assert_true(is_named(ORIGIN, "a/b", 2));
	f->store->space.floor = floor;
	assert_int_equal(refs_tag_save(refs, ORIGIN, "a/b", "v1", &rec, &f->err), 0);
	assert_int_equal(refs_listing_save(refs, ORIGIN, "a/b", &in, 42, &f->err), 0);
	/* What was recorded before stands. */
	f->store->space.floor = UINT64_MAX / 2;
	rec.seen_ms = 2;
	assert_int_equal(refs_tag_save(refs, ORIGIN, "a/b", "v1", &rec, &f->err), -ENOSPC);
	assert_int_equal(refs_listing_save(refs, ORIGIN, "a/b", &in, 43, &f->err), -ENOSPC);
	assert_int_equal(refs_tag_load(refs, ORIGIN, "a/b", "v1", &got, &f->err), 0);
	assert_int_equal(got.seen_ms, 1);
	assert_int_equal(refs_listing_load(refs, ORIGIN, "a/b", &out, &seen, &f->err), 0);
	assert_int_equal(seen, 42);
	names_release(&out);
	names_release(&in);
}

static int disk_at_its_floor(int fd, struct statvfs *fs)
{
	(void)fd;
	*fs = (struct statvfs){.f_frsize = 1, .f_bavail = 1u << 20};
	return 0;
}

static void blobs_go_for_what_is_recorded(void **state)
{
	struct fixture *f = *state;
	struct digest d, e;
	fetch(f, 10000, 1, &d);
	settle(f);
	fetch(f, 10000, 2, &e);
	settle(f);
	f->store->space.ask_disk = disk_at_its_floor;
	f->store->space.floor = 1u << 20;
	name("a/b", 1);
	reopen_refs(f);
	assert_true(is_named(ORIGIN, "a/b", 1));
	assert_int_equal(count_files(f, "blobs/sha256"), 1);
}

static off_t named_size(struct fixture *f)
{
	struct stat st;
	assert_int_equal(stat(path_in(f, NAMED), &st), 0);
	return st.st_size;
}

static void full_set_appends_no_more(void **state)
{
	struct fixture *f = *state;
	refs->named_max = 3;
	for (unsigned i = 0; i < 3; i++)
		name("a/b", i);
	off_t size = named_size(f);
	for (int again = 0; again < 2; again++) {
		for (unsigned i = 0; i < 5; i++)
			name("a/b", i);
		assert_int_equal(named_size(f), size);
		assert_true(is_named(ORIGIN, "a/b", 2));
		assert_false(is_named(ORIGIN, "a/b", 3));
		reopen_refs(f);
		refs->named_max = 3;
	}
}

static void full_file_is_not_appended_to(void **state)
{
	struct fixture *f = *state;
	name("a/b", 1);
	off_t size = named_size(f);
	for (int again = 0; again < 2; again++) {
		refs->file_max = (uint64_t)size;
		name("a/b", 2);
		assert_int_equal(named_size(f), size);
		assert_true(is_named(ORIGIN, "a/b", 1));
		assert_true(is_named(ORIGIN, "a/b", 2));
		reopen_refs(f);
	}
}

#define APPENDERS 4
#define EACH      100

static void *append_some(void *ctx)
{
	unsigned first = *(unsigned *)ctx;
	for (unsigned i = 0; i < EACH; i++) {
		name("a/b", first + i);
		assert_true(is_named(ORIGIN, "a/b", first + i));
	}
	return NULL;
}

/* Threads of this process beside other processes. */
static void everybody_appends_at_once(void **state)
{
	struct fixture *f = *state;
	unsigned first[APPENDERS];
	pthread_t threads[APPENDERS];
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		/* A file of its own: descriptors are not shared between daemons. */
		struct store_options o = {.dir = f->dir, .limit = 1 << 20};
		struct store *s = NULL;
		unsigned start = 100000;
		if (store_open(&o, &s, NULL) < 0 || refs_open(s, &refs, NULL) < 0)
			_exit(1);
		(void)append_some(&start);
		_exit(0);
	}
	for (unsigned i = 0; i < APPENDERS; i++) {
		first[i] = i * 1000;
		assert_int_equal(pthread_create(&threads[i], NULL, append_some, &first[i]), 0);
	}
	for (unsigned i = 0; i < APPENDERS; i++)
		pthread_join(threads[i], NULL);
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	for (unsigned i = 0; i < EACH; i++) {
		assert_true(is_named(ORIGIN, "a/b", 100000 + i));
		for (unsigned j = 0; j < APPENDERS; j++)
			assert_true(is_named(ORIGIN, "a/b", first[j] + i));
	}
	struct descriptor *all = NULL;
	size_t n = 0;
	reopen_refs(f);
	assert_int_equal(refs_named_all(refs, ORIGIN, "a/b", &all, &n, NULL), 0);
	assert_int_equal(n, (APPENDERS + 1) * EACH);
	free(all);
}

#define WITH_REFS(t) cmocka_unit_test_setup_teardown(t, make_refs, remove_refs)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_REFS(tags_come_back_as_they_were),
	    WITH_REFS(origins_repositories_and_tags_do_not_mix),
	    WITH_REFS(long_names_have_a_place_too),
	    WITH_REFS(origins_that_have_repositories),
	    WITH_REFS(listings_come_back_sorted),
	    WITH_REFS(named_digests_stay_named),
	    WITH_REFS(whether_anything_was_named_is_known),
	    WITH_REFS(all_named_digests_are_listed),
	    WITH_REFS(what_another_process_appended_is_seen),
	    WITH_REFS(cut_lines_are_no_records_and_spoil_none),
	    WITH_REFS(wrong_bytes_are_no_records),
	    WITH_REFS(cut_tag_records_are_not_there),
	    WITH_REFS(symlinks_are_not_followed),
	    WITH_REFS(vanished_directory_is_made_anew),
	    WITH_REFS(more_repositories_than_are_kept_in_memory),
	    WITH_REFS(what_does_not_leave_the_floor_is_not_recorded),
	    WITH_REFS(blobs_go_for_what_is_recorded),
	    WITH_REFS(full_set_appends_no_more),
	    WITH_REFS(full_file_is_not_appended_to),
	    WITH_REFS(everybody_appends_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
