/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "fs/cli/pages/pages.h"

static const char head[] = "#compdef wasmocifs\n"
			   "# zsh completion for wasmocifs\n"
			   "\n"
			   "_wasmocifs_mounts() {\n"
			   "\tlocal line\n"
			   "\tlocal -a found\n"
			   "\twhile read -r line; do\n"
			   "\t\t[[ $line == *' - fuse.wasmocifs '* ]] || continue\n"
			   "\t\tfound+=(\"$(printf '%b' \"${${(s: :)line}[5]//\\\\/\\\\0}\")\")\n"
			   "\tdone </proc/self/mountinfo\n"
			   "\tcompadd -- $found\n"
			   "}\n";

/* Inside single quotes, and inside a specification of _arguments. */
static void quoted(FILE *f, const char *s, const char *special)
{
	for (; *s != '\0'; s++) {
		if (*s == '\'')
			fputs("'\\''", f);
		else
			fprintf(f, "%s%c", strchr(special, *s) != NULL ? "\\" : "", *s);
	}
}

static void write_fill(FILE *f, enum fill fill, const char *words, size_t len)
{
	switch (fill) {
	case FILL_NOTHING:
	case FILL_COMMAND:
		break;
	case FILL_FILE:
		fputs("_files", f);
		break;
	case FILL_DIRECTORY:
		fputs("_files -/", f);
		break;
	case FILL_MOUNT:
		fputs("_wasmocifs_mounts", f);
		break;
	case FILL_CHOICE:
		fputc('(', f);
		for (size_t i = 0; i < len; i++)
			fputc(words[i] == '|' ? ' ' : words[i], f);
		fputc(')', f);
		break;
	case FILL_WORDS:
		fputs("_wasmocifs_words", f);
		break;
	}
}

static void write_words(FILE *f)
{
	size_t n;
	const struct option_spec *table = options_table(&n);
	fputs("\n_wasmocifs_words() {\n\t_values -s , -w option", f);
	for (size_t i = 0; i < n; i++) {
		const struct option_spec *o = &table[i];
		if (o->group == NULL || !options_in_words(o))
			continue;
		fprintf(f, " \\\n\t\t'%s[", o->name);
		quoted(f, o->help, "[]:\\");
		fputc(']', f);
		if (o->arg != NULL) {
			fputc(':', f);
			quoted(f, o->arg, "[]:\\");
			fputc(':', f);
			if (fill_of_option(o) == FILL_CHOICE) {
				fputc('(', f);
				write_choices(f, o);
				fputc(')', f);
			} else {
				write_fill(f, fill_of_option(o), "", 0);
			}
		}
		fputc('\'', f);
	}
	fputs("\n}\n", f);
}

static void write_option(FILE *f, const struct option_spec *o)
{
	enum fill fill = fill_of_option(o);
	bool repeated = o->kind == OPTION_HOSTS || o->kind == OPTION_WORDS;
	if (o->letter != 0 && o->name != NULL)
		fprintf(f, "'(-%c --%s)'{-%c,--%s}'[", o->letter, o->name, o->letter, o->name);
	else if (o->name != NULL)
		fprintf(f, "'%s--%s%s[", repeated ? "*" : "", o->name, o->arg != NULL ? "=" : "");
	else
		fprintf(f, "'%s-%c[", repeated ? "*" : "", o->letter);
	quoted(f, o->help, "[]:\\");
	fputc(']', f);
	if (o->arg != NULL) {
		fputc(':', f);
		quoted(f, o->arg, "[]:\\");
		fputc(':', f);
		if (fill == FILL_CHOICE) {
			fputc('(', f);
			write_choices(f, o);
			fputc(')', f);
		} else {
			write_fill(f, fill, "", 0);
		}
	}
	fputc('\'', f);
}

/* Those that go with some of the words that the first operand may be: as long as there is none,
 * it may become any. */
static void write_more_options(FILE *f, const struct command *c)
{
	size_t n;
	const struct option_spec *table = options_table(&n);
	const char *words = "";
	size_t len = words_of_command(c, &words);
	if (len == 0)
		return;
	fprintf(f, "\t\tlocal word=${words[(r)(%.*s)]}\n\t\tlocal -a more=()\n", (int)len, words);
	for (size_t i = 0; i < n; i++) {
		char with[OPTION_WORDS_MAX];
		if (option_goes(&table[i], c, with) != GOES_WITH)
			continue;
		fprintf(f, "\t\t[[ $word == (|%s) ]] && more+=(", with);
		write_option(f, &table[i]);
		fputs(")\n", f);
	}
}

static void write_command(FILE *f, const struct command *c)
{
	size_t n;
	const struct option_spec *table = options_table(&n);
	const char *words = "";
	size_t len = 0;
	fprintf(f, "\t%s)\n", c->name);
	write_more_options(f, c);
	fprintf(f, "\t\t_arguments -s -S%s", words_of_command(c, &words) > 0 ? " $more" : "");
	for (size_t i = 0; i < n; i++) {
		char with[OPTION_WORDS_MAX];
		if (option_goes(&table[i], c, with) != GOES_ALWAYS)
			continue;
		fputs(" \\\n\t\t\t", f);
		write_option(f, &table[i]);
	}
	enum fill fill = fill_of_operand(c, true, &words, &len);
	fputs(" \\\n\t\t\t'1: :", f);
	write_fill(f, fill, words, len);
	fill = fill_of_operand(c, false, &words, &len);
	if (fill != FILL_NOTHING) {
		fputs("' \\\n\t\t\t'*: :", f);
		write_fill(f, fill, words, len);
	}
	fputs("'\n\t\t;;\n", f);
}

void zsh_write(FILE *f)
{
	size_t n;
	const struct command *table = commands(&n);
	fputs(head, f);
	write_words(f);
	fputs("\n_wasmocifs() {\n"
	      "\tlocal context state state_descr line\n"
	      "\ttypeset -A opt_args\n"
	      "\tlocal -a commands=(",
	      f);
	for (size_t i = 0; i < n; i++) {
		fprintf(f, "\n\t\t'%s:", table[i].name);
		quoted(f, table[i].summary, ":\\");
		fputc('\'', f);
	}
	fputs("\n\t\t'help:show the help of a command'\n\t)\n"
	      "\t_arguments -C '(- : *)'{-h,--help}'[show this help]' \\\n"
	      "\t\t'(- : *)'{-V,--version}'[show the version]' '1: :->command' '*:: :->rest' && "
	      "return\n"
	      "\tif [[ $state == command ]]; then\n"
	      "\t\t_describe command commands\n"
	      "\t\treturn\n"
	      "\tfi\n"
	      "\tcase $words[1] in\n",
	      f);
	for (size_t i = 0; i < n; i++)
		write_command(f, &table[i]);
	fputs("\thelp)\n\t\t_describe command commands\n\t\t;;\n\tesac\n}\n\n_wasmocifs \"$@\"\n",
	      f);
}
