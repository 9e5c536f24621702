/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "registry/image_config.h"

#define HEX "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"

static struct image_config *parse(const char *text)
{
	struct image_config *c = NULL;

	assert_int_equal(image_config_parse(text, strlen(text), &c, NULL), 0);
	return c;
}

static void of_an_image(void **state)
{
	struct image_config *c =
	    parse("{\"architecture\":\"wasm\",\"os\":\"wasip1\",\"config\":{"
		  "\"Entrypoint\":[\"/hello.wasm\",\"x\"],\"Cmd\":[\"y\"],\"WorkingDir\":\"/w\","
		  "\"Env\":[\"PATH=/a\",7,\"PATHS=x\",\"PATH=/b:/c\"]},"
		  "\"rootfs\":{\"diff_ids\":[\"sha256:" HEX "\",\"blake3:00\",7]}}");

	(void)state;
	assert_string_equal(c->architecture, "wasm");
	assert_string_equal(c->os, "wasip1");
	assert_int_equal(c->arg_count, 3);
	assert_string_equal(c->args[0], "/hello.wasm");
	assert_string_equal(c->args[2], "y");
	assert_string_equal(c->working_dir, "/w");
	assert_string_equal(c->path, "/b:/c");
	assert_int_equal(c->diff_id_count, 3);
	assert_true(digest_is_set(&c->diff_ids[0]));
	assert_false(digest_is_set(&c->diff_ids[1]));
	assert_false(digest_is_set(&c->diff_ids[2]));
	image_config_free(c);
}

static void of_a_bundle(void **state)
{
	struct image_config *c =
	    parse("{\"wasi\":{\"environment\":{\"a\":\"b\"},\"files\":["
		  "{\"guest\":\"cat.png\",\"digest\":\"sha256:" HEX "\"},{\"guest\":\"x\"},"
		  "{\"digest\":\"sha256:" HEX "\"},7,{\"guest\":\"../y\",\"digest\":\"sha256:" HEX
		  "\"}]}}");

	(void)state;
	assert_int_equal(c->file_count, 2);
	assert_string_equal(c->files[0].guest, "../y");
	assert_string_equal(c->files[1].guest, "cat.png");
	size_t first = 9;
	struct digest other = c->files[0].digest;
	assert_int_equal(image_config_files_of(c, &other, &first), 2);
	assert_int_equal(first, 0);
	other.bytes[0] ^= 1;
	assert_int_equal(image_config_files_of(c, &other, &first), 0);
	image_config_free(c);
}

static void what_is_something_else(void **state)
{
	static const char *const texts[] = {
	    "{}",
	    "{\"os\":7,\"architecture\":null,\"config\":[],\"rootfs\":\"x\",\"wasi\":1}",
	    "{\"config\":{\"Entrypoint\":\"sh -c x\",\"Cmd\":{\"0\":\"x\"},\"WorkingDir\":[]}}",
	    "{\"config\":{\"Entrypoint\":[7,null,\"\",\"a\\u0000b\"]},\"rootfs\":{\"diff_ids\":1}}",
	};
	struct image_config *c = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		c = parse(texts[i]);
		assert_null(c->os);
		assert_int_equal(c->arg_count + c->diff_id_count + c->file_count, 0);
		image_config_free(c);
	}
	assert_int_equal(image_config_parse("[]", 2, &c, NULL), -EPROTO);
	assert_int_equal(image_config_parse("", 0, &c, NULL), -EPROTO);
}

static void more_than_there_may_be(void **state)
{
	static char text[64 * 1024] = "{\"config\":{\"Cmd\":[\"0\"";
	struct image_config *c;

	(void)state;
	for (unsigned i = 0; i < 2 * IMAGE_CONFIG_ARGS_MAX; i++)
		strcat(text, ",\"x\"");
	strcat(text, "]}}");
	c = parse(text);
	assert_int_equal(c->arg_count, IMAGE_CONFIG_ARGS_MAX);
	image_config_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(of_an_image),
	    cmocka_unit_test(of_a_bundle),
	    cmocka_unit_test(what_is_something_else),
	    cmocka_unit_test(more_than_there_may_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
