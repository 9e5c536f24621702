/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/toml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "registry/toml_impl.h"

int toml_bad(const struct toml_parser *p, const char *what)
{
	return err_set(p->err, -EINVAL, "line %u: %s", p->line, what);
}

/* ---- nodes ---- */

static void free_all(struct toml *t)
{
	while (t) {
		struct toml *next = t->next;

		free_all(t->first);
		free(t->key);
		free(t->string);
		free(t);
		t = next;
	}
}

void toml_free(struct toml *root)
{
	free_all(root);
}

const struct toml *toml_get(const struct toml *table, const char *key)
{
	for (const struct toml *t = table->first; t; t = t->next)
		if (t->key && strcmp(t->key, key) == 0)
			return t;
	return NULL;
}

static struct toml *find(struct toml *table, const char *key)
{
	for (struct toml *t = table->first; t; t = t->next)
		if (strcmp(t->key, key) == 0)
			return t;
	return NULL;
}

const char *toml_kind_name(enum toml_kind kind)
{
	static const char *const names[] = {"a table", "an array", "a string", "an integer",
					    "true or false"};

	return names[kind];
}

/* Adds an empty table to the end of parent. Takes over *key (NULL in an array). */
static int add(struct toml_parser *p, struct toml *parent, char **key, struct toml **ret)
{
	struct toml *t;

	if (p->nodes++ >= TOML_NODES_MAX)
		return err_set(p->err, -EFBIG, "line %u: more than %d entries", p->line,
			       TOML_NODES_MAX);
	t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(p->err, -ENOMEM, "out of memory");
	t->line = p->line;
	if (key)
		t->key = steal_ptr(key);
	if (parent->last)
		parent->last->next = t;
	else
		parent->first = t;
	parent->last = t;
	*ret = t;
	return 0;
}

/* ---- blanks ---- */

static void skip_blanks(struct toml_parser *p)
{
	p->at += strspn(p->at, " \t");
}

/* Blanks, comments, and the ends of lines: inside arrays and between lines. */
static void skip_lines(struct toml_parser *p)
{
	for (;;) {
		size_t n;

		skip_blanks(p);
		if (*p->at == '#')
			p->at += strcspn(p->at, "\r\n");
		n = toml_newline(p->at);
		if (n == 0)
			return;
		p->line++;
		p->at += n;
	}
}

static int end_line(struct toml_parser *p)
{
	skip_blanks(p);
	if (*p->at == '#')
		p->at += strcspn(p->at, "\r\n");
	if (p->at == p->end || toml_newline(p->at))
		return 0;
	return toml_bad(p, "something follows that does not belong there");
}

/* ---- keys ---- */

static int parse_key(struct toml_parser *p, char **ret)
{
	static const char bare[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	size_t n;

	if (*p->at == '"' || *p->at == '\'')
		return toml_string(p, false, ret);
	n = strspn(p->at, bare);
	if (n == 0)
		return toml_bad(p, "a key is missing, or needs quotes");
	*ret = dup_text(p->at, n);
	p->at += n;
	return *ret ? 0 : err_set(p->err, -ENOMEM, "out of memory");
}

/* The table that a part of a key before the last one names, seen from table. */
static int step(struct toml_parser *p, struct toml *table, char **key, bool header,
		struct toml **ret)
{
	struct toml *t = find(table, *key);
	int r;

	if (!t) {
		r = add(p, table, key, &t);
		if (r == 0)
			t->how = header ? TOML_IMPLIED : TOML_DOTTED;
		*ret = t;
		return r;
	}
	if (header && t->kind == TOML_ARRAY && t->how == TOML_TABLES)
		t = t->last;
	if (t->kind != TOML_TABLE || t->how == TOML_CLOSED || (!header && t->how != TOML_DOTTED))
		return toml_bad(p, "a key adds to what is complete already");
	*ret = t;
	return 0;
}

/* A dotted key up to its last part, which is *ret, in *table. */
static int parse_path(struct toml_parser *p, bool header, struct toml **table, char **ret)
{
	AUTO_FREE char *key = NULL;

	for (int parts = 1;; parts++) {
		int r;

		skip_blanks(p);
		r = parse_key(p, &key);
		if (r < 0)
			return r;
		skip_blanks(p);
		if (*p->at != '.') {
			*ret = steal_ptr(&key);
			return 0;
		}
		if (parts == TOML_DEPTH_MAX)
			return err_set(p->err, -EFBIG, "line %u: a key of more than %d parts",
				       p->line, TOML_DEPTH_MAX);
		p->at++;
		r = step(p, *table, &key, header, table);
		if (r < 0)
			return r;
		free(steal_ptr(&key));
	}
}

/* ---- values ---- */

static int parse_value(struct toml_parser *p, struct toml *ret);

static int parse_pair(struct toml_parser *p, struct toml *table)
{
	AUTO_FREE char *key = NULL;
	struct toml *t;
	int r = parse_path(p, false, &table, &key);

	if (r < 0)
		return r;
	if (*p->at != '=')
		return toml_bad(p, "'=' is missing");
	if (find(table, key))
		return toml_bad(p, "a key for the second time");
	p->at++;
	r = add(p, table, &key, &t);
	if (r < 0)
		return r;
	skip_blanks(p);
	return parse_value(p, t);
}

static int parse_array(struct toml_parser *p, struct toml *ret)
{
	ret->kind = TOML_ARRAY;
	ret->how = TOML_CLOSED;
	p->at++;
	for (skip_lines(p); *p->at != ']'; skip_lines(p)) {
		struct toml *t;
		int r = add(p, ret, NULL, &t);

		if (r == 0)
			r = parse_value(p, t);
		if (r < 0)
			return r;
		skip_lines(p);
		if (*p->at == ',')
			p->at++;
		else if (*p->at != ']')
			return toml_bad(p, "an array goes on with ',' and ends with ']'");
	}
	p->at++;
	return 0;
}

static int parse_inline(struct toml_parser *p, struct toml *ret)
{
	p->at++;
	skip_blanks(p);
	while (*p->at != '}' || ret->first) {
		int r = parse_pair(p, ret);

		if (r < 0)
			return r;
		skip_blanks(p);
		if (*p->at == '}')
			break;
		if (*p->at != ',')
			return toml_bad(p, "a table in a value goes on with ',' and ends with '}', "
					   "on the same line");
		p->at++;
		skip_blanks(p);
	}
	ret->how = TOML_CLOSED;
	p->at++;
	return 0;
}

static int parse_value(struct toml_parser *p, struct toml *ret)
{
	int r;

	if (p->depth == TOML_DEPTH_MAX)
		return err_set(p->err, -EFBIG, "line %u: values more than %d deep", p->line,
			       TOML_DEPTH_MAX);
	p->depth++;
	if (*p->at == '"' || *p->at == '\'') {
		ret->kind = TOML_STRING;
		r = toml_string(p, true, &ret->string);
	} else if (*p->at == '[') {
		r = parse_array(p, ret);
	} else if (*p->at == '{') {
		r = parse_inline(p, ret);
	} else {
		r = toml_word(p, ret);
	}
	p->depth--;
	return r;
}

/* ---- headers ---- */

static int open_table(struct toml_parser *p, struct toml *parent, char **key, struct toml **ret)
{
	struct toml *t = find(parent, *key);
	int r = 0;

	if (!t)
		r = add(p, parent, key, &t);
	else if (t->kind != TOML_TABLE || t->how != TOML_IMPLIED)
		return toml_bad(p, "a table for the second time");
	if (r < 0)
		return r;
	t->how = TOML_HEADER;
	t->line = p->line;
	*ret = t;
	return 0;
}

static int open_element(struct toml_parser *p, struct toml *parent, char **key, struct toml **ret)
{
	struct toml *array = find(parent, *key);
	int r = 0;

	if (!array) {
		r = add(p, parent, key, &array);
		if (r < 0)
			return r;
		array->kind = TOML_ARRAY;
		array->how = TOML_TABLES;
	}
	if (array->kind != TOML_ARRAY || array->how != TOML_TABLES)
		return toml_bad(p, "an array of tables where something else stands already");
	r = add(p, array, NULL, ret);
	if (r == 0)
		(*ret)->how = TOML_HEADER;
	return r;
}

static int parse_header(struct toml_parser *p, struct toml *root, struct toml **ret)
{
	AUTO_FREE char *key = NULL;
	struct toml *parent = root;
	size_t brackets = p->at[1] == '[' ? 2 : 1;
	int r;

	p->at += brackets;
	r = parse_path(p, true, &parent, &key);
	if (r < 0)
		return r;
	if (strncmp(p->at, "]]", brackets) != 0)
		return toml_bad(p, "a table's name ends with ']', that of an array with ']]'");
	p->at += brackets;
	return brackets == 2 ? open_element(p, parent, &key, ret)
			     : open_table(p, parent, &key, ret);
}

/* ---- the whole ---- */

static size_t utf8_len(const unsigned char *s, size_t left)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (n == 0 || s[0] > 0xf4 || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

/* Once for all, so that the rest need not look at each byte. */
static int check_text(struct toml_parser *p)
{
	for (const char *s = p->at; s < p->end;) {
		unsigned char c = (unsigned char)*s;
		size_t n = utf8_len((const unsigned char *)s, (size_t)(p->end - s));

		if (n == 0)
			return toml_bad(p, "not UTF-8");
		if ((c < 0x20 && c != '\t' && !toml_newline(s)) || c == 0x7f)
			return toml_bad(p, "a control character");
		p->line += c == '\n';
		s += n;
	}
	p->line = 1;
	return 0;
}

static int parse_all(struct toml_parser *p, struct toml *root)
{
	struct toml *table = root;
	int r = check_text(p);

	if (r < 0)
		return r;
	for (skip_lines(p); p->at < p->end; skip_lines(p)) {
		r = *p->at == '[' ? parse_header(p, root, &table) : parse_pair(p, table);
		if (r == 0)
			r = end_line(p);
		if (r < 0)
			return r;
	}
	return 0;
}

int toml_parse(const char *text, size_t len, struct toml **ret, struct err *err)
{
	AUTO_FREE char *copy = NULL;
	struct toml_parser p = {.line = 1, .err = err};
	struct toml *root;
	int r;

	if (len > TOML_TEXT_MAX)
		return err_set(err, -EFBIG, "more than %u bytes", TOML_TEXT_MAX);
	copy = dup_text(text, len);
	root = calloc(1, sizeof(*root));
	if (!copy || !root) {
		free(root);
		return err_set(err, -ENOMEM, "out of memory");
	}
	p.at = copy;
	/* A NUL is no part of any text. */
	p.end = copy + strlen(copy);
	root->how = TOML_HEADER;
	root->line = 1;
	r = memchr(text, '\0', len) ? toml_bad(&p, "a NUL byte") : parse_all(&p, root);
	if (r < 0) {
		toml_free(root);
		return r;
	}
	*ret = root;
	return 0;
}

int toml_bool(const struct toml *table, const char *key, bool *ret, struct err *err)
{
	const struct toml *t = toml_get(table, key);

	if (t && t->kind != TOML_BOOLEAN)
		return err_set(err, -EINVAL, "line %u: '%s': neither true nor false", t->line, key);
	if (t)
		*ret = t->boolean;
	return 0;
}
