/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/fuse_uapi.h"
#include "fs/init.h"

#define ALL UINT64_MAX

/* A kernel's INIT that offers these flags; its length. */
static size_t offer(uint32_t minor, uint64_t flags, struct handover_init *ret)
{
	struct fuse_in_header head = {.opcode = FUSE_INIT, .unique = 2};
	struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION,
				  .minor = minor,
				  .max_readahead = 128u << 10,
				  .flags = (uint32_t)flags,
				  .flags2 = (uint32_t)(flags >> 32)};
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->request, &head, sizeof(head));
	memcpy(ret->request + sizeof(head), &in, sizeof(in));
	ret->request_len = sizeof(head) + sizeof(in);
	return ret->request_len;
}

static struct uapi_init_out answer(struct handover_init *init, bool no_passthrough)
{
	struct uapi_init_out out = {0};
	size_t n = init_answer(init->request, init->request_len, no_passthrough, init->reply);
	init->reply_len = (uint32_t)n;
	assert_true(n > sizeof(struct fuse_out_header));
	memcpy(&out, init->reply + sizeof(struct fuse_out_header),
	       n - sizeof(struct fuse_out_header));
	return out;
}

static void test_takes_only_what_is_offered(void **state)
{
	(void)state;
	struct handover_init init;
	struct init_features f;
	(void)offer(31, FUSE_ASYNC_READ, &init);
	struct uapi_init_out out = answer(&init, false);
	assert_int_equal(out.flags, FUSE_ASYNC_READ);
	assert_int_equal(out.flags2 | out.max_stack_depth | out.max_pages, 0);
	assert_int_equal(out.max_readahead, 128u << 10);
	init_features(&init, &f);
	assert_false(f.passthrough || f.parallel_dirops || f.resend || f.init_ext);
	assert_int_equal(f.max_background, 4096);
}

static void test_takes_what_it_needs_of_all(void **state)
{
	(void)state;
	struct handover_init init;
	struct init_features f;
	(void)offer(45, ALL, &init);
	struct uapi_init_out out = answer(&init, false);
	assert_int_equal(out.flags & (FUSE_AUTO_INVAL_DATA | FUSE_CACHE_SYMLINKS |
				      FUSE_DO_READDIRPLUS | FUSE_WRITEBACK_CACHE),
			 0);
	assert_int_equal(out.max_stack_depth, 1);
	assert_int_equal(out.max_pages, 256);
	init_features(&init, &f);
	assert_true(f.passthrough && f.parallel_dirops && f.resend && f.init_ext);
	out = answer(&init, true);
	init_features(&init, &f);
	assert_false(f.passthrough);
	assert_int_equal(out.max_stack_depth, 0);
}

static void test_what_is_no_init(void **state)
{
	(void)state;
	struct handover_init init;
	struct init_features f;
	unsigned char reply[HANDOVER_INIT_MAX];
	size_t len = offer(45, ALL, &init);
	assert_int_equal(init_answer(init.request, 8, false, reply), 0);
	struct fuse_in_header head = {.opcode = FUSE_LOOKUP};
	memcpy(init.request, &head, sizeof(head));
	assert_int_equal(init_answer(init.request, len, false, reply), 0);
	(void)offer(45, ALL, &init);
	uint32_t major = 8;
	memcpy(init.request + sizeof(head), &major, sizeof(major));
	assert_int_equal(init_answer(init.request, len, false, reply), 0);
	init_features(&init, &f);
	assert_int_equal(f.proto_major, 0);
}

static void put(const char *dir, const char *name, const char *text)
{
	char path[128];
	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void test_limit_of_requests(void **state)
{
	(void)state;
	char dir[] = "/tmp/wasmocifs-init-XXXXXX";
	assert_non_null(mkdtemp(dir));
	assert_int_equal(init_request_limit_ms(dir), 0);
	put(dir, "default_request_timeout", "0\n");
	put(dir, "max_request_timeout", "0\n");
	assert_int_equal(init_request_limit_ms(dir), 0);
	put(dir, "max_request_timeout", "60\n");
	assert_int_equal(init_request_limit_ms(dir), 60000);
	put(dir, "default_request_timeout", "20\n");
	assert_int_equal(init_request_limit_ms(dir), 20000);
	put(dir, "default_request_timeout", "90\n");
	assert_int_equal(init_request_limit_ms(dir), 60000);
	put(dir, "max_request_timeout", "0\n");
	assert_int_equal(init_request_limit_ms(dir), 90000);
	char path[128];
	(void)snprintf(path, sizeof(path), "%s/default_request_timeout", dir);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/max_request_timeout", dir);
	(void)unlink(path);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_takes_only_what_is_offered),
	    cmocka_unit_test(test_takes_what_it_needs_of_all),
	    cmocka_unit_test(test_what_is_no_init),
	    cmocka_unit_test(test_limit_of_requests),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
