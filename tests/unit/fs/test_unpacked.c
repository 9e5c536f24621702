/* SPDX-License-Identifier: Apache-2.0 */
/* Layers, unpacked into a store of this test by the helper, which is this program too. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ftw.h>
#include <zlib.h>

#include "cache/store.h"
#include "fs/archive_helper.h"
#include "fs/unpacked.h"

#define MIB       (1u << 20)
#define GZIP_ONLY (16 + MAX_WBITS) /* of deflateInit2 */

struct fixture {
	char root[64], dir[80];
	struct store *store;
	struct call call;
	struct err err;
};

static int setup(void **state)
{
	static struct fixture f;
	f = (struct fixture){.root = "/tmp/wasmocifs-test-XXXXXX"};
	assert_non_null(mkdtemp(f.root));
	(void)snprintf(f.dir, sizeof(f.dir), "%s/cache", f.root);
	call_init(&f.call, INT64_MAX);
	struct store_options o = {.dir = f.dir, .limit = 1ull << 30, .floor = 1};
	assert_int_equal(store_open(&o, &f.store, &f.err), 0);
	*state = &f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	unpacked_bomb_least = ARCHIVE_BOMB_LEAST;
	store_close(f->store);
	call_release(&f->call);
	return nftw(f->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A tar of one file of `size` bytes: zeros, or what does not compress. */
static char *make_tar(size_t size, bool noise, size_t *ret_len)
{
	size_t len = 512 + size + 1024;
	char *tar = calloc(1, len);
	assert_non_null(tar);
	memcpy(tar, "file", 4);
	memcpy(tar + 100, "0000644", 8);
	(void)snprintf(tar + 124, 12, "%011zo", size);
	tar[156] = '0';
	memcpy(tar + 257, "ustar\00000", 8);
	memset(tar + 148, ' ', 8);
	unsigned sum = 0;
	for (size_t i = 0; i < 512; i++)
		sum += (unsigned char)tar[i];
	(void)snprintf(tar + 148, 8, "%06o", sum);
	uint32_t x = 1;
	for (size_t i = 0; noise && i < size; i++) {
		x = x * 1664525 + 1013904223;
		tar[512 + i] = (char)(x >> 24);
	}
	*ret_len = len;
	return tar;
}

static struct blob *put_gzip(struct fixture *f, const char *data, size_t len)
{
	z_stream z = {0};
	struct digest d;
	struct blob *b = NULL;
	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, GZIP_ONLY, 8, Z_DEFAULT_STRATEGY), Z_OK);
	size_t room = deflateBound(&z, len);
	unsigned char *out = malloc(room);
	assert_non_null(out);
	z.next_in = (unsigned char *)(uintptr_t)data;
	z.avail_in = (unsigned)len;
	z.next_out = out;
	z.avail_out = (unsigned)room;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	size_t packed = room - z.avail_out;
	(void)deflateEnd(&z);
	assert_int_equal(digest_of(DIGEST_SHA256, out, packed, &d), 0);
	assert_int_equal(store_put(f->store, &d, out, packed, &b, &f->err), 0);
	free(out);
	return b;
}

/* What unpacking a layer of such a file comes to. */
static int unpack(struct fixture *f, size_t size, bool noise)
{
	size_t len = 0;
	char *tar = make_tar(size, noise, &len);
	struct blob *layer = put_gzip(f, tar, len);
	struct unpacked *u = NULL;
	free(tar);
	int rc = unpacked_make(f->store, layer, NULL, &f->call, &u, &f->err);
	if (rc == 0) {
		assert_int_equal(u->index->n, 1);
		assert_int_equal(u->index->v[0].size, size);
	}
	unpacked_unref(u);
	blob_unref(layer);
	return rc;
}

/* Far more than it was packed: but little is little. */
static void zeros_below_the_limit(void **state)
{
	struct fixture *f = *state;
	if (unpack(f, 4 * MIB, false) != 0)
		fail_msg("%s", f->err.text);
}

static void a_bomb_by_its_ratio(void **state)
{
	struct fixture *f = *state;
	unpacked_bomb_least = MIB;
	assert_int_equal(unpack(f, 16 * MIB, false), -EFBIG);
	assert_non_null(strstr(f->err.text, "more than 200 times as much"));
}

static void what_is_just_large_is_no_bomb(void **state)
{
	struct fixture *f = *state;
	unpacked_bomb_least = MIB;
	if (unpack(f, 16 * MIB, true) != 0)
		fail_msg("%s", f->err.text);
}

int main(int argc, char **argv)
{
	if (archive_helper_called(argc, argv))
		archive_helper_main(argc, argv);
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(zeros_below_the_limit, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_bomb_by_its_ratio, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_just_large_is_no_bomb, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
