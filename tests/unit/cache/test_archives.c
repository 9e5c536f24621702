/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cache/support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cache/archives.h"
#include "cache/store_impl.h"

#define LEN 5000

static struct digest named(unsigned seed)
{
	struct digest d;
	free(make_bytes(8, seed, &d));
	return d;
}

static const char *record_file(const struct fixture *f, const struct digest *layer)
{
	char hex[DIGEST_HEX_MAX], name[200];
	digest_hex(layer, hex);
	(void)snprintf(name, sizeof(name), "archives/sha256/%s", hex);
	return path_in(f, name);
}

/* As if it had been made long ago. */
static void age(const char *path)
{
	const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void save(struct fixture *f, const struct digest *layer, const struct digest *tar,
		 const struct digest *index)
{
	struct archive_record rec = {*tar, LEN, *index, LEN};
	assert_int_equal(archives_save(f->store, layer, &rec, &f->err), 0);
}

static int load(struct fixture *f, const struct digest *layer)
{
	struct archive_record rec;
	return archives_load(f->store, layer, &rec, &f->err);
}

static void records_are_read_back(void **state)
{
	struct fixture *f = *state;
	struct digest layer = named(1), tar = named(2), index = named(3);
	struct archive_record rec;
	assert_int_equal(load(f, &layer), -ENOENT);
	save(f, &layer, &tar, &index);
	assert_int_equal(archives_load(f->store, &layer, &rec, &f->err), 0);
	assert_true(digest_equal(&rec.tar, &tar) && digest_equal(&rec.index, &index));
	assert_int_equal(rec.tar_size, LEN);
	assert_int_equal(load(f, &tar), -ENOENT);
}

/* While anything that it leads to is there, a record saves work. */
static void records_of_nothing_are_swept(void **state)
{
	struct fixture *f = *state;
	struct digest layers[4] = {named(1), named(2), named(3), named(4)};
	struct digest tar, index, gone = named(5);
	fetch(f, LEN, 10, &tar);
	fetch(f, LEN, 11, &index);
	settle(f);
	save(f, &layers[0], &tar, &gone);
	save(f, &layers[1], &gone, &index);
	save(f, &layers[2], &gone, &gone);
	save(f, &layers[3], &gone, &gone);
	for (size_t i = 0; i < 3; i++)
		age(record_file(f, &layers[i]));
	sweep(f->store);
	assert_int_equal(load(f, &layers[0]), 0);
	assert_int_equal(load(f, &layers[1]), 0);
	assert_int_equal(load(f, &layers[2]), -ENOENT);
	assert_int_equal(load(f, &layers[3]), 0); /* young */
	assert_int_equal(count_files(f, "archives/sha256"), 3);
}

static void what_is_no_record_is_swept(void **state)
{
	struct fixture *f = *state;
	struct digest layer = named(1), gone = named(2);
	save(f, &layer, &gone, &gone);
	AUTO_FD int torn = open(record_file(f, &layer), O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(torn >= 0);
	AUTO_FD int other =
	    open(path_in(f, "archives/sha256/what"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(other >= 0);
	age(record_file(f, &layer));
	age(path_in(f, "archives/sha256/what"));
	sweep(f->store);
	assert_int_equal(count_files(f, "archives/sha256"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(records_are_read_back, make_store, remove_root),
	    cmocka_unit_test_setup_teardown(records_of_nothing_are_swept, make_store, remove_root),
	    cmocka_unit_test_setup_teardown(what_is_no_record_is_swept, make_store, remove_root),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
