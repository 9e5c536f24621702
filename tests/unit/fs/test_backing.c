/* SPDX-License-Identifier: Apache-2.0 */
/* fs/backing.h with a kernel and a blob store made here: the ioctl below takes
 * the place of libc's. With the real kernel: test_session.c. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/lock.h"
#include "cache/store.h"
#include "fs/backing.h"
#include "fs/fuse_uapi.h"
#include "fs/nodes.h"
#include "tests/unit/fs/fake_stream.h"

#define LARGE   ((uint64_t)BACKING_MIN + 1)
#define FUSE_FD 1000

struct blob {
	int fd;
	int refs; /* guarded by mu */
};

static struct lock mu;
static struct cond changed;
static int32_t next_id; /* guarded by mu */
static int open_ids;    /* guarded by mu */
static int asked;       /* guarded by mu: how often the kernel was asked for an id */
static int last_fd;     /* guarded by mu */
static int refuse;      /* guarded by mu: errno of the next ones; 0: none */
static bool hold;       /* guarded by mu: BACKING_OPEN waits */

int blob_fd(const struct blob *b)
{
	return b->fd;
}

const struct digest *blob_digest(const struct blob *b)
{
	static const struct digest d = {.alg = DIGEST_SHA256, .len = 32, .bytes = {5}};

	(void)b;
	return &d;
}

struct blob *blob_ref(struct blob *b)
{
	lock_take(&mu);
	b->refs++;
	lock_drop(&mu);
	return b;
}

void blob_unref(struct blob *b)
{
	if (!b)
		return;
	lock_take(&mu);
	b->refs--;
	lock_drop(&mu);
}

static int refs(struct blob *b)
{
	lock_take(&mu);
	int n = b->refs;
	lock_drop(&mu);
	return n;
}

static int fake_open(const struct uapi_backing_map *map)
{
	int r;

	lock_take(&mu);
	asked++;
	cond_broadcast(&changed);
	while (hold)
		cond_wait(&changed, &mu);
	r = refuse != 0 ? -refuse : ++next_id;
	if (r > 0) {
		last_fd = map->fd;
		open_ids++;
	}
	lock_drop(&mu);
	if (r > 0)
		return r;
	errno = -r;
	return -1;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;

	assert_int_equal(fd, FUSE_FD);
	va_start(ap, request);
	void *arg = va_arg(ap, void *);
	va_end(ap);
	if (request == UAPI_IOC_BACKING_OPEN)
		return fake_open(arg);
	assert_int_equal(request, UAPI_IOC_BACKING_CLOSE);
	lock_take(&mu);
	open_ids--;
	lock_drop(&mu);
	return 0;
}

struct world {
	struct nodes *nodes;
	struct backing_table *table;
	uint64_t node;
	struct blob a, b;
};

static uint64_t new_node(struct nodes *n, uint8_t byte)
{
	struct digest d = {.alg = DIGEST_SHA256, .len = 32, .bytes = {byte}};
	struct node_key key = {.kind = NODE_CONTENT, .digest = &d, .size = LARGE};
	struct node node;

	assert_int_equal(node_get(n, &key, 0, &node), 0);
	return node.id;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	next_id = open_ids = asked = refuse = 0;
	hold = false;
	w->a.fd = 11;
	w->b.fd = 22;
	assert_int_equal(nodes_new(&w->nodes, NULL), 0);
	w->node = new_node(w->nodes, 1);
	assert_int_equal(backing_new(FUSE_FD, true, w->nodes, &w->table), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	backing_free(w->table);
	nodes_free(w->nodes);
	assert_int_equal(open_ids, 0);
	assert_int_equal(w->a.refs, 0);
	assert_int_equal(w->b.refs, 0);
	free(w);
	return 0;
}

static struct backing_open get(struct world *w, uint64_t node, uint64_t size, struct blob *blob)
{
	struct backing_open open;

	backing_get(w->table, node, 0, size, blob, 0, &open);
	assert_non_null(open.blob);
	return open;
}

static void put(struct world *w, uint64_t node, struct backing_open *open)
{
	(void)node;
	backing_put(w->table, open->fh);
	blob_unref(open->blob);
}

static void test_opens_share_one_id_and_one_file(void **state)
{
	struct world *w = *state;
	struct backing_open one = get(w, w->node, LARGE, &w->a);
	struct backing_open two = get(w, w->node, LARGE, &w->b);

	assert_true(one.backing_id > 0);
	assert_int_equal(last_fd, w->a.fd);
	assert_int_equal(two.backing_id, one.backing_id);
	assert_ptr_equal(two.blob, &w->a);
	assert_int_equal(w->b.refs, 0);
	assert_int_equal(asked, 1);
	uint64_t at = 1, size = 0;
	struct blob *serving = backing_blob(w->table, w->node, &at, &size);
	assert_int_equal(at, 0);
	assert_int_equal(size, LARGE);
	assert_ptr_equal(serving, &w->a);
	blob_unref(serving);

	put(w, w->node, &one);
	assert_int_equal(open_ids, 1);
	put(w, w->node, &two);
	assert_int_equal(open_ids, 0);
	assert_null(backing_blob(w->table, w->node, &at, &size));

	struct backing_open three = get(w, w->node, LARGE, &w->b);
	assert_int_equal(asked, 2);
	assert_int_equal(last_fd, w->b.fd);
	put(w, w->node, &three);
}

static void test_small_ones_are_ordinary(void **state)
{
	struct world *w = *state;
	struct backing_open open = get(w, w->node, BACKING_MIN, &w->a);

	assert_int_equal(open.backing_id, 0);
	assert_int_equal(asked, 0);
	put(w, w->node, &open);
	assert_true(backing_enabled(w->table));
}

static void test_refused_for_good(void **state)
{
	static const int errnos[] = {EPERM, ENOSYS, EOPNOTSUPP, ENOTTY};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(errnos); i++) {
		struct backing_table *t;
		struct backing_open open;

		asked = 0;
		refuse = errnos[i];
		assert_int_equal(backing_new(FUSE_FD, true, w->nodes, &t), 0);
		for (int n = 0; n < 2; n++) {
			backing_get(t, w->node, 0, LARGE, &w->a, 0, &open);
			assert_int_equal(open.backing_id, 0);
			backing_put(t, open.fh);
			blob_unref(open.blob);
		}
		assert_false(backing_enabled(t));
		assert_int_equal(asked, 1);
		backing_free(t);
	}
}

static void test_refused_for_one_file(void **state)
{
	struct world *w = *state;

	refuse = ELOOP;
	struct backing_open one = get(w, w->node, LARGE, &w->a);
	refuse = 0;
	/* While it is open so, it stays so. */
	struct backing_open two = get(w, w->node, LARGE, &w->a);
	assert_int_equal(one.backing_id, 0);
	assert_int_equal(two.backing_id, 0);
	put(w, w->node, &one);
	put(w, w->node, &two);
	struct backing_open three = get(w, w->node, LARGE, &w->a);
	assert_true(three.backing_id > 0);
	put(w, w->node, &three);
	assert_true(backing_enabled(w->table));
}

static void test_not_agreed_upon(void **state)
{
	struct world *w = *state;
	struct backing_table *t;
	struct backing_open open;

	assert_int_equal(backing_new(FUSE_FD, false, w->nodes, &t), 0);
	assert_false(backing_enabled(t));
	backing_get(t, w->node, 0, LARGE, &w->a, 0, &open);
	assert_int_equal(open.backing_id, 0);
	assert_int_equal(asked, 0);
	backing_put(t, open.fh);
	blob_unref(open.blob);
	backing_free(t);
}

static void test_no_such_node(void **state)
{
	struct world *w = *state;
	struct backing_open open;

	backing_get(w->table, 77, 0, LARGE, &w->a, 0, &open);
	assert_null(open.blob);
	assert_int_equal(open.backing_id, 0);
	uint64_t at, size;
	assert_null(backing_blob(w->table, 77, &at, &size));
	backing_put(w->table, 77);
	backing_put(w->table, w->node);
}

static void test_free_closes_what_is_open(void **state)
{
	struct world *w = *state;
	struct backing_open open = get(w, w->node, LARGE, &w->a);

	blob_unref(open.blob);
	/* The rest is teardown's to check. */
}

/* A process that comes later goes on with the id that the node is open with. */
static void test_another_process_takes_over(void **state)
{
	struct world *w = *state;
	struct backing_open one = get(w, w->node, LARGE, &w->a), two;
	struct backing_table *t;

	assert_int_equal(backing_new(FUSE_FD, true, w->nodes, &t), 0);
	backing_get(t, w->node, 0, LARGE, &w->b, 0, &two);
	assert_int_equal(two.backing_id, one.backing_id);
	assert_ptr_equal(two.blob, &w->b);
	backing_put(t, one.fh);
	backing_put(t, two.fh);
	backing_put(t, two.fh); /* done again */
	assert_int_equal(open_ids, 0);
	blob_unref(one.blob);
	blob_unref(two.blob);
	backing_free(t);
	/* The first table's entry still names the id; a close too much is no harm. */
	open_ids = 1;
}

struct opener {
	struct world *w;
	struct backing_open open;
};

static void *open_main(void *arg)
{
	struct opener *o = arg;

	o->open = get(o->w, o->w->node, LARGE, &o->w->a);
	return NULL;
}

static void test_openers_wait_for_the_first(void **state)
{
	struct world *w = *state;
	struct opener o[4];
	pthread_t threads[4];

	hold = true;
	for (size_t i = 0; i < 4; i++) {
		o[i].w = w;
		assert_int_equal(pthread_create(&threads[i], NULL, open_main, &o[i]), 0);
	}
	lock_take(&mu);
	while (asked == 0)
		cond_wait(&changed, &mu);
	hold = false;
	cond_broadcast(&changed);
	lock_drop(&mu);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(asked, 1);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(o[i].open.backing_id, o[0].open.backing_id);
		put(w, w->node, &o[i].open);
	}
	assert_int_equal(refs(&w->a), 0);
}

static void *churn(void *arg)
{
	struct world *w = arg;

	for (int i = 0; i < 2000; i++) {
		struct backing_open open = get(w, w->node, LARGE, i % 2 ? &w->a : &w->b);

		put(w, w->node, &open);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct world *w = *state;
	pthread_t threads[4];

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn, w), 0);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(open_ids, 0);
}

static void test_a_stream_serves_until_it_is_closed(void **state)
{
	struct world *w = *state;
	struct stream stream = {0};
	struct backing_open one, two;
	uint64_t at, size;

	/* However large it is, in the ordinary way; and so is who comes with the whole. */
	backing_get_stream(w->table, w->node, 0, LARGE, &stream, &one);
	assert_true(one.fh != 0);
	assert_int_equal(one.backing_id, 0);
	assert_null(one.blob);
	assert_int_equal(stream.users, 1);
	backing_get(w->table, w->node, 0, LARGE, &w->a, 0, &two);
	assert_true(two.fh != 0 && two.fh != one.fh);
	assert_int_equal(two.backing_id, 0);
	assert_null(two.blob);
	assert_ptr_equal(backing_stream(w->table, w->node), &stream);
	assert_null(backing_blob(w->table, w->node, &at, &size));
	assert_false(node_open_is_spoiled(w->nodes, w->node));
	node_open_spoil(w->nodes, w->node);
	assert_true(node_open_is_spoiled(w->nodes, w->node));
	backing_put(w->table, one.fh);
	assert_int_equal(stream.users, 1);
	backing_put(w->table, two.fh);
	assert_int_equal(stream.users, 0);
	assert_false(node_open_is_spoiled(w->nodes, w->node));
	node_open_spoil(w->nodes, w->node);
	assert_false(node_open_is_spoiled(w->nodes, w->node));
	/* Where the whole serves it, it goes on to. */
	struct backing_open three = get(w, w->node, LARGE, &w->a);
	backing_get_stream(w->table, w->node, 0, LARGE, &stream, &one);
	assert_int_equal(one.backing_id, three.backing_id);
	assert_int_equal(stream.users, 0);
	put(w, w->node, &one);
	put(w, w->node, &three);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_opens_share_one_id_and_one_file),
	    TEST(test_small_ones_are_ordinary),
	    TEST(test_refused_for_good),
	    TEST(test_refused_for_one_file),
	    TEST(test_not_agreed_upon),
	    TEST(test_no_such_node),
	    TEST(test_free_closes_what_is_open),
	    TEST(test_another_process_takes_over),
	    TEST(test_a_stream_serves_until_it_is_closed),
	    TEST(test_openers_wait_for_the_first),
	    TEST(test_threads),
	};

	lock_init(&mu);
	cond_init(&changed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
