/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "fs/dirlist.h"

static void test_sorted_unique_dotted(void **state)
{
	(void)state;
	struct dirlist *l = NULL;
	assert_int_equal(dirlist_new(&l), 0);
	static const char *const names[] = {"b", "a", "b", "c", "a"};
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(dirlist_add(l, names[i], 1, 10 + i, S_IFDIR), 0);
	assert_int_equal(dirlist_done(l, 1, 2), 0);
	assert_int_equal(dirlist_count(l), 5);
	assert_string_equal(dirlist_at(l, 0).name, ".");
	assert_string_equal(dirlist_at(l, 1).name, "..");
	char seen[3] = "";
	for (size_t i = 2; i < 5; i++)
		seen[dirlist_at(l, i).name[0] - 'a'] = 1;
	assert_memory_equal(seen, "\1\1\1", 3);
	assert_int_equal(dirlist_at(l, 0).ino, 1);
	assert_int_equal(dirlist_at(l, 1).ino, 2);
	dirlist_unref(l);
	dirlist_unref(NULL);
}

static void test_empty(void **state)
{
	(void)state;
	struct dirlist *l = NULL;
	assert_int_equal(dirlist_new(&l), 0);
	assert_int_equal(dirlist_done(l, 1, 1), 0);
	assert_int_equal(dirlist_count(l), 2);
	dirlist_unref(l);
}

static void test_many(void **state)
{
	(void)state;
	struct dirlist *l = NULL;
	char name[16];
	assert_int_equal(dirlist_new(&l), 0);
	for (unsigned i = 0; i < 20000; i++) {
		int n = snprintf(name, sizeof(name), "t%05u", (i * 7919) % 20000);
		assert_int_equal(dirlist_add(l, name, (size_t)n, i + 1, S_IFREG), 0);
	}
	assert_int_equal(dirlist_done(l, 1, 1), 0);
	assert_int_equal(dirlist_count(l), 20002);
	for (size_t i = 0; i < 20002; i++) {
		uint64_t cookie = dirlist_at(l, i).cookie;
		assert_true(cookie > (i > 0 ? dirlist_at(l, i - 1).cookie : 0));
		assert_true(cookie < UINT64_C(1) << 63);
		assert_int_equal(dirlist_after(l, cookie), i + 1);
	}
	assert_int_equal(dirlist_after(l, 0), 0);
	dirlist_unref(l);
}

static struct dirlist *tags(unsigned from, unsigned to)
{
	struct dirlist *l = NULL;
	char name[16];
	assert_int_equal(dirlist_new(&l), 0);
	for (unsigned i = from; i < to; i++) {
		int n = snprintf(name, sizeof(name), "v%u", i);
		assert_int_equal(dirlist_add(l, name, (size_t)n, i + 1, S_IFREG), 0);
	}
	assert_int_equal(dirlist_done(l, 1, 1), 0);
	return l;
}

/* A walk that changes to another list half way sees what is in both, once. */
static void test_walk_goes_on_in_another_list(void **state)
{
	(void)state;
	struct dirlist *one = tags(0, 1000), *two = tags(300, 1300);
	unsigned seen[1300] = {0};
	uint64_t at = 0;
	for (size_t i = 0; i < 500; i++) {
		struct dirlist_entry e = dirlist_at(one, i);
		at = e.cookie;
		if (e.name[0] == 'v')
			seen[strtoul(e.name + 1, NULL, 10)]++;
	}
	for (size_t i = dirlist_after(two, at); i < dirlist_count(two); i++)
		seen[strtoul(dirlist_at(two, i).name + 1, NULL, 10)]++;
	for (size_t i = 0; i < 1300; i++)
		assert_true(i >= 300 && i < 1000 ? seen[i] == 1 : seen[i] <= 1);
	dirlist_unref(one);
	dirlist_unref(two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sorted_unique_dotted),
	    cmocka_unit_test(test_empty),
	    cmocka_unit_test(test_many),
	    cmocka_unit_test(test_walk_goes_on_in_another_list),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
