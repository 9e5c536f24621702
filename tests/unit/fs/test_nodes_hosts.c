/* SPDX-License-Identifier: Apache-2.0 */
/* Below which host a node lies, where there are several registries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "fs/nodes.h"

#define ROOT UINT64_C(1)

static struct nodes *new_table(void)
{
	struct nodes *n = NULL;
	struct err err;
	assert_int_equal(nodes_new(&n, &err), 0);
	return n;
}

static uint64_t get_dir(struct nodes *n, uint64_t parent, enum node_kind kind, const char *name)
{
	struct node node;
	struct node_key key = {
	    .parent = parent, .kind = kind, .name = name, .name_len = strlen(name)};
	assert_int_equal(node_get(n, &key, 0, &node), 0);
	return node.id;
}

static struct digest digest_of_text(void)
{
	struct digest d;
	assert_int_equal(digest_of(DIGEST_SHA256, "text", 4, &d), 0);
	return d;
}

static void assert_host(struct nodes *n, uint64_t id, const char *host, bool itself)
{
	char got[NODE_HOST_SIZE];
	bool got_itself = !itself;
	assert_int_equal(node_host(n, id, got, &got_itself), 0);
	assert_string_equal(got, host);
	assert_int_equal(got_itself, itself);
}

static void test_hosts(void **state)
{
	struct nodes *n = new_table();
	(void)state;
	char repo[NODE_REPO_MAX];
	bool itself;
	uint64_t host = get_dir(n, ROOT, NODE_HOST, "ghcr.io");
	uint64_t other = get_dir(n, ROOT, NODE_HOST, "localhost_5000_");
	uint64_t org = get_dir(n, host, NODE_NAMESPACE, "acme");
	assert_host(n, ROOT, "", false);
	assert_host(n, host, "ghcr.io", true);
	assert_host(n, org, "ghcr.io", false);
	assert_host(n, other, "localhost_5000_", true);
	assert_int_equal(node_repo(n, org, repo), 0);
	assert_string_equal(repo, "acme");
	assert_int_equal(node_repo(n, host, repo), 0);
	assert_string_equal(repo, "");
	node_forget(n, org, 1);
	assert_int_equal(node_host(n, org, repo, &itself), -ESTALE);
	nodes_free(n);
}

/* Where content was found is one thing: the host and the path below it. */
static void test_content_has_its_host(void **state)
{
	struct nodes *n = new_table();
	(void)state;
	char repo[NODE_REPO_MAX];
	struct digest d = digest_of_text();
	struct node_key key = {.kind = NODE_CONTENT, .digest = &d, .size = 5, .place = "a/b"};
	struct node first, second;
	assert_int_equal(node_get(n, &key, 0, &first), 0);
	assert_host(n, first.id, "", false);
	key.host = "ghcr.io";
	key.place = "c";
	assert_int_equal(node_get(n, &key, 0, &second), 0);
	assert_int_equal(first.id, second.id);
	assert_host(n, first.id, "ghcr.io", false);
	assert_int_equal(node_content_repo(n, first.id, repo), 0);
	assert_string_equal(repo, "c");
	key.host = NULL;
	key.place = NULL; /* nothing is said: what is known stays */
	assert_int_equal(node_get(n, &key, 0, &second), 0);
	assert_host(n, first.id, "ghcr.io", false);
	key.host = "localhost_5000_";
	key.place = "d/e sha256:00 1";
	assert_int_equal(node_get(n, &key, 0, &second), 0);
	assert_host(n, first.id, "localhost_5000_", false);
	assert_int_equal(node_content_place(n, first.id, repo), 0);
	assert_string_equal(repo, key.place);
	assert_int_equal(node_content_repo(n, first.id, repo), 0);
	assert_string_equal(repo, "d/e");
	key.host = NULL;
	key.place = "";
	assert_int_equal(node_get(n, &key, 0, &second), 0);
	assert_host(n, first.id, "", false);
	assert_int_equal(node_content_repo(n, first.id, repo), 0);
	assert_string_equal(repo, "");
	nodes_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_hosts),
	    cmocka_unit_test(test_content_has_its_host),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
