/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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
	static const char *const want[] = {".", "..", "a", "b", "c"};
	assert_int_equal(dirlist_count(l), 5);
	for (size_t i = 0; i < 5; i++)
		assert_string_equal(dirlist_at(l, i).name, want[i]);
	assert_int_equal(dirlist_at(l, 0).ino, 1);
	assert_int_equal(dirlist_at(l, 1).ino, 2);
	dirlist_free(l);
	dirlist_free(NULL);
}

static void test_empty(void **state)
{
	(void)state;
	struct dirlist *l = NULL;
	assert_int_equal(dirlist_new(&l), 0);
	assert_int_equal(dirlist_done(l, 1, 1), 0);
	assert_int_equal(dirlist_count(l), 2);
	dirlist_free(l);
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
	assert_string_equal(dirlist_at(l, 2).name, "t00000");
	assert_string_equal(dirlist_at(l, 20001).name, "t19999");
	dirlist_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sorted_unique_dotted),
	    cmocka_unit_test(test_empty),
	    cmocka_unit_test(test_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
