/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cache/scenes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "cache/filelock.h"
#include "cache/partial_impl.h"
#include "tests/unit/cache/faults.h"
#include "tests/unit/cache/scenes_impl.h"

/* Longer than anything here takes, shorter than a stuck lock is waited for. */
#define WAIT_MS 3000
#define TAG     "v1"

const size_t sizes[BLOBS] = {
    [OLD] = 150000, [YOUNG] = 20000, [HALF] = 300000, [NEW] = 280000, [SMALL] = 5000};

static const char *about = "";

void scene_about(const char *text)
{
	about = text;
}

_Noreturn void scene_failed(const char *what, const char *file, int line)
{
	dprintf(STDERR_FILENO, "%s: %s:%d: %s\n", about, file, line, what);
	_exit(1);
}

size_t scene_size(int blob)
{
	return sizes[blob];
}

/* ---- what may be said ---- */

static bool is_one_of(int rc, const int *allowed)
{
	for (; *allowed != 0; allowed++) {
		if (rc == *allowed)
			return true;
	}
	return rc >= 0;
}

void may_say(struct scene *s, int rc, const int *allowed, const char *file, int line)
{
	if (is_one_of(rc, allowed) && (rc >= 0 || s->f.err.text[0] != '\0')) {
		s->f.err.text[0] = '\0';
		return;
	}
	char text[ERR_TEXT_MAX + 64];
	snprintf(text, sizeof(text), "said %s: \"%s\"", strerrorname_np(-rc), s->f.err.text);
	scene_failed(text, file, line);
}

void expect_bytes(const struct scene *s, const struct blob *b, int blob)
{
	size_t len = sizes[blob];
	faults_exempt(true);
	char *got = malloc(len + 1);
	EXPECT(got != NULL);
	EXPECT(blob_size(b) == len);
	EXPECT(file_pread_full(blob_fd(b), got, len + 1, 0) == (int64_t)len);
	EXPECT(memcmp(got, s->bytes[blob], len) == 0);
	/* What is in memory may have the descriptor that wrote it: sealed then. */
	EXPECT((fcntl(blob_fd(b), F_GETFL) & O_ACCMODE) == O_RDONLY ||
	       (fcntl(blob_fd(b), F_GET_SEALS) & F_SEAL_WRITE) != 0);
	free(got);
	faults_exempt(false);
}

/* ---- records ---- */

void descriptor_of(const struct scene *s, int blob, struct descriptor *ret)
{
	*ret = (struct descriptor){.digest = s->digest[blob], .size = sizes[blob]};
	snprintf(ret->media_type, sizeof(ret->media_type), "application/x.%d", blob);
}

int save_tag(struct scene *s, int blob)
{
	struct tag_record rec = {.seen_ms = 1000 + blob};
	descriptor_of(s, blob, &rec.desc);
	return refs_tag_save(s->refs, SCENE_ORIGIN, SCENE_REPO, TAG, &rec, &s->f.err);
}

int load_tag(struct scene *s)
{
	struct tag_record rec;
	int rc = refs_tag_load(s->refs, SCENE_ORIGIN, SCENE_REPO, TAG, &rec, &s->f.err);
	if (rc < 0)
		return rc;
	struct descriptor d;
	int64_t blob = rec.seen_ms - 1000;
	EXPECT(blob == OLD || blob == NEW);
	descriptor_of(s, (int)blob, &d);
	EXPECT(digest_equal(&d.digest, &rec.desc.digest) && d.size == rec.desc.size);
	EXPECT(strcmp(d.media_type, rec.desc.media_type) == 0);
	return 0;
}

int save_listing(struct scene *s, int which)
{
	return refs_listing_save(s->refs, SCENE_ORIGIN, SCENE_REPO, &s->names[which], 1000 + which,
				 &s->f.err);
}

int load_listing(struct scene *s)
{
	struct names got = {0};
	int64_t seen;
	int rc = refs_listing_load(s->refs, SCENE_ORIGIN, SCENE_REPO, &got, &seen, &s->f.err);
	if (rc < 0)
		return rc;
	EXPECT(seen == 1000 || seen == 1001);
	const struct names *want = &s->names[seen - 1000];
	EXPECT(got.n == want->n);
	for (size_t i = 0; i < got.n; i++)
		EXPECT(strcmp(got.v[i], want->v[i]) == 0);
	names_release(&got);
	return 0;
}

int save_named(struct scene *s, int first, int n)
{
	struct descriptor d[BLOBS];
	for (int i = 0; i < n; i++)
		descriptor_of(s, first + i, &d[i]);
	return refs_name(s->refs, SCENE_ORIGIN, SCENE_REPO, d, (size_t)n, &s->f.err);
}

int ask_named(struct scene *s, int blob)
{
	struct descriptor got, want;
	descriptor_of(s, blob, &want);
	int rc = refs_named(s->refs, SCENE_ORIGIN, SCENE_REPO, &s->digest[blob], &got, &s->f.err);
	if (rc == 0)
		EXPECT(digest_equal(&got.digest, &want.digest) && got.size == want.size &&
		       strcmp(got.media_type, want.media_type) == 0);
	return rc;
}

int list_named(struct scene *s)
{
	struct descriptor *all = NULL;
	size_t n = 0;
	int rc = refs_named_all(s->refs, SCENE_ORIGIN, SCENE_REPO, &all, &n, &s->f.err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		bool ours = false;
		for (int b = 0; b < BLOBS; b++)
			ours = ours || digest_equal(&all[i].digest, &s->digest[b]);
		EXPECT(ours);
	}
	free(all);
	return (int)n;
}

int save_archive(struct scene *s, int tar)
{
	struct archive_record rec = {.tar = s->digest[tar],
				     .tar_size = sizes[tar],
				     .index = s->digest[YOUNG],
				     .index_size = sizes[YOUNG]};
	return archives_save(s->f.store, &s->digest[SMALL], &rec, &s->f.err);
}

int load_archive(struct scene *s)
{
	struct archive_record rec;
	int rc = archives_load(s->f.store, &s->digest[SMALL], &rec, &s->f.err);
	if (rc < 0)
		return rc;
	int tar = digest_equal(&rec.tar, &s->digest[OLD]) ? OLD : NEW;
	EXPECT(digest_equal(&rec.tar, &s->digest[tar]) && rec.tar_size == sizes[tar]);
	EXPECT(digest_equal(&rec.index, &s->digest[YOUNG]) && rec.index_size == sizes[YOUNG]);
	return 0;
}

/* How many names there are; all must be right. */
int list_repos(struct scene *s)
{
	struct names repos = {0};
	int rc = refs_repos(s->refs, SCENE_ORIGIN, &repos, &s->f.err);
	if (rc < 0)
		return rc;
	int n = names_has(&repos, SCENE_REPO);
	names_release(&repos);
	return n;
}

/* ---- content ---- */

/* -EAGAIN of store_get, then the verification. */
int look_up(struct scene *s, int blob, struct blob **ret)
{
	int rc = store_get(s->f.store, &s->digest[blob], ret, &s->f.err);
	if (rc != -EAGAIN)
		return rc;
	return store_verify(s->f.store, &s->digest[blob], &s->f.call, ret, &s->f.err);
}

/* In two writes. */
int fetch_blob(struct scene *s, int blob, struct blob **ret)
{
	struct partial *p = NULL;
	int rc =
	    store_partial(s->f.store, &s->digest[blob], sizes[blob], &s->f.call, &p, &s->f.err);
	if (rc < 0)
		return rc;
	while (rc == 0 && partial_have(p) < sizes[blob]) {
		uint64_t have = partial_have(p);
		size_t part = sizes[blob] - have > 100000 ? 100000 : sizes[blob] - have;
		rc = partial_write(p, s->bytes[blob] + have, part, &s->f.err);
	}
	if (rc < 0) {
		partial_close(p);
		return rc;
	}
	return partial_commit(p, ret, &s->f.err);
}

/* Whatever was there before: the right bytes of it, in the end. */
static void obtain(struct scene *s, int blob, bool torn)
{
	struct blob *b = NULL;
	s->f.call.deadline_ms = clock_ms() + WAIT_MS;
	int rc = look_up(s, blob, &b);
	if (torn && rc == -EBADMSG)
		rc = -ENOENT;
	if (rc == -ENOENT) {
		rc = fetch_blob(s, blob, &b);
		/* Wrong bytes may have been left to be resumed. */
		if (rc == -EBADMSG)
			rc = fetch_blob(s, blob, &b);
	}
	if (rc != 0)
		MAY_SAY(s, rc, 0);
	expect_bytes(s, b, blob);
	blob_unref(b);
	settle(&s->f);
	s->f.call.deadline_ms = INT64_MAX;
}

/* ---- before and after ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void scene_remove(const char *dir)
{
	EXPECT(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

void scene_make(struct scene *s)
{
	/* So many of them that a disk's own syncs would take minutes. */
	const char *in = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	*s = (struct scene){0};
	snprintf(s->f.root, sizeof(s->f.root), "%s/wasmocifs-test-XXXXXX", in);
	EXPECT(mkdtemp(s->f.root) != NULL);
	snprintf(s->f.dir, sizeof(s->f.dir), "%s/cache", s->f.root);
	call_init(&s->f.call, INT64_MAX);
	for (int i = 0; i < BLOBS; i++)
		s->bytes[i] = make_bytes(sizes[i], (unsigned)i, &s->digest[i]);
	for (size_t i = 0; i < 20; i++) {
		char name[32];
		int len = snprintf(name, sizeof(name), "v%zu.0", i);
		EXPECT(names_add(&s->names[i % 2], name, (size_t)len) == 0);
	}
	names_sort(&s->names[0]);
	names_sort(&s->names[1]);
}

void scene_free(struct scene *s)
{
	for (int i = 0; i < BLOBS; i++)
		free(s->bytes[i]);
	names_release(&s->names[0]);
	names_release(&s->names[1]);
	call_release(&s->f.call);
	scene_remove(s->f.root);
}

void scene_open(struct scene *s)
{
	struct store_options o = {
	    .dir = s->f.dir, .limit = CAP, .floor = 1, .memory_budget = MEMORY};
	EXPECT(store_open(&o, &s->f.store, &s->f.err) == 0);
	EXPECT(refs_open(s->f.store, &s->refs, &s->f.err) == 0);
}

void scene_close(struct scene *s)
{
	refs_close(s->refs);
	close_store(&s->f);
	s->refs = NULL;
}

void prepare_usual(struct scene *s)
{
	struct partial *p = NULL;
	scene_open(s);
	obtain(s, OLD, false);
	obtain(s, YOUNG, false);
	const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_nsec = UTIME_OMIT}};
	EXPECT(utimensat(AT_FDCWD, blob_file(&s->f, &s->digest[OLD]), times, 0) == 0);
	EXPECT(store_partial(s->f.store, &s->digest[HALF], sizes[HALF], &s->f.call, &p,
			     &s->f.err) == 0);
	EXPECT(partial_write(p, s->bytes[HALF], sizes[HALF] / 2, &s->f.err) == 0);
	partial_close(p);
	EXPECT(save_tag(s, OLD) == 0 && save_listing(s, 0) == 0 && save_named(s, OLD, 2) == 0 &&
	       save_archive(s, OLD) == 0);
	scene_close(s);
	scene_open(s);
}

void scene_prepare(struct scene *s, const struct play *play)
{
	if (play->prepare != NULL)
		play->prepare(s);
	else
		prepare_usual(s);
	s->f.err.text[0] = '\0';
	if (s->f.store != NULL)
		settle(&s->f);
}

static void expect_accounted(struct scene *s)
{
	struct store_usage u;
	EXPECT(space_enter(s->f.store, NULL, &s->f.err) == 0);
	uint64_t bytes = s->f.store->space.account.bytes;
	space_leave(s->f.store);
	if (access(s->f.dir, F_OK) == 0)
		EXPECT(bytes >= disk_use(&s->f));
	store_usage(s->f.store, &u);
	EXPECT(u.bytes <= CAP + (4096 * BLOBS));
}

/* One after the other: there is not room for all. */
static void expect_content(struct scene *s, bool torn)
{
	expect_accounted(s);
	for (int i = 0; i < BLOBS; i++)
		obtain(s, i, torn);
	expect_accounted(s);
}

static void expect_records(struct scene *s)
{
	int rc = load_tag(s);
	MAY_SAY(s, rc, -ENOENT);
	rc = load_listing(s);
	MAY_SAY(s, rc, -ENOENT);
	rc = load_archive(s);
	MAY_SAY(s, rc, -ENOENT);
	rc = list_named(s);
	MAY_SAY(s, rc, 0);
	EXPECT(rc >= 0);
	for (int i = 0; i < BLOBS; i++)
		MAY_SAY(s, ask_named(s, i), -ENOENT);
	EXPECT(list_repos(s) >= 0);
	EXPECT(save_tag(s, NEW) == 0 && load_tag(s) == 0);
	EXPECT(save_listing(s, 1) == 0 && load_listing(s) == 0);
	EXPECT(save_named(s, 0, BLOBS) == 0 && list_named(s) == BLOBS);
	EXPECT(save_archive(s, NEW) == 0 && load_archive(s) == 0);
	EXPECT(list_repos(s) == 1);
}

static void expect_nothing_held(struct scene *s)
{
	struct store_usage u;
	for (int i = 0; i < BLOBS; i++)
		store_drop(s->f.store, &s->digest[i]);
	settle(&s->f);
	settle(&s->f);
	store_usage(s->f.store, &u);
	EXPECT(u.memory_bytes == 0);
	EXPECT(space_orphans(s->f.store) == 0);
	EXPECT(s->f.store->partials == NULL && s->f.store->verifying == NULL);
	EXPECT(count_files(&s->f, "blobs/sha256") == 0);
}

/* Before this process comes to the account again: others do not wait for it until then. Its own
 * background may be there. */
static void expect_account_free(struct scene *s)
{
	AUTO_FD int fd = open(path_in(&s->f, "lock"), O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	int64_t until = clock_ms() + WAIT_MS;
	int rc;
	while ((rc = filelock_exclusive(fd, FILELOCK_ACCOUNT)) == -EAGAIN && clock_ms() < until)
		sched_yield();
	EXPECT(rc == 0);
}

void scene_heals(struct scene *s, bool torn)
{
	s->f.err.text[0] = '\0';
	if (s->f.store != NULL) {
		expect_account_free(s);
		expect_content(s, torn);
		expect_records(s);
		/* Another process, beside this one, is kept from nothing. */
		struct scene other = *s;
		scene_open(&other);
		expect_content(&other, false);
		expect_nothing_held(&other);
		scene_close(&other);
		scene_close(s);
	}
	scene_open(s);
	expect_content(s, torn);
	expect_records(s);
	expect_nothing_held(s);
	/* What this process left to be swept is young, or gone. */
	scene_close(s);
}
