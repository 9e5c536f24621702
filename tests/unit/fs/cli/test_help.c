/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/cli/help.h"

static size_t columns(const char *line)
{
	size_t n = 0;
	for (; *line != '\0' && *line != '\n'; line++)
		n += ((unsigned char)*line & 0xC0) != 0x80;
	return n;
}

static void assert_fits(const char *text)
{
	for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (columns(line) > HELP_WIDTH)
			fail_msg("%zu columns: %.100s", columns(line), line);
		const char *end = line + strcspn(line, "\n");
		assert_true(end == line || end[-1] != ' ');
	}
}

static char *render(const struct command *c)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	assert_non_null(f);
	if (c != NULL)
		help_command(f, c);
	else
		help_program(f);
	fclose(f);
	return text;
}

static void test_program(void **state)
{
	(void)state;
	size_t n;
	const struct command *table = commands(&n);
	char *text = render(NULL);
	assert_fits(text);
	assert_non_null(strstr(text, "\nExamples:\n"));
	for (size_t i = 0; i < n; i++)
		assert_non_null(strstr(text, table[i].summary));
	free(text);
}

/* In the column of options, since a text may speak of another command's; as a word, since one may
 * be the start of another. */
static bool has_option(const char *text, const char *name)
{
	size_t len = strlen(name);
	const char *at = text;
	while ((at = strstr(at, name)) != NULL) {
		bool in_column = at >= text + 4 &&
				 (strncmp(at - 4, "    ", 4) == 0 || strncmp(at - 2, ", ", 2) == 0);
		at += len;
		if (in_column && *at != '-' && (*at < 'a' || *at > 'z'))
			return true;
	}
	return false;
}

static void test_commands(void **state)
{
	(void)state;
	size_t n, options;
	const struct command *table = commands(&n);
	const struct option_spec *specs = options_table(&options);
	for (size_t i = 0; i < n; i++) {
		char *text = render(&table[i]);
		char name[64];
		assert_fits(text);
		assert_non_null(strstr(text, "\nExamples:\n"));
		for (size_t o = 0; o < options; o++) {
			if (specs[o].name == NULL)
				continue;
			snprintf(name, sizeof(name), "--%s", specs[o].name);
			bool takes = (specs[o].commands & table[i].id) != 0;
			if (takes != has_option(text, name))
				fail_msg("%s and %s", table[i].name, name);
		}
		free(text);
	}
	assert_non_null(command_find("mount"));
	assert_null(command_find("mont"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_program),
	    cmocka_unit_test(test_commands),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
