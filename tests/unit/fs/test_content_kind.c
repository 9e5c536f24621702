/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "fs/names.h"

#define BYTES(s) s, sizeof(s) - 1

#define ZEROS_64                                                                                   \
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"                         \
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define ZEROS_256 ZEROS_64 ZEROS_64 ZEROS_64 ZEROS_64

static void magics_are_known(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t len;
		const char *kind;
		bool wasm;
	} v[] = {
	    {BYTES("\0asm\1\0\0\0"), "module", true},
	    {BYTES("\0asm\1\0\0\0\0\1\0"), "module", true},
	    {BYTES("\0asm\x0d\0\1\0"), "component", true},
	    {BYTES("\0asm\x0d\0\2\0"), "spliced", false},
	    {BYTES("\0asm\x0d\0\3\0"), "spliced", false},
	    {BYTES("\0asm\1\0\2\0"), "spliced", false},
	    {BYTES("\0asm\2\0\0\0"), NULL, false},
	    {BYTES("\0asm\1\0\4\0"), NULL, false},
	    {BYTES("\0asm\1\0\0"), NULL, false},
	    {BYTES("\0as"), NULL, false},
	    {BYTES("\177ELF\2\1\1\0"), "aot", false},
	    {BYTES("\x1f\x8b\x08"), "gzip", false},
	    {BYTES("\x28\xb5\x2f\xfd"), "zstd", false},
	    {BYTES(ZEROS_256 "\0ustar"), "tar", false},
	    {BYTES(ZEROS_256 "\0ustar  "), "tar", false},
	    {BYTES(ZEROS_256 "\0usta"), NULL, false},
	    {BYTES(ZEROS_256 "ustar"), NULL, false},
	    {BYTES(" \n{\"a\":1}"), "json", false},
	    {BYTES("[1]"), NULL, false},
	    {BYTES(""), NULL, false},
	    {BYTES("   "), NULL, false},
	    {BYTES("#!/bin/sh\n"), NULL, false},
	    {BYTES("(module)"), "wat", true},
	    {BYTES("(component $x"), "wat", true},
	    {BYTES("( module\n"), "wat", true},
	    {BYTES(";; c\n(; a (; b ;) ;)\t(module"), "wat", true},
	    {BYTES("(modules)"), NULL, false},
	    {BYTES("(func)"), NULL, false},
	    {BYTES("(module\0)"), NULL, false},
	    {BYTES("(; no end"), NULL, false},
	    {BYTES(";; only a comment"), NULL, false},
	    {BYTES("("), NULL, false},
	    {BYTES("(;"), NULL, false},
	    {BYTES("(;;"), NULL, false},
	};
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		/* Of its own, so that a byte too far is found by ASan. */
		char *copy = malloc(v[i].len > 0 ? v[i].len : 1);
		assert_non_null(copy);
		memcpy(copy, v[i].bytes, v[i].len);
		const char *kind = content_kind(copy, v[i].len);
		free(copy);
		if (v[i].kind == NULL) {
			assert_null(kind);
		} else {
			assert_non_null(kind);
			assert_string_equal(kind, v[i].kind);
		}
		assert_int_equal(content_is_wasm(kind), v[i].wasm);
	}
}

static void a_long_licence_is_text(void **state)
{
	(void)state;
	char text[WASM_SNIFF_LEN];
	memset(text, 'x', sizeof(text));
	memcpy(text, ";; ", 3);
	assert_string_equal(content_kind(text, sizeof(text)), "wat");
	memcpy(text, "(; ", 3);
	assert_string_equal(content_kind(text, sizeof(text)), "wat");
	memcpy(text, "xx ", 3);
	assert_null(content_kind(text, sizeof(text)));
	memset(text, ' ', sizeof(text));
	assert_null(content_kind(text, sizeof(text)));
}

static void names_show_wasm(void **state)
{
	(void)state;
	assert_true(name_is_wasm("main.wasm"));
	assert_true(name_is_wasm("a.b.wasm"));
	assert_false(name_is_wasm("wasm"));
	assert_false(name_is_wasm("x.cwasm"));
	assert_false(name_is_wasm("x.wasm.gz"));
	assert_false(name_is_wasm(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(magics_are_known),
	    cmocka_unit_test(a_long_licence_is_text),
	    cmocka_unit_test(names_show_wasm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
