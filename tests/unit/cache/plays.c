/* SPDX-License-Identifier: Apache-2.0 */
/* The plays: each is short, and says what may be said of each of its steps. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cache/partial_impl.h"
#include "tests/unit/cache/faults.h"
#include "tests/unit/cache/scenes_impl.h"

static void play_open(struct scene *s)
{
	struct store_options o = {
	    .dir = s->f.dir, .limit = CAP, .floor = 1, .memory_budget = MEMORY};
	/* Of a path that cannot be opened, the system says why. */
	int rc = store_open(&o, &s->f.store, &s->f.err);
	MAY_SAY(s, rc, ROOM, -EMFILE, -ENFILE, -ESTALE, -EINTR, -EROFS, -EDQUOT);
	if (rc < 0)
		return;
	rc = refs_open(s->f.store, &s->refs, &s->f.err);
	MAY_SAY(s, rc, -ENOMEM);
	if (rc < 0) {
		close_store(&s->f);
		return;
	}
	rc = store_start(s->f.store, &s->f.err);
	MAY_SAY(s, rc, -EAGAIN, -ENOMEM);
	/* Without its thread, nothing is done before the end. */
	if (rc == 0)
		settle(&s->f);
}

static void run_fetch(struct scene *s, int blob)
{
	struct blob *b = NULL;
	int rc = fetch_blob(s, blob, &b);
	MAY_SAY(s, rc, ROOM);
	if (rc == 0)
		expect_bytes(s, b, blob);
	settle(&s->f);
	blob_unref(rc == 0 ? b : NULL);
	settle(&s->f);
}

/* Evicts OLD for it. */
static void play_fetch(struct scene *s)
{
	run_fetch(s, NEW);
}

static void play_resume(struct scene *s)
{
	run_fetch(s, HALF);
}

/* A wrong end, and once more from the start. */
static void play_restart(struct scene *s)
{
	struct partial *p = NULL;
	struct blob *b = NULL;
	int rc =
	    store_partial(s->f.store, &s->digest[HALF], sizes[HALF], &s->f.call, &p, &s->f.err);
	MAY_SAY(s, rc, ROOM);
	if (rc < 0)
		return;
	rc = partial_restart(p, &s->f.err);
	if (rc == 0)
		rc = partial_write(p, s->bytes[NEW], sizes[NEW], &s->f.err);
	if (rc == 0)
		rc = partial_write(p, s->bytes[NEW], sizes[HALF] - sizes[NEW], &s->f.err);
	MAY_SAY(s, rc, ROOM);
	if (rc < 0) {
		partial_close(p);
		return;
	}
	rc = partial_commit(p, &b, &s->f.err);
	EXPECT(rc < 0);
	MAY_SAY(s, rc, -EBADMSG, LOCAL);
	settle(&s->f);
}

static void play_give_up(struct scene *s)
{
	struct partial *p = NULL;
	int rc = store_partial(s->f.store, &s->digest[NEW], sizes[NEW], &s->f.call, &p, &s->f.err);
	MAY_SAY(s, rc, ROOM);
	if (rc < 0)
		return;
	rc = partial_write(p, s->bytes[NEW], 100000, &s->f.err);
	MAY_SAY(s, rc, ROOM);
	partial_close(p);
	settle(&s->f);
}

static void play_unsized(struct scene *s)
{
	struct partial *p = NULL;
	struct blob *b = NULL;
	struct digest any = {.alg = DIGEST_SHA256};
	int rc = store_unsized(s->f.store, &any, &p, &s->f.err);
	MAY_SAY(s, rc, ROOM);
	if (rc < 0)
		return;
	for (int i = 0; rc == 0 && i < 2; i++)
		rc = partial_write(p, s->bytes[NEW] + i * 140000, 140000, &s->f.err);
	MAY_SAY(s, rc, ROOM);
	if (rc < 0) {
		partial_drop(p);
		return;
	}
	rc = partial_commit(p, &b, &s->f.err);
	MAY_SAY(s, rc, ROOM);
	if (rc == 0)
		expect_bytes(s, b, NEW);
	blob_unref(rc == 0 ? b : NULL);
	settle(&s->f);
}

static void play_read(struct scene *s)
{
	for (int i = 0; i < 2; i++) {
		struct blob *b = NULL;
		int rc = store_get(s->f.store, &s->digest[OLD], &b, &s->f.err);
		MAY_SAY(s, rc, -EAGAIN, LOCAL, i == 1 ? -ENOENT : -EIO);
		if (rc < 0) {
			rc = store_verify(s->f.store, &s->digest[OLD], &s->f.call, &b, &s->f.err);
			/* A file that could not be read may have gone meanwhile. */
			MAY_SAY(s, rc, LOCAL, i == 1 ? -ENOENT : -EIO);
		}
		if (rc == 0)
			expect_bytes(s, b, OLD);
		blob_unref(rc == 0 ? b : NULL);
		settle(&s->f);
		blobs_close_idle(s->f.store);
	}
}

static void play_put(struct scene *s)
{
	struct blob *b = NULL;
	int rc =
	    store_put(s->f.store, &s->digest[SMALL], s->bytes[SMALL], sizes[SMALL], &b, &s->f.err);
	MAY_SAY(s, rc, ROOM);
	if (rc == 0)
		expect_bytes(s, b, SMALL);
	blob_unref(rc == 0 ? b : NULL);
	settle(&s->f);
}

static void play_drop(struct scene *s)
{
	struct blob *b = NULL;
	int rc = look_up(s, OLD, &b);
	MAY_SAY(s, rc, LOCAL);
	store_drop(s->f.store, &s->digest[OLD]);
	if (rc == 0)
		expect_bytes(s, b, OLD);
	blob_unref(rc == 0 ? b : NULL);
	store_drop(s->f.store, &s->digest[YOUNG]);
	settle(&s->f);
}

static void play_records(struct scene *s)
{
	int rc = save_tag(s, NEW);
	MAY_SAY(s, rc, ROOM);
	rc = save_listing(s, 1);
	MAY_SAY(s, rc, ROOM);
	rc = save_named(s, NEW, 2);
	MAY_SAY(s, rc, ROOM);
	rc = save_archive(s, NEW);
	MAY_SAY(s, rc, ROOM);
	refs_tag_forget(s->refs, SCENE_ORIGIN, SCENE_REPO, "gone");
	settle(&s->f);
}

/* All of it is there: that it is not must not be said. */
static void play_recall(struct scene *s)
{
	int rc = load_tag(s);
	MAY_SAY(s, rc, LOCAL);
	rc = load_listing(s);
	MAY_SAY(s, rc, LOCAL);
	rc = ask_named(s, OLD);
	MAY_SAY(s, rc, LOCAL);
	rc = list_named(s);
	MAY_SAY(s, rc, LOCAL);
	EXPECT(rc < 0 || rc == 2);
	rc = load_archive(s);
	MAY_SAY(s, rc, LOCAL);
	rc = list_repos(s);
	MAY_SAY(s, rc, LOCAL);
	EXPECT(rc != 0);
	struct names origins = {0};
	rc = refs_origins(s->refs, &origins, &s->f.err);
	MAY_SAY(s, rc, LOCAL);
	EXPECT(rc < 0 || origins.n == 1);
	names_release(&origins);
}

static void age(const char *path)
{
	const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	EXPECT(utimensat(AT_FDCWD, path, times, 0) == 0);
}

/* All that can be swept is old. */
static void prepare_sweep(struct scene *s)
{
	prepare_usual(s);
	store_drop(s->f.store, &s->digest[OLD]);
	store_drop(s->f.store, &s->digest[YOUNG]);
	scene_close(s);
	age(partial_file(&s->f, &s->digest[HALF], sizes[HALF]));
	int fd = open(path_in(&s->f, "partial/new.0123456789abcdef"), O_CREAT | O_WRONLY, 0600);
	EXPECT(fd >= 0 && write(fd, s->bytes[NEW], 10000) == 10000);
	close(fd);
	char hex[DIGEST_HEX_MAX], name[DIGEST_HEX_MAX + 32];
	digest_hex(&s->digest[SMALL], hex);
	snprintf(name, sizeof(name), "archives/sha256/%s", hex);
	age(path_in(&s->f, name));
}

/* Here, and not in the store's thread. */
static void play_sweep(struct scene *s)
{
	faults_exempt(true);
	scene_open(s);
	faults_exempt(false);
	sweep(s->f.store);
}

/* The directory goes while the store is open. */
static void prepare_vanished(struct scene *s)
{
	prepare_usual(s);
	struct blob *b = NULL;
	EXPECT(look_up(s, OLD, &b) == 0);
	blob_unref(b);
	settle(&s->f);
	scene_remove(s->f.dir);
}

static void play_vanished(struct scene *s)
{
	run_fetch(s, NEW);
	int rc = save_tag(s, NEW);
	MAY_SAY(s, rc, ROOM);
	struct blob *b = NULL;
	rc = store_put(s->f.store, &s->digest[SMALL], s->bytes[SMALL], sizes[SMALL], &b, &s->f.err);
	MAY_SAY(s, rc, ROOM);
	if (rc == 0)
		expect_bytes(s, b, SMALL);
	blob_unref(rc == 0 ? b : NULL);
	settle(&s->f);
}

/* A byte of it is another one, in blobs/ or in partial/. */
static void flip(const char *path)
{
	char c;
	EXPECT(chmod(path, 0600) == 0);
	int fd = open(path, O_RDWR);
	EXPECT(fd >= 0 && pread(fd, &c, 1, 4000) == 1);
	c ^= 1;
	EXPECT(pwrite(fd, &c, 1, 4000) == 1);
	close(fd);
}

static void prepare_rotten(struct scene *s)
{
	prepare_usual(s);
	scene_close(s);
	flip(blob_file(&s->f, &s->digest[OLD]));
	flip(partial_file(&s->f, &s->digest[HALF], sizes[HALF]));
	scene_open(s);
}

static void play_rotten(struct scene *s)
{
	struct blob *b = NULL;
	int rc = look_up(s, OLD, &b);
	EXPECT(rc < 0);
	MAY_SAY(s, rc, -EBADMSG, LOCAL);
	settle(&s->f);
	rc = fetch_blob(s, HALF, &b);
	MAY_SAY(s, rc, -EBADMSG, ROOM);
	/* A rotten half that could not be read is fetched whole. */
	if (rc == 0) {
		expect_bytes(s, b, HALF);
		blob_unref(b);
	}
	settle(&s->f);
}

/* A repository whose name is too long for a file system, and many digests. */
static void play_long_name(struct scene *s)
{
	char repo[300];
	struct descriptor d[40];
	memset(repo, 'a', sizeof(repo) - 1);
	repo[sizeof(repo) - 1] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(d); i++) {
		descriptor_of(s, OLD, &d[i]);
		d[i].digest.bytes[0] = (uint8_t)i;
	}
	int rc = refs_name(s->refs, SCENE_ORIGIN, repo, d, ARRAY_LEN(d), &s->f.err);
	MAY_SAY(s, rc, ROOM);
	struct descriptor got;
	rc = refs_named(s->refs, SCENE_ORIGIN, repo, &d[39].digest, &got, &s->f.err);
	/* Where it could not be recorded it may not be known. */
	MAY_SAY(s, rc, -ENOENT, LOCAL);
	EXPECT(rc < 0 || got.size == d[39].size);
	struct names repos = {0};
	rc = refs_repos(s->refs, SCENE_ORIGIN, &repos, &s->f.err);
	MAY_SAY(s, rc, LOCAL);
	EXPECT(rc < 0 || names_has(&repos, SCENE_REPO));
	for (size_t i = 0; i < repos.n; i++)
		EXPECT(strcmp(repos.v[i], SCENE_REPO) == 0 || strcmp(repos.v[i], repo) == 0);
	names_release(&repos);
}

static void prepare_nothing(struct scene *s)
{
	(void)s;
}

static void prepare_closed(struct scene *s)
{
	prepare_usual(s);
	scene_close(s);
}

const struct play plays[] = {
    {"open a new directory", prepare_nothing, play_open, false},
    {"open", prepare_closed, play_open, false},
    {"fetch", NULL, play_fetch, false},
    {"resume", NULL, play_resume, false},
    {"restart", NULL, play_restart, false},
    {"give up", NULL, play_give_up, false},
    {"unsized", NULL, play_unsized, false},
    {"read", NULL, play_read, false},
    {"put", NULL, play_put, false},
    {"drop", NULL, play_drop, false},
    {"records", NULL, play_records, false},
    {"recall", NULL, play_recall, false},
    {"sweep", prepare_sweep, play_sweep, false},
    {"vanished", prepare_vanished, play_vanished, false},
    {"rotten", prepare_rotten, play_rotten, true},
    {"long name", NULL, play_long_name, false},
};
const size_t plays_n = ARRAY_LEN(plays);
