/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/handover.h"

static void test_what_is_left_is_found(void **state)
{
	(void)state;
	struct handover *one = NULL, *two = NULL;
	struct err err;
	assert_int_equal(handover_new(&one, &err), 0);
	for (unsigned i = 0; i < HANDOVER_BUFFERS; i++) {
		memset(handover_buffer(one, i), (int)i + 1, HANDOVER_BUFFER);
		*handover_progress(one, i) = 10 + i;
	}
	handover_init(one)->request_len = 7;
	assert_int_equal(handover_attach(handover_fd(one), &two, &err), 0);
	handover_free(one);
	for (unsigned i = 0; i < HANDOVER_BUFFERS; i++) {
		const unsigned char *at = handover_buffer(two, i);
		assert_int_equal(at[0], i + 1);
		assert_int_equal(at[HANDOVER_BUFFER - 1], i + 1);
		assert_int_equal(*handover_progress(two, i), 10 + i);
		handover_done(two, i);
		assert_int_equal(at[0] | at[1] | at[2] | at[3], 0);
		assert_int_equal(*handover_progress(two, i), 0);
	}
	assert_int_equal(handover_init(two)->request_len, 7);
	handover_free(two);
	handover_free(NULL);
}

static void test_what_is_none(void **state)
{
	(void)state;
	struct handover *good = NULL, *h = NULL;
	struct err err;
	assert_int_equal(handover_new(&good, &err), 0);
	off_t len = lseek(handover_fd(good), 0, SEEK_END);
	int fd = memfd_create("none", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(handover_attach(fd, &h, &err), -EPROTO);
	assert_int_equal(ftruncate(fd, len), 0);
	assert_int_equal(handover_attach(fd, &h, &err), -EPROTO);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	assert_int_equal(handover_attach(fd, &h, &err), -EPROTO);
	close(fd);
	assert_int_equal(handover_attach(-1, &h, &err), -EBADF);
	handover_init(good)->request_len = HANDOVER_INIT_MAX + 1;
	assert_int_equal(handover_attach(handover_fd(good), &h, &err), -EPROTO);
	handover_free(good);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_is_left_is_found),
	    cmocka_unit_test(test_what_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
