/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "fs/cli/pages/pages.h"

static const char head[] =
    "# fish completion for wasmocifs\n"
    "\n"
    "function __wasmocifs_mounts\n"
    "    string match -r -- '.* - fuse\\.wasmocifs .*' </proc/self/mountinfo | while read -l line\n"
    "        printf '%b\\n' (string replace -ra '\\\\\\\\([0-7]{3})' '\\\\\\\\0$1' -- (string "
    "split ' ' -- $line)[5])\n"
    "    end\n"
    "end\n"
    "\n"
    "complete -c wasmocifs -f\n"
    "complete -c wasmocifs -n __fish_use_subcommand -s h -l help -d 'show this help'\n"
    "complete -c wasmocifs -n __fish_use_subcommand -s V -l version -d 'show the version'\n"
    "complete -c wasmocifs -n __fish_use_subcommand -a help -d 'show the help of a command'\n";

/* Between single quotes. */
static void quoted(FILE *f, const char *s)
{
	fputc('\'', f);
	for (; *s != '\0'; s++)
		fprintf(f, "%s%c", *s == '\'' || *s == '\\' ? "\\" : "", *s);
	fputc('\'', f);
}

static void write_words(FILE *f)
{
	size_t n;
	const struct option_spec *table = options_table(&n);
	fputs("\nfunction __wasmocifs_words\n    printf '%s\\n'", f);
	for (size_t i = 0; i < n; i++) {
		if (table[i].group != NULL && options_in_words(&table[i]))
			fprintf(f, " %s%s", table[i].name, table[i].arg != NULL ? "=" : "");
	}
	fputs("\nend\n", f);
}

/* a|b|c between blanks. */
static void write_split(FILE *f, const char *words, size_t len)
{
	for (size_t i = 0; i < len; i++)
		fputc(words[i] == '|' ? ' ' : words[i], f);
}

static void write_fill(FILE *f, enum fill fill, const char *words, size_t len)
{
	switch (fill) {
	case FILL_NOTHING:
	case FILL_COMMAND:
		break;
	case FILL_FILE:
		fputs(" -F", f);
		break;
	case FILL_DIRECTORY:
		fputs(" -a '(__fish_complete_directories (commandline -ct))'", f);
		break;
	case FILL_MOUNT:
		fputs(" -a '(__wasmocifs_mounts)'", f);
		break;
	case FILL_CHOICE:
		fputs(" -a '", f);
		write_split(f, words, len);
		fputc('\'', f);
		break;
	case FILL_WORDS:
		fputs(" -a '(__fish_complete_list , __wasmocifs_words)'", f);
		break;
	}
}

/* An option that goes with some of the words that the first operand may be: as long as there is
 * none, it may become any. */
static void write_condition(FILE *f, const struct command *c, const struct option_spec *o)
{
	char with[OPTION_WORDS_MAX];
	const char *words = "";
	size_t len = words_of_command(c, &words);
	fprintf(f, "complete -c wasmocifs -n '__fish_seen_subcommand_from %s", c->name);
	if (option_goes(o, c, with) == GOES_WITH) {
		fputs("; and begin; not __fish_seen_subcommand_from ", f);
		write_split(f, words, len);
		fputs("; or __fish_seen_subcommand_from ", f);
		write_split(f, with, strlen(with));
		fputs("; end", f);
	}
	fputc('\'', f);
}

static void write_option(FILE *f, const struct command *c, const struct option_spec *o)
{
	enum fill fill = fill_of_option(o);
	write_condition(f, c, o);
	if (o->letter != 0)
		fprintf(f, " -s %c", o->letter);
	if (o->name != NULL)
		fprintf(f, " -l %s", o->name);
	if (o->arg != NULL)
		fputs(fill == FILL_FILE ? " -r" : " -x", f);
	if (fill == FILL_CHOICE) {
		fputs(" -a '", f);
		write_choices(f, o);
		fputc('\'', f);
	} else {
		write_fill(f, fill, "", 0);
	}
	fputs(" -d ", f);
	quoted(f, o->help);
	fputc('\n', f);
}

static void write_operand(FILE *f, const struct command *c, bool first)
{
	const char *words = "";
	size_t len = 0;
	enum fill fill = fill_of_operand(c, first, &words, &len);
	if (fill == FILL_NOTHING)
		return;
	fprintf(f, "complete -c wasmocifs -n '__fish_seen_subcommand_from %s", c->name);
	if (fill == FILL_CHOICE) {
		fputs("; and not __fish_seen_subcommand_from ", f);
		write_split(f, words, len);
	}
	fputc('\'', f);
	write_fill(f, fill, words, len);
	fputc('\n', f);
}

void fish_write(FILE *f)
{
	size_t n, n_options;
	const struct command *table = commands(&n);
	const struct option_spec *options = options_table(&n_options);
	fputs(head, f);
	for (size_t i = 0; i < n; i++) {
		fprintf(f, "complete -c wasmocifs -n __fish_use_subcommand -a %s -d ",
			table[i].name);
		quoted(f, table[i].summary);
		fputs("\ncomplete -c wasmocifs -n '__fish_seen_subcommand_from help' -a ", f);
		fprintf(f, "%s\n", table[i].name);
	}
	write_words(f);
	for (size_t i = 0; i < n; i++) {
		fputc('\n', f);
		write_operand(f, &table[i], true);
		write_operand(f, &table[i], false);
		for (size_t j = 0; j < n_options; j++) {
			if (option_is_shown(&options[j], table[i].id))
				write_option(f, &table[i], &options[j]);
		}
	}
}
