/* SPDX-License-Identifier: Apache-2.0 */
/* For bash alone: it needs nothing of the package bash-completion. */
#include <string.h>

#include "fs/cli/pages/pages.h"

static const char head[] =
    "# bash completion for wasmocifs                              -*- shell-script -*-\n"
    "\n"
    "# The words of $1 that begin with $cur.\n"
    "_wasmocifs_words() {\n"
    "\tmapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$cur\")\n"
    "}\n"
    "\n"
    "_wasmocifs_paths() {\n"
    "\tcompopt -o filenames 2>/dev/null\n"
    "\tmapfile -t COMPREPLY < <(compgen \"$1\" -- \"$cur\")\n"
    "}\n"
    "\n"
    "_wasmocifs_mounts() {\n"
    "\tlocal line path\n"
    "\tlocal -a field\n"
    "\tcompopt -o filenames 2>/dev/null\n"
    "\twhile read -r line; do\n"
    "\t\t[[ $line == *\" - fuse.wasmocifs \"* ]] || continue\n"
    "\t\tread -r -a field <<<\"$line\"\n"
    "\t\tprintf -v path %b \"${field[4]}\"\n"
    "\t\t[[ $path != \"$cur\"* ]] || COMPREPLY+=(\"$path\")\n"
    "\tdone </proc/self/mountinfo\n"
    "}\n"
    "\n"
    "# -o KEY,KEY=VALUE: the word behind the last comma.\n"
    "_wasmocifs_list() {\n"
    "\tlocal before=${cur%\"${cur##*,}\"}\n"
    "\tcompopt -o nospace 2>/dev/null\n"
    "\tmapfile -t COMPREPLY < <(compgen -P \"$before\" -W \"$1\" -- \"${cur##*,}\")\n"
    "}\n"
    "\n"
    "_wasmocifs() {\n"
    "\tlocal cur=${COMP_WORDS[COMP_CWORD]} before=$((COMP_CWORD - 1)) option is_value=''\n"
    "\tlocal command=${COMP_WORDS[1]}\n"
    "\tCOMPREPLY=()\n"
    "\t# bash has cut --option=value, and -o key=value, into three words.\n"
    "\tif [[ $cur == = ]]; then\n"
    "\t\tcur='' is_value=yes\n"
    "\telif [[ ${COMP_WORDS[before]} == = ]]; then\n"
    "\t\tbefore=$((before - 1)) is_value=yes\n"
    "\tfi\n"
    "\toption=${COMP_WORDS[before]}\n"
    "\tlocal start=$before\n"
    "\twhile [[ $is_value && ${COMP_WORDS[start - 1]} == = ]]; do\n"
    "\t\tstart=$((start - 2))\n"
    "\tdone\n"
    "\tif [[ $is_value && ${COMP_WORDS[start - 1]} == -o ]]; then\n"
    "\t\toption=${option##*,}\n"
    "\t\toption=--${option//_/-}\n"
    "\t\t[[ $cur != *,* ]] || option=-o\n"
    "\tfi\n";

static void write_fill(FILE *f, enum fill fill, const char *words, size_t len)
{
	switch (fill) {
	case FILL_NOTHING:
		fputs(":\n", f);
		break;
	case FILL_FILE:
		fputs("_wasmocifs_paths -f\n", f);
		break;
	case FILL_DIRECTORY:
		fputs("_wasmocifs_paths -d\n", f);
		break;
	case FILL_MOUNT:
		fputs("_wasmocifs_mounts\n", f);
		break;
	case FILL_CHOICE:
		fputs("_wasmocifs_words '", f);
		for (size_t i = 0; i < len; i++)
			fputc(words[i] == '|' ? ' ' : words[i], f);
		fputs("'\n", f);
		break;
	case FILL_WORDS:
		fputs("_wasmocifs_list \"$words\"\n", f);
		break;
	case FILL_COMMAND:
		fputs("_wasmocifs_words \"$commands\"\n", f);
		break;
	}
}

static void write_value(FILE *f, const struct option_spec *o)
{
	char words[256] = "";
	FILE *to = fmemopen(words, sizeof(words), "w");
	if (o->choices != NULL && to != NULL)
		write_choices(to, o);
	if (to != NULL)
		(void)fclose(to);
	fputs("\t\t", f);
	if (o->letter != 0)
		fprintf(f, "-%c%s", o->letter, o->name != NULL ? " | " : "");
	if (o->name != NULL)
		fprintf(f, "--%s", o->name);
	fputs(")\n\t\t\t", f);
	write_fill(f, fill_of_option(o), words, strlen(words));
	fputs("\t\t\treturn\n\t\t\t;;\n", f);
}

static void write_names(FILE *f, const struct option_spec *o, bool first)
{
	if (o->letter != 0)
		fprintf(f, "%s-%c", first ? "" : " ", o->letter);
	if (o->name != NULL)
		fprintf(f, "%s--%s", first && o->letter == 0 ? "" : " ", o->name);
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
	fprintf(f,
		"\t\tfor word in \"${COMP_WORDS[@]:2:COMP_CWORD - 2}\" ''; do\n"
		"\t\t\t[[ $word != @(%.*s) ]] || break\n\t\tdone\n",
		(int)len, words);
	for (size_t i = 0; i < n; i++) {
		char with[OPTION_WORDS_MAX];
		if (option_goes(&table[i], c, with) != GOES_WITH)
			continue;
		fprintf(f, "\t\t[[ $word != @(|%s) ]] || options+='", with);
		write_names(f, &table[i], false);
		fputs("'\n", f);
	}
}

static void write_options(FILE *f, const struct command *c)
{
	size_t n;
	const struct option_spec *table = options_table(&n);
	bool any = false;
	for (size_t i = 0; i < n; i++) {
		if (!option_is_shown(&table[i], c->id) || table[i].arg == NULL)
			continue;
		fputs(any ? "" : "\t\tcase $option in\n", f);
		write_value(f, &table[i]);
		any = true;
	}
	fputs(any ? "\t\tesac\n\t\toptions='" : "\t\toptions='", f);
	bool first = true;
	for (size_t i = 0; i < n; i++) {
		char with[OPTION_WORDS_MAX];
		if (option_goes(&table[i], c, with) != GOES_ALWAYS)
			continue;
		write_names(f, &table[i], first);
		first = false;
	}
	fputs("'\n", f);
	write_more_options(f, c);
}

static void write_operands(FILE *f, const struct command *c)
{
	const char *words = "", *more = "";
	size_t len = 0, more_len = 0;
	enum fill first = fill_of_operand(c, true, &words, &len);
	enum fill rest = fill_of_operand(c, false, &more, &more_len);
	fputs("\t\tif [[ $cur == -* ]]; then\n\t\t\t_wasmocifs_words \"$options\"\n", f);
	if (rest != FILL_NOTHING && rest != first) {
		fputs("\t\telif ((COMP_CWORD > 2)); then\n\t\t\t", f);
		write_fill(f, rest, more, more_len);
	}
	/* The word that it may be is there already, wherever it stands. */
	fputs(first == FILL_CHOICE ? "\t\telif [[ ! $word ]]; then\n\t\t\t" : "\t\telse\n\t\t\t",
	      f);
	write_fill(f, first, words, len);
	fputs("\t\tfi\n", f);
}

static void write_lists(FILE *f)
{
	size_t n;
	const struct command *table = commands(&n);
	fputs("\tlocal options word commands='", f);
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%s ", table[i].name);
	fputs("help' words='", f);
	const struct option_spec *all = options_table(&n);
	bool first = true;
	for (size_t i = 0; i < n; i++) {
		if (all[i].group == NULL || !options_in_words(&all[i]))
			continue;
		fprintf(f, "%s%s%s", first ? "" : " ", all[i].name, all[i].arg != NULL ? "=" : "");
		first = false;
	}
	fputs("'\n", f);
}

void bash_write(FILE *f)
{
	size_t n;
	const struct command *table = commands(&n);
	fputs(head, f);
	write_lists(f);
	fputs("\tif ((COMP_CWORD == 1)); then\n"
	      "\t\t_wasmocifs_words \"$commands --help --version -h -V\"\n"
	      "\t\treturn\n"
	      "\tfi\n"
	      "\tcase $command in\n",
	      f);
	for (size_t i = 0; i < n; i++) {
		fprintf(f, "\t%s)\n", table[i].name);
		write_options(f, &table[i]);
		write_operands(f, &table[i]);
		fputs("\t\t;;\n", f);
	}
	fputs("\thelp)\n\t\t", f);
	write_fill(f, FILL_COMMAND, "", 0);
	fputs("\t\t;;\n\tesac\n}\n\ncomplete -F _wasmocifs wasmocifs\n", f);
}
