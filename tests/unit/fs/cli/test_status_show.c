/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/cli/status.h"

static json_t *make(const char *mountpoint, const char *source, const char *host_state)
{
	return json_pack("{s:s, s:[s], s:s, s:s, s:i, s:{s:s, s:I, s:I}, s:[{s:s, s:s, s:s}]}",
			 "mountpoint", mountpoint, "sources", source, "state", "serving", "version",
			 "0.1.0", "pid", 1234567, "cache", "directory", "/var/cache/wasmocifs",
			 "bytes", (json_int_t)1023 << 20, "limit", (json_int_t)1023 << 30, "hosts",
			 "host", source, "state", host_state, "reason", "connect: refused");
}

static char *render(const json_t *mounts, bool one)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	assert_non_null(f);
	if (one)
		status_show_one(f, json_array_get(mounts, 0));
	else
		status_show_table(f, mounts, STATUS_WIDTH);
	fclose(f);
	return text;
}

static size_t columns(const char *line)
{
	size_t n = 0;
	for (; *line != '\0' && *line != '\n'; line++)
		n += ((unsigned char)*line & 0xC0) != 0x80;
	return n;
}

static void test_small(void **state)
{
	(void)state;
	json_t *all = json_pack("[o]", make("/mnt/oci", "ghcr.io", "ok"));
	char *text = render(all, false);
	assert_string_equal(text, "MOUNTPOINT  SOURCE   STATE  CACHE              PID\n"
				  "/mnt/oci    ghcr.io  ok     1023 MiB/1023 GiB  1234567\n");
	free(text);
	json_decref(all);
}

/* However long the words are, 80 columns, with both ends of them. */
static void test_fits(void **state)
{
	(void)state;
	json_t *all = json_pack(
	    "[o, o, o]",
	    make("/home/somebody/projects/très-très-long/and/deeper/still/mountpoint",
		 "registry.europe-west4.example.com:5000/team/component-model/nightly", "unknown"),
	    make("/m", "oci:/srv/a/layout/in/some/directory/far/away/from/the/root", "down"),
	    make("/a/b", "x", "ok"));
	char *text = render(all, false);
	int lines = 0;
	for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1, lines++)
		assert_true(columns(line) <= STATUS_WIDTH);
	assert_int_equal(lines, 4);
	assert_non_null(strstr(text, "mountpoint "));
	assert_non_null(strstr(text, "nightly "));
	free(text);
	json_decref(all);
}

static void test_one(void **state)
{
	(void)state;
	json_t *all = json_pack("[o]", make("/mnt/oci", "ghcr.io", "down"));
	char *text = render(all, true);
	assert_non_null(strstr(text, "  state     down\n"));
	assert_non_null(strstr(text, "            connect: refused\n"));
	assert_non_null(strstr(text, "1023 MiB of 1023 GiB"));
	free(text);
	json_decref(all);
}

/* A process of another user says what it likes; the terminal must not obey. */
static void test_hostile(void **state)
{
	(void)state;
	json_t *all = json_pack("[o, {}, {s:i, s:s, s:s, s:[]}]",
				make("/mnt/\x1b[2J\n/fake", "\xc2\x9b", "ok\r"), "mountpoint", 3,
				"sources", "none", "cache", "no", "hosts");
	for (int one = 0; one < 2; one++) {
		char *text = render(all, one);
		assert_null(strpbrk(text, "\x1b\r"));
		assert_null(strstr(text, "\xc2\x9b"));
		free(text);
	}
	json_decref(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_small),
	    cmocka_unit_test(test_fits),
	    cmocka_unit_test(test_one),
	    cmocka_unit_test(test_hostile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
