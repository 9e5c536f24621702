/* SPDX-License-Identifier: Apache-2.0 */
/* fs/nodes.h when one process takes the table over from another. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/nodes.h"

#define ROOT UINT64_C(1)

static const struct node_served served = {
    .digest = {.alg = DIGEST_SHA256, .len = 32, .bytes = {77}}, .at = 512};

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

static struct nodes *attach(struct nodes *before)
{
	struct nodes *n = NULL;

	assert_int_equal(nodes_attach(nodes_fd(before), &n, NULL), 0);
	nodes_free(before);
	return n;
}

static void check_open(void *ctx, const struct node *node, const struct node_open *open,
		       const struct node_served *from)
{
	unsigned *seen = ctx;

	assert_true(open->fh != 0);
	if (node) {
		assert_true(digest_equal(&from->digest, &served.digest));
		assert_int_equal(from->at, served.at);
	}
	++*seen;
}

/* What was done for a request whose answer never arrived is undone when it comes again. */
static void test_resent(void **state)
{
	struct nodes *n = new_table();
	uint64_t id = get_content(n, NODE_CONTENT, 1, 10, "r"), made;
	struct digest d = digest_from(3), got;
	struct node_key key = dir_key(ROOT, NODE_NAMESPACE, "a");
	struct node_open open;
	struct node node;

	(void)state;
	assert_int_equal(node_open_set(n, id, 100, &served, NODE_OPEN_ORDINARY, 0, &open), 0);
	assert_int_equal(node_made_open(n, 102, &d, &made), 0);
	assert_int_equal(node_get(n, &key, 104, &node), 0);
	node_answered(n, 104);
	assert_int_equal(node_get(n, &key, 106, &node), 0);

	n = attach(n);
	unsigned seen = 0;
	nodes_each_open(n, check_open, &seen);
	assert_int_equal(seen, 2);
	struct nodes_usage u;
	nodes_usage(n, &u);
	assert_int_equal(u.handles, 2);
	assert_int_equal(u.lookups, 3);
	assert_int_equal(node_open_undo(n, 100, &open), -ENOENT);
	assert_int_equal(node_open_undo(n, 100 | NODE_UNIQUE_RESENT, &open), 0);
	assert_int_equal(open.opens, 0);
	assert_int_equal(node_open_undo(n, 100 | NODE_UNIQUE_RESENT, &open), -ENOENT);
	assert_int_equal(node_open_undo(n, 102 | NODE_UNIQUE_RESENT, &open), -ENOENT);
	assert_int_equal(node_made_read(n, made, &got), -ESTALE);
	/* Answered: it would not come again. Not answered: its count is taken back. */
	assert_int_equal(node_get(n, &key, 104 | NODE_UNIQUE_RESENT, &node), 0);
	nodes_usage(n, &u);
	assert_int_equal(u.lookups, 4);
	assert_int_equal(node_get(n, &key, 106 | NODE_UNIQUE_RESENT, &node), 0);
	nodes_usage(n, &u);
	assert_int_equal(u.lookups, 4);
	node_forget(n, node.id, 3);
	assert_false(exists(n, node.id));
	nodes_free(n);
}

/* In a process that will be killed: nodes, opens and forgets without end. */
static void live(struct nodes *n, unsigned seed)
{
	for (;;) {
		char name[300], place[300];
		struct node dir, below, content;
		struct node_open open;
		unsigned x = (unsigned)rand_r(&seed);

		(void)snprintf(name, sizeof(name), "dir%u%0*u", x % 50, (int)(x % 200) + 1, 7u);
		(void)snprintf(place, sizeof(place), "p%0*u", (int)(x % 250) + 1, x % 9);
		struct node_key key = dir_key(ROOT, NODE_NAMESPACE, name);
		if (node_get(n, &key, x | 1, &dir) < 0)
			continue;
		node_answered(n, x | 1);
		struct node_key deeper = dir_key(dir.id, NODE_TAG, "below");
		int r = node_get(n, &deeper, x | 1, &below);
		int c = try_content(n, NODE_CONTENT, x % 40, 5, place, &content);
		int o = c == 0 ? node_open_get(n, content.id, x, &served, &open) : -1;
		if (o == -ENOENT)
			o = node_open_set(n, content.id, x, &served, NODE_OPEN_PASSTHROUGH,
					  (int)x % 99 + 1, &open);
		if (r == 0 && x % 7 == 0)
			node_detach(n, below.id);
		if (o == 0)
			(void)!node_open_put(n, open.fh, &open);
		if (c == 0)
			node_forget(n, content.id, 1);
		if (r == 0)
			node_forget(n, below.id, 1);
		node_forget(n, dir.id, 1);
	}
}

/* Killed wherever it is, it leaves a table that the next one can use, and that is empty
 * again once everything is forgotten. */
static void test_killed_processes(void **state)
{
	struct nodes *n = new_table();
	struct nodes_usage u;
	uint64_t first_bytes;

	(void)state;
	nodes_usage(n, &u);
	first_bytes = u.bytes;
	for (unsigned round = 0; round < 200; round++) {
		pid_t pid = fork();
		if (pid == 0)
			live(n, round + 1);
		(void)usleep((unsigned)rand() % 3000);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		n = attach(n);
	}
	/* What it was counting or had open is left: one of each for each kill, at most. */
	nodes_usage(n, &u);
	assert_true(u.nodes <= 1 + 3 * 200);
	assert_true(u.handles <= 200);
	assert_true(u.lookups <= 3 * 200);
	assert_true(u.bytes < first_bytes + (2u << 20));
	nodes_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_resent),
	    cmocka_unit_test(test_killed_processes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
