/* SPDX-License-Identifier: Apache-2.0 */
/* What is unpacked by one thread at a time, and what is remembered of it. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fs/flight.h"
#include "fs/layers.h"
#include "fs/rootfs.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_thread_at_a_time),
	    cmocka_unit_test(trees_are_shared),
	    cmocka_unit_test(what_cannot_be_unpacked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
