/* SPDX-License-Identifier: Apache-2.0 */
/* What is unpacked by one thread at a time, and what is remembered of it. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/flight.h"
#include "fs/layers.h"
#include "fs/rootfs.h"
#include "fs/small_members.h"
#include "fs/unpacked.h"

static struct digest digest(unsigned char first)
{
	struct digest d = {.alg = DIGEST_SHA256, .len = 32};
	d.bytes[0] = first;
	return d;
}

struct worker {
	struct layers *layers;
	atomic_int *inside;
	int most;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct digest d = digest(1);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(layers_claim(w->layers, &d), 0);
		int now = atomic_fetch_add(w->inside, 1) + 1;
		w->most = now > w->most ? now : w->most;
		atomic_fetch_sub(w->inside, 1);
		layers_unclaim(w->layers, &d);
	}
	return NULL;
}

static void one_thread_at_a_time(void **state)
{
	(void)state;
	struct layers *l;
	struct worker workers[4];
	pthread_t threads[4];
	atomic_int inside = 0;
	struct digest other = digest(2);
	assert_int_equal(layers_new(&l), 0);
	/* Another layer is another matter. */
	assert_int_equal(layers_claim(l, &other), 0);
	for (size_t i = 0; i < 4; i++) {
		workers[i] = (struct worker){l, &inside, 0};
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (size_t i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(workers[i].most, 1);
	}
	layers_unclaim(l, &other);
	layers_free(l);
}

static void trees_are_shared(void **state)
{
	(void)state;
	struct layers *l;
	struct rootfs *r, *found;
	struct digest d = digest(1), other = digest(2);
	assert_int_equal(layers_new(&l), 0);
	assert_int_equal(rootfs_merge(NULL, 0, true, NULL, &r, NULL), 0);
	assert_null(layers_rootfs(l, &d));
	layers_put_rootfs(l, &d, r);
	found = layers_rootfs(l, &d);
	assert_ptr_equal(found, r);
	assert_null(layers_rootfs(l, &other));
	assert_null(layers_unpacked(l, &d));
	rootfs_unref(found);
	rootfs_unref(r);
	layers_free(l);
}

static struct want want_of(enum want_kind kind, const char *repo, unsigned char first)
{
	struct want w;
	memset(&w, 0, sizeof(w));
	w.kind = kind;
	w.digest = digest(first);
	strncat(w.repo, repo, sizeof(w.repo) - 1);
	return w;
}

/* What is wrong with a digest is so for ever, and from wherever it comes. */
static void what_cannot_be_unpacked(void **state)
{
	(void)state;
	struct layers *l;
	struct err err = {"it is noise"}, said = {""};
	struct want a = want_of(WANT_ROOTFS, "a", 1), b = want_of(WANT_ROOTFS, "b", 1);
	struct want layer = want_of(WANT_LAYER, "a", 1), other = want_of(WANT_ROOTFS, "a", 2);
	assert_int_equal(layers_new(&l), 0);
	layers_fail(l, &a, -EPROTO, &err);
	assert_int_equal(layers_failed(l, &a, &said), -EPROTO);
	assert_string_equal(said.text, "it is noise");
	assert_int_equal(layers_failed(l, &b, NULL), -EPROTO);
	assert_int_equal(layers_failed(l, &layer, NULL), 0);
	assert_int_equal(layers_failed(l, &other, NULL), 0);
	/* What may be another time is tried again. */
	layers_fail(l, &other, -ENOSPC, &err);
	layers_fail(l, &other, -EHOSTUNREACH, &err);
	layers_fail(l, &other, -EIO, &err);
	assert_int_equal(layers_failed(l, &other, NULL), 0);
	layers_free(l);
}

#define MANY 600000u /* two such layers are more than LAYERS_BYTES */

static struct digest content(unsigned i)
{
	struct digest d = digest(3);
	memcpy(d.bytes + 1, &i, sizeof(i));
	return d;
}

static struct tar_index *index_of_many(void)
{
	struct tar_index_builder b = {0};
	struct tar_index *ix = NULL;
	struct err err;
	char path[32], *text = NULL;
	size_t len = 0;
	for (unsigned i = 0; i < MANY; i++) {
		struct tar_segment segment = {0, (uint64_t)i * 1024 + 512, 1 + i % 7};
		struct tar_item item = {.kind = TAR_FILE,
					.path = path,
					.size = 1 + i % 7,
					.segments = &segment,
					.n_segments = 1};
		(void)snprintf(path, sizeof(path), "d/%u", i);
		assert_int_equal(tar_index_add(&b, &item, &err), 0);
	}
	assert_int_equal(tar_index_finish(&b, MANY * 1024ull, &text, &len, &err), 0);
	assert_int_equal(tar_index_parse(text, len, MANY * 1024ull, UINT64_MAX, &ix, &err), 0);
	for (unsigned i = 0; i < MANY; i++) {
		struct digest d = content(i);
		tar_index_set_digest(ix, i, &d);
	}
	assert_int_equal(tar_index_complete(ix), 0);
	return ix;
}

static void put_many(struct layers *l, const struct digest *layer)
{
	struct unpacked *u = calloc(1, sizeof(*u));
	assert_non_null(u);
	u->layer = u->tar = *layer;
	u->index = index_of_many();
	atomic_init(&u->refs, 1);
	layers_put_unpacked(l, u);
	unpacked_unref(u);
}

/* Of layers that have no room beside each other, the small members are known all the same. */
static void members_outlive_their_index(void **state)
{
	(void)state;
	struct layers *l;
	struct digest one = digest(1), two = digest(2), d = content(4711);
	uint64_t at;
	assert_int_equal(layers_new(&l), 0);
	put_many(l, &one);
	put_many(l, &two);
	assert_null(layers_unpacked(l, &one));
	struct small_members *m = layers_members(l, &one);
	assert_non_null(m);
	assert_true(digest_equal(&m->tar, &one));
	assert_true(small_members_find(m, &d, 1 + 4711 % 7, &at));
	assert_int_equal(at, 4711 * 1024 + 512);
	assert_false(small_members_find(m, &d, 2 + 4711 % 7, &at));
	assert_false(small_members_find(m, &two, 1, &at));
	small_members_unref(m);
	layers_drop_unpacked(l, &one);
	assert_null(layers_members(l, &one));
	layers_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_thread_at_a_time),
	    cmocka_unit_test(trees_are_shared),
	    cmocka_unit_test(members_outlive_their_index),
	    cmocka_unit_test(what_cannot_be_unpacked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
