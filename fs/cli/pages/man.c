/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "fs/cli/pages/pages.h"

#define TEMPLATE_MAX (256u << 10)

static void text(FILE *f, const char *s)
{
	roff_text(f, s, strlen(s));
}

static void bold(FILE *f, const char *before, const char *name)
{
	fputs("\\fB", f);
	for (const char *s = before; *s != '\0'; s++)
		fputs(*s == '-' ? "\\-" : (char[]){*s, '\0'}, f);
	for (const char *s = name; *s != '\0'; s++)
		fputs(*s == '-' ? "\\-" : (char[]){*s, '\0'}, f);
	fputs("\\fR", f);
}

/* An option's value, and the end of its line. */
static void value(FILE *f, const char *between, const char *arg)
{
	if (arg != NULL) {
		fprintf(f, "%s\\fI", between);
		text(f, arg);
		fputs("\\fR", f);
	}
	fputc('\n', f);
}

static void help(FILE *f, const char *words)
{
	roff_fill(f, words, strlen(words));
}

static void write_option(FILE *f, const struct option_spec *o)
{
	fputs(".TP\n", f);
	if (o->letter != 0)
		bold(f, "-", (char[]){o->letter, '\0'});
	if (o->letter != 0 && o->name != NULL)
		fputs(", ", f);
	if (o->name != NULL)
		bold(f, "--", o->name);
	value(f, " ", o->arg);
	help(f, o->help);
}

static void write_options(FILE *f, unsigned command)
{
	size_t n;
	const struct option_spec *table = options_table(&n);
	const char *group = NULL;
	for (size_t i = 0; i < n; i++) {
		if (!option_is_shown(&table[i], command))
			continue;
		if (group == NULL || strcmp(group, table[i].group) != 0)
			fprintf(f, ".PP\n\\fI%s\\fR:\n", table[i].group);
		group = table[i].group;
		write_option(f, &table[i]);
	}
}

static void write_command(FILE *f, const struct command *c)
{
	fprintf(f, ".SS \"wasmocifs %s ", c->name);
	text(f, c->operands);
	fputs("\"\n", f);
	roff_prose(f, c->text);
	roff_verbatim(f, c->examples);
	write_options(f, c->id);
}

static void write_commands(FILE *f)
{
	size_t n;
	const struct command *table = commands(&n);
	for (size_t i = 0; i < n; i++)
		write_command(f, &table[i]);
}

static void write_synopsis(FILE *f)
{
	size_t n;
	const struct command *table = commands(&n);
	for (size_t i = 0; i < n; i++) {
		fprintf(f, "%s\\fBwasmocifs %s\\fR ", i > 0 ? ".br\n" : "", table[i].name);
		text(f, table[i].operands);
		fputc('\n', f);
	}
}

static void write_words(FILE *f, bool file)
{
	size_t n;
	const struct option_spec *table = options_table(&n);
	for (size_t i = 0; i < n; i++) {
		const struct option_spec *o = &table[i];
		if (o->group == NULL || !(file ? options_in_file(o) : options_in_words(o)))
			continue;
		fputs(".TP\n", f);
		bold(f, "", o->name);
		value(f, file ? " = " : "=", o->arg);
		help(f, o->help);
	}
}

static int write_line(FILE *f, const char *line, const char *where, unsigned number)
{
	const char *version = strstr(line, "@VERSION@");
	if (strcmp(line, "@synopsis") == 0)
		write_synopsis(f);
	else if (strcmp(line, "@commands") == 0)
		write_commands(f);
	else if (strcmp(line, "@words") == 0)
		write_words(f, false);
	else if (strcmp(line, "@settings") == 0)
		write_words(f, true);
	else if (version != NULL)
		fprintf(f, "%.*s%s%s\n", (int)(version - line), line, WASMOCIFS_VERSION,
			version + strlen("@VERSION@"));
	else if (*line != '@')
		fprintf(f, "%s\n", line);
	else
		return fprintf(stderr, "%s:%u: %s is nothing that can be put here\n", where, number,
			       line),
		       -EINVAL;
	return 0;
}

int man_write(FILE *f, const char *template)
{
	AUTO_FREE char *all = NULL;
	size_t len;
	int rc = file_read_followed(template, TEMPLATE_MAX, &all, &len);
	if (rc < 0) {
		fprintf(stderr, "%s: %s\n", template, strerror(-rc));
		return rc;
	}
	char *rest = all;
	unsigned number = 0;
	for (char *line = strsep(&rest, "\n"); line != NULL && rc == 0;
	     line = strsep(&rest, "\n")) {
		/* After the last newline there is none. */
		if (*line != '\0' || rest != NULL)
			rc = write_line(f, line, template, ++number);
	}
	return rc;
}
