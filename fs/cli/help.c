/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/help.h"

#include <stdbool.h>
#include <string.h>

#define TEXT_COLUMN 27 /* where the words about an option start */

/* Columns, not bytes: continuation bytes of UTF-8 take none. */
static size_t width(const char *s, size_t len)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++)
		n += ((unsigned char)s[i] & 0xC0) != 0x80;
	return n;
}

static void indent(FILE *f, size_t n)
{
	fprintf(f, "%*s", (int)n, "");
}

/* Words from TEXT_COLUMN on; the cursor is at `column`. */
static void wrap(FILE *f, size_t column, const char *text)
{
	if (column + 2 > TEXT_COLUMN) {
		fputc('\n', f);
		column = 0;
	}
	indent(f, TEXT_COLUMN - column);
	column = TEXT_COLUMN;
	bool first = true;
	while (*text != '\0') {
		size_t len = strcspn(text, " ");
		size_t columns = width(text, len);
		if (!first && column + 1 + columns > HELP_WIDTH - 1) {
			fputc('\n', f);
			indent(f, TEXT_COLUMN);
			column = TEXT_COLUMN;
		} else if (!first) {
			fputc(' ', f);
			column++;
		}
		fwrite(text, 1, len, f);
		column += columns;
		text += len + strspn(text + len, " ");
		first = false;
	}
	fputc('\n', f);
}

static void show_option(FILE *f, const struct option_spec *o)
{
	char name[96];
	int n;
	if (o->name == NULL)
		n = snprintf(name, sizeof(name), "  -%c", o->letter);
	else if (o->letter != 0)
		n = snprintf(name, sizeof(name), "  -%c, --%s", o->letter, o->name);
	else
		n = snprintf(name, sizeof(name), "      --%s", o->name);
	if (o->arg != NULL)
		snprintf(name + n, sizeof(name) - (size_t)n, " %s", o->arg);
	fputs(name, f);
	wrap(f, width(name, strlen(name)), o->help);
}

static void show_options(FILE *f, unsigned command)
{
	size_t n;
	const struct option_spec *table = options_table(&n);
	const char *group = NULL;
	for (size_t i = 0; i < n; i++) {
		if ((table[i].commands & command) == 0 || table[i].group == NULL)
			continue;
		if (group == NULL || strcmp(group, table[i].group) != 0)
			fprintf(f, "\n%s:\n", table[i].group);
		group = table[i].group;
		show_option(f, &table[i]);
	}
}

void help_command(FILE *f, const struct command *c)
{
	fprintf(f, "Usage: wasmocifs %s %s\n\n%s\nExamples:\n%s", c->name, c->operands, c->text,
		c->examples);
	show_options(f, c->id);
}

void help_program(FILE *f)
{
	size_t n;
	const struct command *table = commands(&n);
	fputs("Usage: wasmocifs COMMAND [options] …\n"
	      "\n"
	      "Mounts an OCI registry at a path. Every image reference is a file to open: a\n"
	      "WebAssembly runtime runs a component straight from the mount.\n"
	      "\n"
	      "Commands:\n",
	      f);
	for (size_t i = 0; i < n; i++)
		fprintf(f, "  %-9s %s\n", table[i].name, table[i].summary);
	fputs("  help      show the help of a command\n"
	      "\n"
	      "Options:\n"
	      "  -h, --help     show this help\n"
	      "  -V, --version  show the version\n"
	      "\n"
	      "Examples:\n"
	      "  wasmocifs mount ghcr.io /mnt/oci\n"
	      "  wasmtime run /mnt/oci/bytecodealliance/hello:v1/main.wasm\n"
	      "  wasmocifs status\n"
	      "  wasmocifs unmount /mnt/oci\n"
	      "\n"
	      "'wasmocifs help COMMAND' says more about one of them.\n",
	      f);
}
