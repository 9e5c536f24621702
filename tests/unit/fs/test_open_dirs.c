/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "fs/dirlist.h"
#include "fs/open_dirs.h"

static struct dirlist *make_list(unsigned names)
{
	struct dirlist *l = NULL;
	char name[64];
	assert_int_equal(dirlist_new(&l), 0);
	for (unsigned i = 0; i < names; i++) {
		int n = snprintf(name, sizeof(name), "%060u", i);
		assert_int_equal(dirlist_add(l, name, (size_t)n, i + 1, S_IFREG), 0);
	}
	assert_int_equal(dirlist_done(l, 1, 1), 0);
	return l;
}

static void test_life_of_one(void **state)
{
	(void)state;
	struct open_dirs o;
	open_dirs_init(&o);
	open_dirs_start(&o, 3);
	uint64_t one = open_dirs_number(&o), two = open_dirs_number(&o);
	assert_true(one != two && one >> 32 == 3);
	assert_null(open_dirs_list(&o, one));
	struct dirlist *l = make_list(3), *other = make_list(4);
	open_dirs_fill(&o, one, l);
	open_dirs_fill(&o, one, other); /* the first one stays */
	dirlist_unref(other);
	struct dirlist *got = open_dirs_list(&o, one);
	assert_ptr_equal(got, l);
	dirlist_unref(l);
	open_dirs_close(&o, one);
	open_dirs_close(&o, one);
	open_dirs_close(&o, two);
	assert_null(open_dirs_list(&o, one));
	assert_int_equal(dirlist_count(got), 5); /* who reads it still has it */
	dirlist_unref(got);
	assert_int_equal(o.bytes, 0);
	open_dirs_release(&o);
}

/* However many are open, their lists take so much memory at the most; what is read stays. */
static void test_bounded(void **state)
{
	(void)state;
	struct open_dirs o;
	open_dirs_init(&o);
	open_dirs_start(&o, 1);
	uint64_t first = open_dirs_number(&o), second = open_dirs_number(&o), last = 0;
	struct dirlist *l = make_list(100000);
	size_t each = dirlist_bytes(l);
	open_dirs_fill(&o, first, l);
	open_dirs_fill(&o, second, l);
	for (size_t i = 0; i < 3 * (OPEN_DIRS_BYTES / each); i++) {
		last = open_dirs_number(&o);
		open_dirs_fill(&o, last, l);
		assert_true(o.bytes <= OPEN_DIRS_BYTES);
		struct dirlist *got = open_dirs_list(&o, first);
		assert_ptr_equal(got, l);
		dirlist_unref(got);
	}
	assert_null(open_dirs_list(&o, second));
	struct dirlist *got = open_dirs_list(&o, last);
	assert_ptr_equal(got, l);
	dirlist_unref(got);
	dirlist_unref(l);
	open_dirs_release(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_life_of_one),
	    cmocka_unit_test(test_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
