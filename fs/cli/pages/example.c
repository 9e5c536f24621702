/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <string.h>

#include "fs/cli/pages/pages.h"

#define WIDTH 100 /* columns of a comment */

static void comment(FILE *f, const char *text)
{
	size_t column = 0;
	while (*text != '\0') {
		size_t len = strcspn(text, " ");
		if (column > 0 && column + 1 + len > WIDTH)
			column = 0, fputc('\n', f);
		fputs(column == 0 ? "# " : " ", f);
		fwrite(text, 1, len, f);
		column += len + 1 + (column == 0);
		text += len + strspn(text + len, " ");
	}
	fputc('\n', f);
}

static bool is_value(const struct option_spec *o, const char *word, size_t len)
{
	if (o->kind == OPTION_SIZE || o->kind == OPTION_DURATION)
		return isdigit((unsigned char)*word) != 0;
	for (size_t i = 0; o->kind == OPTION_CHOICE && o->choices[i] != NULL; i++) {
		if (strlen(o->choices[i]) == len && strncmp(o->choices[i], word, len) == 0)
			return true;
	}
	return *word == '/';
}

/* Where the help says "(default: 30s, …)". NULL: it has no word for it. */
static const char *default_of(const struct option_spec *o, size_t *ret_len)
{
	static const char mark[] = "(default: ";
	const char *found = strstr(o->help, mark);
	if (found == NULL)
		return NULL;
	found += strlen(mark);
	*ret_len = strcspn(found, " ,;)");
	return is_value(o, found, *ret_len) ? found : NULL;
}

static void write_setting(FILE *f, const struct option_spec *o)
{
	size_t len = 0;
	const char *value = o->arg == NULL ? "false" : default_of(o, &len);
	if (o->arg == NULL)
		len = strlen(value);
	if (value == NULL) {
		value = o->arg;
		len = strlen(value);
	}
	fputc('\n', f);
	comment(f, o->help);
	fprintf(f, "#%s = %.*s\n", o->name, (int)len, value);
}

void example_write(FILE *f)
{
	size_t n;
	const struct option_spec *table = options_table(&n);
	const char *group = NULL;
	fputs("# wasmocifs.conf: options of all mounts, pulls and caches here; see "
	      "wasmocifs.conf(5).\n"
	      "#\n"
	      "# `wasmocifs mount`, `pull`, `cache` and mount(8) read it. What their command line, "
	      "or fstab, says of "
	      "an option\n"
	      "# counts instead. A line here is: option = value\n"
	      "# Below is every option with its default, or with what its value is called.\n",
	      f);
	for (size_t i = 0; i < n; i++) {
		if (table[i].group == NULL || !options_in_file(&table[i]))
			continue;
		if (group == NULL || strcmp(group, table[i].group) != 0)
			fprintf(f, "\n## %s\n", table[i].group);
		group = table[i].group;
		write_setting(f, &table[i]);
	}
}
