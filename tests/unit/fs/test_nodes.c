/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/nodes.h"

#define ROOT UINT64_C(1)

static const struct node_served served = {
    .digest = {.alg = DIGEST_SHA256, .len = 32, .bytes = {77}}, .at = 512};

#define MANY  (1u << 20)
#define SLACK (64u << 10) /* bytes: what may be kept of each size of block */

static struct nodes *new_table(void)
{
	struct nodes *n = NULL;

	assert_int_equal(nodes_new(&n, NULL), 0);
	return n;
}

static struct node_key dir_key(uint64_t parent, enum node_kind kind, const char *name)
{
	return (struct node_key){
	    .parent = parent, .kind = kind, .name = name, .name_len = strlen(name)};
}

static struct digest digest_from(uint64_t v)
{
	struct digest d = {.alg = DIGEST_SHA256, .len = 32};

	memcpy(d.bytes, &v, sizeof(v));
	return d;
}

static uint64_t get_dir(struct nodes *n, uint64_t parent, enum node_kind kind, const char *name)
{
	struct node_key key = dir_key(parent, kind, name);
	struct node node;

	assert_int_equal(node_get(n, &key, 0, &node), 0);
	assert_string_equal(node.name, name);
	assert_int_equal(node.kind, kind);
	assert_int_equal(node.parent, parent);
	return node.id;
}

static int try_content(struct nodes *n, enum node_kind kind, uint64_t v, uint64_t size,
		       const char *repo, struct node *ret)
{
	struct digest d = digest_from(v);
	struct node_key key = {.kind = kind, .digest = &d, .size = size, .place = repo};

	return node_get(n, &key, 0, ret);
}

static uint64_t get_content(struct nodes *n, enum node_kind kind, uint64_t v, uint64_t size,
			    const char *repo)
{
	struct node node;

	assert_int_equal(try_content(n, kind, v, size, repo, &node), 0);
	assert_int_equal(node.parent, 0);
	assert_int_equal(node.size, size);
	return node.id;
}

static bool exists(struct nodes *n, uint64_t id)
{
	struct node node;
	int r = node_read(n, id, &node);

	assert_true(r == 0 || r == -ESTALE);
	return r == 0;
}

static struct nodes_usage usage(struct nodes *n)
{
	struct nodes_usage u;

	nodes_usage(n, &u);
	return u;
}

static void test_root(void **state)
{
	struct nodes *n = new_table();
	struct node node;

	(void)state;
	assert_int_equal(node_read(n, ROOT, &node), 0);
	assert_int_equal(node.kind, NODE_ROOT);
	assert_string_equal(node.name, "");
	node_forget(n, ROOT, 1);
	node_forget(n, ROOT, UINT64_MAX);
	assert_true(exists(n, ROOT));
	assert_false(exists(n, 0));
	assert_false(exists(n, 2));
	assert_false(exists(n, UINT64_C(1) << 32 | 1));
	assert_false(exists(n, UINT64_MAX));
	assert_int_equal(usage(n).nodes, 1);
	nodes_free(n);
	nodes_free(NULL);
}

static void test_same_key_is_same_id(void **state)
{
	struct nodes *n = new_table();
	uint64_t a = get_dir(n, ROOT, NODE_NAMESPACE, "a");

	(void)state;
	assert_int_equal(get_dir(n, ROOT, NODE_NAMESPACE, "a"), a);
	assert_int_not_equal(get_dir(n, ROOT, NODE_NAMESPACE, "b"), a);
	assert_int_not_equal(get_dir(n, ROOT, NODE_REFERENCE, "a"), a);
	assert_int_not_equal(get_dir(n, a, NODE_NAMESPACE, "a"), a);

	uint64_t c = get_content(n, NODE_CONTENT, 7, 100, "x");
	assert_int_equal(get_content(n, NODE_CONTENT, 7, 100, "y"), c);
	assert_int_not_equal(get_content(n, NODE_CONTENT, 7, 101, "y"), c);
	assert_int_not_equal(get_content(n, NODE_CONTENT, 8, 100, "y"), c);
	assert_int_not_equal(get_content(n, NODE_CONTENT_WASM, 7, 100, "y"), c);
	assert_int_not_equal(get_content(n, NODE_MAIN_WASM, 7, 100, "y"), c);
	nodes_free(n);
}

static void test_find_does_not_count(void **state)
{
	struct nodes *n = new_table();
	struct node_key key = dir_key(ROOT, NODE_TAGS, "tags");
	struct node node;

	(void)state;
	assert_int_equal(node_find(n, &key, &node), -ENOENT);
	uint64_t id = get_dir(n, ROOT, NODE_TAGS, "tags");
	assert_int_equal(node_find(n, &key, &node), 0);
	assert_int_equal(node.id, id);
	node_forget(n, id, 1);
	assert_int_equal(node_find(n, &key, &node), -ENOENT);
	key.parent = id;
	assert_int_equal(node_find(n, &key, &node), -ENOENT);
	nodes_free(n);
}

static void test_forget_frees_upwards(void **state)
{
	struct nodes *n = new_table();
	uint64_t a = get_dir(n, ROOT, NODE_NAMESPACE, "a");
	uint64_t b = get_dir(n, a, NODE_NAMESPACE, "b");
	uint64_t c = get_dir(n, b, NODE_TAGS, "tags");

	(void)state;
	node_forget(n, a, 1);
	node_forget(n, b, 1);
	assert_true(exists(n, a) && exists(n, b) && exists(n, c));
	assert_int_equal(get_dir(n, a, NODE_NAMESPACE, "b"), b);
	node_forget(n, c, 1);
	assert_false(exists(n, c));
	assert_true(exists(n, a) && exists(n, b));
	node_forget(n, b, 1);
	assert_false(exists(n, a));
	assert_false(exists(n, b));
	assert_int_equal(usage(n).nodes, 1);
	assert_int_equal(usage(n).lookups, 0);
	nodes_free(n);
}

static void test_stale_ids_stay_stale(void **state)
{
	struct nodes *n = new_table();
	uint64_t a = get_dir(n, ROOT, NODE_NAMESPACE, "a");
	struct node_key below = dir_key(a, NODE_NAMESPACE, "x");
	struct digest d;
	struct node node;
	char repo[NODE_REPO_MAX];

	(void)state;
	node_forget(n, a, 1);
	uint64_t b = get_dir(n, ROOT, NODE_NAMESPACE, "b");
	assert_int_equal((uint32_t)b, (uint32_t)a);
	assert_int_not_equal(b, a);
	assert_false(exists(n, a));
	assert_int_equal(node_get(n, &below, 0, &node), -ESTALE);
	assert_int_equal(node_repo(n, a, repo), -ESTALE);
	assert_int_equal(node_content_repo(n, a, repo), -ESTALE);
	assert_int_equal(node_manifest(n, a, &d), -ESTALE);
	assert_int_equal(node_image(n, a, &node), -ESTALE);
	d = digest_from(1);
	assert_int_equal(node_bind(n, a, &d), -ESTALE);
	node_detach(n, a);
	node_forget(n, a, 1);
	assert_true(exists(n, b));
	nodes_free(n);
}

static void test_too_many_forgets_are_no_harm(void **state)
{
	struct nodes *n = new_table();
	uint64_t a = get_dir(n, ROOT, NODE_NAMESPACE, "a");

	(void)state;
	(void)get_dir(n, a, NODE_NAMESPACE, "b");
	node_forget(n, a, 1000);
	assert_true(exists(n, a));
	assert_int_equal(usage(n).lookups, 1);
	nodes_free(n);
}

static void test_paths(void **state)
{
	struct nodes *n = new_table();
	uint64_t a = get_dir(n, ROOT, NODE_NAMESPACE, "acme");
	uint64_t b = get_dir(n, a, NODE_NAMESPACE, "hello");
	uint64_t tags = get_dir(n, b, NODE_TAGS, "tags");
	uint64_t tag = get_dir(n, tags, NODE_TAG, "v1");
	uint64_t layers = get_dir(n, tag, NODE_LAYERS, "layers");
	struct digest d = digest_from(5), e = digest_from(6), got;
	char repo[NODE_REPO_MAX];
	struct node node;

	(void)state;
	assert_int_equal(node_repo(n, ROOT, repo), 0);
	assert_string_equal(repo, "");
	assert_int_equal(node_repo(n, a, repo), 0);
	assert_string_equal(repo, "acme");
	assert_int_equal(node_repo(n, layers, repo), 0);
	assert_string_equal(repo, "acme/hello");

	assert_int_equal(node_manifest(n, layers, &got), -ENOENT);
	assert_int_equal(node_image(n, b, &node), -ENOENT);
	assert_int_equal(node_image(n, layers, &node), 0);
	assert_int_equal(node.id, tag);
	assert_int_equal(node_bind(n, tag, &d), 0);
	assert_int_equal(node_bind(n, tag, &d), 0);
	assert_int_equal(node_bind(n, tag, &e), -EEXIST);
	assert_int_equal(node_bind(n, tags, &e), -EINVAL);
	assert_int_equal(node_manifest(n, layers, &got), 0);
	assert_true(digest_equal(&got, &d));
	assert_int_equal(node_read(n, tag, &node), 0);
	assert_true(digest_equal(&node.digest, &d));
	nodes_free(n);
}

static void test_long_paths(void **state)
{
	struct nodes *n = new_table();
	char name[256], repo[NODE_REPO_MAX];
	uint64_t id = ROOT;
	size_t len = 0;

	(void)state;
	memset(name, 'x', 255);
	name[255] = '\0';
	/* 16 times "<255>/" is 4095 bytes, which is the longest that fits. */
	for (int i = 0; i < 16; i++)
		id = get_dir(n, id, NODE_NAMESPACE, name);
	assert_int_equal(node_repo(n, id, repo), 0);
	len = strlen(repo);
	assert_int_equal(len, NODE_REPO_MAX - 1);
	id = get_dir(n, id, NODE_NAMESPACE, "y");
	assert_int_equal(node_repo(n, id, repo), -ENAMETOOLONG);
	nodes_free(n);
}

static void test_name_limits(void **state)
{
	struct nodes *n = new_table();
	char name[257];
	struct node node;

	(void)state;
	memset(name, 'n', sizeof(name));
	struct node_key key = {
	    .parent = ROOT, .kind = NODE_REFERENCE, .name = name, .name_len = 255};
	assert_int_equal(node_get(n, &key, 0, &node), 0);
	assert_int_equal(strlen(node.name), 255);
	key.name_len = 256;
	assert_int_equal(node_get(n, &key, 0, &node), -ENAMETOOLONG);
	nodes_free(n);
}

static void test_content_repo_is_the_latest(void **state)
{
	struct nodes *n = new_table();
	char repo[NODE_REPO_MAX], longest[NODE_REPO_MAX + 1];
	struct node node;
	uint64_t id = get_content(n, NODE_CONTENT, 1, 10, NULL);

	(void)state;
	assert_int_equal(node_content_repo(n, id, repo), 0);
	assert_string_equal(repo, "");
	(void)get_content(n, NODE_CONTENT, 1, 10, "a/b");
	assert_int_equal(node_content_repo(n, id, repo), 0);
	assert_string_equal(repo, "a/b");
	memset(longest, 'r', NODE_REPO_MAX);
	longest[NODE_REPO_MAX] = '\0';
	assert_int_equal(try_content(n, NODE_CONTENT, 1, 10, longest, &node), -ENAMETOOLONG);
	longest[NODE_REPO_MAX - 1] = '\0';
	(void)get_content(n, NODE_CONTENT, 1, 10, longest);
	(void)get_content(n, NODE_CONTENT, 1, 10, NULL);
	assert_int_equal(node_content_repo(n, id, repo), 0);
	assert_string_equal(repo, longest);
	assert_int_equal(node_repo(n, id, repo), 0);
	assert_string_equal(repo, longest);
	assert_int_equal(node_content_repo(n, ROOT, repo), -ESTALE);
	nodes_free(n);
}

static void test_detach(void **state)
{
	struct nodes *n = new_table();
	uint64_t tags = get_dir(n, ROOT, NODE_TAGS, "tags");
	uint64_t old = get_dir(n, tags, NODE_TAG, "v1");
	struct digest d = digest_from(1), got;

	(void)state;
	assert_int_equal(node_bind(n, old, &d), 0);
	node_detach(n, old);
	node_detach(n, old);
	uint64_t new = get_dir(n, tags, NODE_TAG, "v1");
	assert_int_not_equal(new, old);
	uint64_t below = get_dir(n, old, NODE_LAYERS, "layers");
	assert_int_equal(node_manifest(n, below, &got), 0);
	assert_true(digest_equal(&got, &d));
	assert_int_equal(node_manifest(n, new, &got), -ENOENT);
	node_forget(n, old, 1);
	assert_true(exists(n, old));
	node_forget(n, below, 1);
	assert_false(exists(n, old));
	assert_true(exists(n, new));
	node_detach(n, ROOT);
	assert_int_equal(get_dir(n, tags, NODE_TAG, "v1"), new);
	nodes_free(n);
}

static void test_opens(void **state)
{
	struct nodes *n = new_table();
	uint64_t id = get_content(n, NODE_CONTENT, 1, 10, "r");
	struct node_open one, two, open;

	(void)state;
	assert_int_equal(node_open_get(n, id, 1, &served, &open), -ENOENT);
	assert_int_equal(node_open_put(n, 77, &open), -ESTALE);
	assert_int_equal(node_open_set(n, id, 2, &served, NODE_OPEN_PASSTHROUGH, 42, &one), 0);
	assert_int_equal(one.opens, 1);
	assert_int_equal(nodes_backing_high(n), 42);
	assert_int_equal(node_open_set(n, id, 3, &served, NODE_OPEN_ORDINARY, 0, &open), -EBUSY);
	assert_int_equal(node_open_get(n, id, 4, &served, &two), 0);
	assert_int_equal(two.mode, NODE_OPEN_PASSTHROUGH);
	assert_int_equal(two.backing_id, 42);
	assert_int_equal(two.opens, 2);
	assert_true(one.fh != two.fh && one.fh != 0 && one.node == id);
	/* A FORGET that overtakes the last RELEASE frees nothing that is open. */
	node_forget(n, id, 1);
	assert_true(exists(n, id));
	assert_int_equal(node_open_put(n, one.fh, &open), 0);
	assert_int_equal(open.opens, 1);
	assert_int_equal(node_open_put(n, one.fh, &open), -ESTALE);
	assert_int_equal(node_open_put(n, two.fh, &open), 0);
	assert_int_equal(open.opens, 0);
	assert_int_equal(open.node, id);
	assert_int_equal(open.backing_id, 42);
	assert_false(exists(n, id));
	assert_int_equal(node_open_get(n, id, 5, &served, &open), -ESTALE);
	assert_int_equal(node_open_set(n, id, 6, &served, NODE_OPEN_ORDINARY, 0, &open), -ESTALE);
	nodes_free(n);
}

static void test_made(void **state)
{
	struct nodes *n = new_table();
	struct digest d = digest_from(3), got;
	uint64_t one, two;

	(void)state;
	assert_int_equal(node_made_open(n, 8, &d, &one), 0);
	assert_int_equal(node_made_open(n, 10, &d, &two), 0);
	assert_true(one != two);
	assert_int_equal(node_made_read(n, one, &got), 0);
	assert_true(digest_equal(&got, &d));
	node_made_close(n, one);
	node_made_close(n, one);
	assert_int_equal(node_made_read(n, one, &got), -ESTALE);
	assert_int_equal(node_made_read(n, two, &got), 0);
	nodes_free(n);
}

static void test_memory_comes_back(void **state)
{
	struct nodes *n = new_table();
	uint64_t *ids = malloc(MANY * sizeof(*ids));
	uint64_t before = usage(n).bytes;

	(void)state;
	assert_non_null(ids);
	assert_true(before <= SLACK);
	for (uint32_t i = 0; i < MANY; i++) {
		char name[24];

		(void)snprintf(name, sizeof(name), "%08x", i);
		if (i % 4 == 0)
			ids[i] = get_content(n, NODE_CONTENT, i, i, name);
		else
			ids[i] = get_dir(n, i % 64 == 1 || i < 64 ? ROOT : ids[i - i % 64 + 1],
					 NODE_NAMESPACE, name);
	}
	assert_int_equal(usage(n).nodes, MANY + 1);
	assert_int_equal(usage(n).lookups, MANY);
	uint64_t full = usage(n).bytes;
	assert_true(full > before && full < MANY * UINT64_C(180));
	for (uint32_t i = 0; i < MANY; i++)
		node_forget(n, ids[i], 1);
	assert_int_equal(usage(n).nodes, 1);
	assert_true(usage(n).bytes <= before + SLACK);
	free(ids);
	nodes_free(n);
}

/* The same random operations on a model: a plain array of what must be there. */
#define MODEL_NAMES 40
#define MODEL_OPS   200000

struct model {
	uint64_t id; /* 0: not there */
	uint64_t lookups;
};

static void model_step(struct nodes *n, struct model *m, unsigned *seed)
{
	unsigned i = (unsigned)rand_r(seed) % MODEL_NAMES;
	char name[160];
	struct node node;

	/* Lengths of every class, and names that share prefixes. */
	memset(name, 'a' + (int)(i % 3), sizeof(name));
	name[(i * 7) % 150 + 1] = '\0';
	name[0] = (char)('A' + i);
	struct node_key key = dir_key(ROOT, i % 2 ? NODE_NAMESPACE : NODE_REFERENCE, name);
	switch (rand_r(seed) % 3) {
	case 0:
		assert_int_equal(node_get(n, &key, 0, &node), 0);
		if (m[i].id != 0)
			assert_int_equal(node.id, m[i].id);
		m[i].id = node.id;
		m[i].lookups++;
		break;
	case 1:
		assert_int_equal(node_find(n, &key, &node), m[i].id ? 0 : -ENOENT);
		if (m[i].id != 0)
			assert_int_equal(node.id, m[i].id);
		break;
	default:
		if (m[i].id == 0)
			break;
		uint64_t less = 1 + (uint64_t)rand_r(seed) % m[i].lookups;
		node_forget(n, m[i].id, less);
		m[i].lookups -= less;
		assert_int_equal(exists(n, m[i].id), m[i].lookups > 0);
		if (m[i].lookups == 0)
			m[i].id = 0;
	}
}

static void test_random_operations(void **state)
{
	struct model m[MODEL_NAMES] = {0};
	struct nodes *n = new_table();
	unsigned seed = 1;
	uint64_t nodes = 1, lookups = 0;

	(void)state;
	for (int i = 0; i < MODEL_OPS; i++)
		model_step(n, m, &seed);
	for (size_t i = 0; i < MODEL_NAMES; i++) {
		nodes += m[i].id != 0;
		lookups += m[i].lookups;
	}
	assert_int_equal(usage(n).nodes, nodes);
	assert_int_equal(usage(n).lookups, lookups);
	nodes_free(n);
}

static void test_attach(void **state)
{
	struct nodes *n = new_table(), *other = NULL;
	uint64_t a = get_dir(n, ROOT, NODE_NAMESPACE, "a");
	uint64_t b = get_dir(n, a, NODE_NAMESPACE, "b");
	char repo[NODE_REPO_MAX];
	struct node node;

	(void)state;
	assert_int_equal(nodes_attach(nodes_fd(n), &other, NULL), 0);
	assert_int_equal(node_repo(other, b, repo), 0);
	assert_string_equal(repo, "a/b");
	assert_int_equal(get_dir(other, ROOT, NODE_NAMESPACE, "a"), a);
	uint64_t c = get_dir(other, b, NODE_TAGS, "tags");
	assert_int_equal(node_read(n, c, &node), 0);
	assert_int_equal(node.parent, b);
	nodes_free(n);
	assert_int_equal(node_repo(other, c, repo), 0);
	nodes_free(other);
}

static void test_attach_to_what_is_no_table(void **state)
{
	struct nodes *good = new_table(), *n = NULL;
	off_t len = lseek(nodes_fd(good), 0, SEEK_END);
	int fds[2];

	(void)state;
	int fd = memfd_create("no-table", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(nodes_attach(fd, &n, NULL), -EPROTO);
	assert_int_equal(ftruncate(fd, len), 0);
	assert_int_equal(nodes_attach(fd, &n, NULL), -EPROTO);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	struct err err;
	assert_int_equal(nodes_attach(fd, &n, &err), -EPROTO);
	close(fd);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(nodes_attach(fds[0], &n, NULL), -EPROTO);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(nodes_attach(-1, &n, NULL), -EBADF);
	nodes_free(good);
}

/* Everything one can ask, of a table that lies. Only crashes and hangs count. */
static void use_broken(struct nodes *n, const uint64_t *ids, size_t count)
{
	char repo[NODE_REPO_MAX];
	struct node_open open;
	struct digest d = digest_from(9);
	struct node node;

	for (size_t i = 0; i < count; i++) {
		(void)!node_read(n, ids[i], &node);
		(void)!node_repo(n, ids[i], repo);
		(void)!node_content_repo(n, ids[i], repo);
		(void)!node_image(n, ids[i], &node);
		(void)!node_bind(n, ids[i], &d);
		(void)!node_open_get(n, ids[i], i, &served, &open);
		(void)!node_open_put(n, ids[i], &open);
		(void)!node_open_set(n, ids[i], i, &served, NODE_OPEN_ORDINARY, 0, &open);
		(void)!node_made_read(n, ids[i], &d);
		struct node_key key = dir_key(ids[i], NODE_NAMESPACE, "child");
		if (node_get(n, &key, 0, &node) == 0)
			node_forget(n, node.id, 1);
		(void)!try_content(n, NODE_CONTENT, i, i, "some/repository", &node);
	}
	for (size_t i = 0; i < count; i++) {
		node_detach(n, ids[i]);
		node_forget(n, ids[i], 1);
	}
}

/* Overwrites some words of the pages in use with numbers that are often small,
 * so that many of them are plausible. */
static void damage(int fd, unsigned *seed, int words)
{
	off_t len = lseek(fd, 0, SEEK_END);
	off_t at = 0;
	off_t extents[64][2];
	unsigned n = 0;

	while (n < 64 && at < len && (at = lseek(fd, at, SEEK_DATA)) >= 0) {
		extents[n][0] = at;
		at = lseek(fd, at, SEEK_HOLE);
		extents[n++][1] = at;
	}
	for (int i = 0; i < words; i++) {
		unsigned e = (unsigned)rand_r(seed) % n;
		off_t span = (extents[e][1] - extents[e][0]) / 4;
		off_t off = extents[e][0] + (off_t)rand_r(seed) % span * 4;
		uint32_t word = (uint32_t)rand_r(seed) * 2u >> rand_r(seed) % 32;

		if (off >= 16) /* what attach refuses is another test's */
			assert_int_equal(pwrite(fd, &word, sizeof(word), off), sizeof(word));
	}
}

static void test_hostile_table(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 300; seed++) {
		struct nodes *n = new_table(), *other = NULL;
		unsigned rng = seed;
		uint64_t ids[96];

		for (size_t i = 0; i < 96; i++) {
			char name[16];

			(void)snprintf(name, sizeof(name), "node%zu", i);
			ids[i] = i % 3 == 0 ? get_content(n, NODE_CONTENT, i, i, name)
					    : get_dir(n, i > 3 && i % 3 == 1 ? ids[i - 3] : ROOT,
						      NODE_NAMESPACE, name);
		}
		damage(nodes_fd(n), &rng, (int)(seed % 50) * 20 + 1);
		int r = nodes_attach(nodes_fd(n), &other, NULL);
		assert_true(r == 0 || r == -EPROTO);
		if (r == 0)
			use_broken(other, ids, 96);
		nodes_free(other);
		nodes_free(n);
	}
}

#define THREADS       4
#define THREAD_ROUNDS 20000

static void *churn(void *arg)
{
	struct nodes *n = arg;
	unsigned seed = (unsigned)pthread_self();

	for (int i = 0; i < THREAD_ROUNDS; i++) {
		char name[16], repo[NODE_REPO_MAX];
		struct node dir, below;

		(void)snprintf(name, sizeof(name), "%d", rand_r(&seed) % 50);
		struct node_key key = dir_key(ROOT, NODE_NAMESPACE, name);
		assert_int_equal(node_get(n, &key, 0, &dir), 0);
		struct node_key deeper = dir_key(dir.id, NODE_TAG, name);
		assert_int_equal(node_get(n, &deeper, 0, &below), 0);
		assert_int_equal(node_repo(n, below.id, repo), 0);
		assert_string_equal(repo, name);
		node_forget(n, dir.id, 1);
		node_forget(n, below.id, 1);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct nodes *n = new_table();
	pthread_t threads[THREADS];

	(void)state;
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn, n), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(usage(n).nodes, 1);
	assert_int_equal(usage(n).lookups, 0);
	nodes_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_root),
	    cmocka_unit_test(test_same_key_is_same_id),
	    cmocka_unit_test(test_find_does_not_count),
	    cmocka_unit_test(test_forget_frees_upwards),
	    cmocka_unit_test(test_stale_ids_stay_stale),
	    cmocka_unit_test(test_too_many_forgets_are_no_harm),
	    cmocka_unit_test(test_paths),
	    cmocka_unit_test(test_long_paths),
	    cmocka_unit_test(test_name_limits),
	    cmocka_unit_test(test_content_repo_is_the_latest),
	    cmocka_unit_test(test_detach),
	    cmocka_unit_test(test_opens),
	    cmocka_unit_test(test_made),
	    cmocka_unit_test(test_memory_comes_back),
	    cmocka_unit_test(test_random_operations),
	    cmocka_unit_test(test_attach),
	    cmocka_unit_test(test_attach_to_what_is_no_table),
	    cmocka_unit_test(test_hostile_table),
	    cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
