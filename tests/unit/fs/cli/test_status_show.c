/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/cli/status.h"
#include "fs/cli/table.h"

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
		status_show_one(f, json_array_get(mounts, 0), TABLE_WIDTH_MIN);
	else
		status_show_table(f, mounts, TABLE_WIDTH_MIN);
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
	assert_string_equal(text, "MOUNTPOINT  SOURCE   STATE  CACHE        HITS  GEN  PID\n"
				  "/mnt/oci    ghcr.io  ok     1023M/1023G  -     -    1234567\n"
				  "\n"
				  "  HOST     STATE  RECEIVED  REASON\n"
				  "  ghcr.io  ok     0 B       connect: refused\n");
	free(text);
	json_decref(all);
}

static int count_fitting(const char *text)
{
	int lines = 0;
	for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1, lines++) {
		if (columns(line) > TABLE_WIDTH_MIN)
			fail_msg("%zu columns: %.*s", columns(line), (int)strcspn(line, "\n"),
				 line);
	}
	return lines;
}

static json_t *make_long(void)
{
	return make("/home/somebody/projects/très-très-long/and/deeper/still/mountpoint",
		    "registry.europe-west4.example.com:5000/team/component-model/nightly",
		    "unknown");
}

/* However long the words are, 80 columns, with both ends of them. */
static void test_fits(void **state)
{
	(void)state;
	json_t *all = json_pack(
	    "[o, o, o]", make_long(),
	    make("/m", "oci:/srv/a/layout/in/some/directory/far/away/from/the/root", "down"),
	    make("/a/b", "x", "ok"));
	char *text = render(all, false);
	assert_int_equal(count_fitting(text), 4 + 3 * 4);
	assert_non_null(strstr(text, "point "));
	assert_non_null(strstr(text, "nightly "));
	free(text);
	json_decref(all);
}

/* Sixty-four hosts, mirrors, and what comes from them: the same, also of one mount, and where
 * numbers are as large as can be. */
static void test_fits_with_much(void **state)
{
	(void)state;
	json_t *mount = make_long(), *hosts = json_array(), *transfers = json_array();
	for (int i = 0; i < 64; i++) {
		char name[256];
		snprintf(name, sizeof(name), "registry-%02d.%0200d.example.com:65535", i, i);
		(void)json_array_append_new(
		    hosts, json_pack("{s:s, s:s, s:b, s:s, s:s, s:I, s:I}", "host", name, "state",
				     "demoted", "mirror", i % 3 == 1, "until",
				     "2006-01-02T15:04:05Z", "reason", name, "bytes",
				     (json_int_t)INT64_MAX, "requests", (json_int_t)INT64_MAX));
		(void)json_array_append_new(
		    transfers,
		    json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:b}", "source", name, "repository",
			      name, "digest", "sha256:0123456789abcdef0123456789abcdef", "size",
			      (json_int_t)INT64_MAX, "bytes", (json_int_t)(INT64_MAX - 1) / 64 * i,
			      "rate", (json_int_t)INT64_MAX / 1000, "queued", i % 5 == 1));
	}
	(void)json_object_set_new(mount, "hosts", hosts);
	(void)json_object_set_new(mount, "transfers", transfers);
	(void)json_object_set_new(mount, "generation", json_integer(UINT32_MAX));
	json_t *cache = json_object_get(mount, "cache");
	(void)json_object_set_new(cache, "hits", json_integer(INT64_MAX));
	json_t *all = json_pack("[o]", mount);
	char *text = render(all, false);
	assert_int_equal(count_fitting(text), 2 + 1 + 1 + 64 + 1 + 64);
	assert_non_null(strstr(text, "registry-63."));
	assert_non_null(strstr(text, "\n  0123456789ab  registry-62."));
	assert_non_null(strstr(text, "queued"));
	assert_non_null(strstr(text, " 98%"));
	assert_non_null(strstr(text, " 100% "));
	free(text);
	text = render(all, true);
	(void)count_fitting(text);
	assert_non_null(strstr(text, "\n  0123456789ab  "));
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
	    cmocka_unit_test(test_small),          cmocka_unit_test(test_fits),
	    cmocka_unit_test(test_fits_with_much), cmocka_unit_test(test_one),
	    cmocka_unit_test(test_hostile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
