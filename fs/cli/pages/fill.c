/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <string.h>

#include "fs/cli/pages/pages.h"

/* By what the value is called where its kind says nothing: a new kind needs no line here. */
enum fill fill_of_option(const struct option_spec *o)
{
	const char *arg = o->arg != NULL ? o->arg : "";
	if (o->choices != NULL)
		return FILL_CHOICE;
	if (o->kind == OPTION_WORDS)
		return FILL_WORDS;
	if (o->kind == OPTION_DIRECTORY || o->kind == OPTION_TREE || strstr(arg, "DIR") != NULL)
		return FILL_DIRECTORY;
	if (o->kind == OPTION_FILE || o->kind == OPTION_CERTIFICATES || o->kind == OPTION_CONFIG ||
	    strstr(arg, "FILE") != NULL)
		return FILL_FILE;
	return FILL_NOTHING;
}

static bool is_choice(const char *word, size_t len)
{
	bool small = false;
	for (size_t i = 0; i < len; i++) {
		if (isupper((unsigned char)word[i]))
			return false;
		small = small || islower((unsigned char)word[i]);
	}
	return small && memchr(word, '|', len) != NULL;
}

static bool says(const char *word, size_t len, const char *what)
{
	return memmem(word, len, what, strlen(what)) != NULL;
}

static enum fill fill_of_word(const struct command *c, const char *word, size_t len)
{
	if (is_choice(word, len))
		return FILL_CHOICE;
	if (says(word, len, "SOURCE"))
		return FILL_DIRECTORY; /* where to mount comes next, or an oci:DIRECTORY */
	if (says(word, len, "MOUNTPOINT"))
		return strstr(c->operands, "SOURCE") != NULL ? FILL_DIRECTORY : FILL_MOUNT;
	if (says(word, len, "DIR"))
		return FILL_DIRECTORY;
	return says(word, len, "PATH") || says(word, len, "FILE") ? FILL_FILE : FILL_NOTHING;
}

enum fill fill_of_operand(const struct command *c, bool first, const char **ret_words,
			  size_t *ret_len)
{
	bool is_first = true;
	size_t len;
	for (const char *p = c->operands; *p != '\0'; p += len + strspn(p + len, " ")) {
		len = strcspn(p, " ");
		if (strncmp(p, "[options]", len) == 0)
			continue;
		/* "PATH…": so may be those that follow. */
		bool here = is_first == first || says(p, len, "…");
		enum fill fill = here ? fill_of_word(c, p, len) : FILL_NOTHING;
		size_t open = *p == '[';
		*ret_words = p + open;
		*ret_len = strcspn(p + open, " ]");
		if (fill != FILL_NOTHING || (is_first && first))
			return fill;
		is_first = false;
	}
	return FILL_NOTHING;
}

size_t words_of_command(const struct command *c, const char **ret)
{
	size_t len = 0;
	return fill_of_operand(c, true, ret, &len) == FILL_CHOICE ? len : 0;
}

static bool has_word(const char *words, size_t len, const char *word, size_t word_len)
{
	for (size_t i = 0, n; i < len; i += n + 1) {
		const char *end = memchr(words + i, '|', len - i);
		n = end != NULL ? (size_t)(end - words) - i : len - i;
		if (n == word_len && memcmp(words + i, word, n) == 0)
			return true;
	}
	return false;
}

static void words_of_option(const struct option_spec *o, const struct command *c, char *out,
			    size_t room)
{
	const char *words = "";
	size_t len = words_of_command(c, &words), at = 0;
	const char *colon = strstr(o->help, ": ");
	out[0] = '\0';
	for (const char *p = o->help; colon != NULL && p < colon;) {
		size_t n = strcspn(p, ",:");
		if (!has_word(words, len, p, n) || at + n + 2 > room) {
			out[0] = '\0';
			return;
		}
		at += (size_t)snprintf(out + at, room - at, "%s%.*s", at > 0 ? "|" : "", (int)n, p);
		p += n + strspn(p + n, ", ");
	}
}

enum goes option_goes(const struct option_spec *o, const struct command *c,
		      char ret_words[OPTION_WORDS_MAX])
{
	if (!option_is_shown(o, c->id))
		return GOES_NOT;
	words_of_option(o, c, ret_words, OPTION_WORDS_MAX);
	return ret_words[0] == '\0' ? GOES_ALWAYS : GOES_WITH;
}

bool option_is_shown(const struct option_spec *o, unsigned command)
{
	return (o->commands & command) != 0 && o->group != NULL;
}

void write_choices(FILE *f, const struct option_spec *o)
{
	for (size_t i = 0; o->choices[i] != NULL; i++)
		fprintf(f, "%s%s", i > 0 ? " " : "", o->choices[i]);
}
