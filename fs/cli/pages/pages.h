/* SPDX-License-Identifier: Apache-2.0 */
/* pages — what is made of the tables of commands and options besides --help:
 * man pages, completions, and the example of a configuration file. Layer:
 * fs/cli; linked into wasmocifs-pages only, which runs when the program is built.
 *
 * A command or an option that is added to its table is in all of them without
 * another word. What an operand is completed with follows from what its
 * `operands` call it: see enum fill.
 */
#pragma once

#include <stdio.h>

#include "fs/cli/command.h"

/* What stands at a place of a command line. */
enum fill {
	FILL_NOTHING, /* nobody can guess it */
	FILL_FILE,    /* FILE, PATH */
	FILL_DIRECTORY,
	FILL_MOUNT,   /* MOUNTPOINT, without a SOURCE beside it: one of ours */
	FILL_CHOICE,  /* of an option: its choices; of an operand: a|b|c in small letters */
	FILL_WORDS,   /* of -o */
	FILL_COMMAND, /* of help */
};

enum fill fill_of_option(const struct option_spec *o);
/* The first operand, or those behind it. *ret_words of FILL_CHOICE: "a|b|c", and its length. */
enum fill fill_of_operand(const struct command *c, bool first, const char **ret_words,
			  size_t *ret_len);
/* Whether --help shows it, and so the pages do. */
bool option_is_shown(const struct option_spec *o, unsigned command);
/* The words a|b|c that a command's first operand may be; their length, 0: it is free. */
size_t words_of_command(const struct command *c, const char **ret);
/* Whether an option goes with a command: GOES_WITH: with these of its words, "prune|rm", with which
 * the option's help begins ("prune, rm: …"). */
#define OPTION_WORDS_MAX 64
enum goes { GOES_NOT, GOES_ALWAYS, GOES_WITH };
enum goes option_goes(const struct option_spec *o, const struct command *c,
		      char ret_words[OPTION_WORDS_MAX]);
/* a, b, c of FILL_CHOICE, between blanks. */
void write_choices(FILE *f, const struct option_spec *o);

/* docs/man/NAME.in with what its lines ask for:
 *	@synopsis   @commands   @words   @settings   and @VERSION@ anywhere
 * 0, or -errno after a message on stderr. */
NODISCARD int man_write(FILE *f, const char *template);
void bash_write(FILE *f);
void zsh_write(FILE *f);
void fish_write(FILE *f);
/* Every line is a comment: a file that changes nothing. */
void example_write(FILE *f);

/* Text for roff, whatever it begins with: as it stands; or as lines to be filled, with their end.
 */
void roff_text(FILE *f, const char *s, size_t len);
void roff_fill(FILE *f, const char *s, size_t len);
/* A command's or a page's own text: paragraphs; what is indented stays as it is, and becomes
 * entries where it has two columns. */
void roff_prose(FILE *f, const char *text);
void roff_verbatim(FILE *f, const char *text);
