/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/warnings.h"

#include <string.h>

#include "registry/errors.h"

#define WARN_CODE "299"

/* A quoted string, of which `*s` is at the first quote. Cut to what fits. */
static void take_quoted(const char **s, char ret[WARNING_TEXT_MAX])
{
	char raw[WARNING_TEXT_MAX];
	const char *p = *s + 1;
	size_t n = 0;

	for (; *p && *p != '"'; p++) {
		if (*p == '\\' && p[1])
			p++;
		if (n < sizeof(raw))
			raw[n++] = *p;
	}
	*s = *p ? p + 1 : p;
	errors_clean(raw, n, ret, WARNING_TEXT_MAX);
}

/* Behind the next comma that stands in no quotes. */
static void skip_value(const char **s)
{
	const char *p = *s;

	for (bool quoted = false; *p && (quoted || *p != ','); p++) {
		if (quoted && *p == '\\' && p[1])
			p++;
		else if (*p == '"')
			quoted = !quoted;
	}
	*s = *p ? p + 1 : p;
}

bool warnings_parse(const char **s, char ret[WARNING_TEXT_MAX])
{
	ret[0] = '\0';
	while (**s && !ret[0]) {
		const char *p = *s + strspn(*s, " \t,");
		bool ours = strncmp(p, WARN_CODE " ", sizeof(WARN_CODE)) == 0;

		if (ours) {
			p += sizeof(WARN_CODE);
			p += strspn(p, " ");
			p += strcspn(p, " ,\""); /* who warns: "-" */
			p += strspn(p, " ");
			if (*p == '"')
				take_quoted(&p, ret);
		}
		skip_value(&p);
		*s = p;
	}
	return ret[0] != '\0';
}

void warnings_init(struct warnings *w)
{
	*w = (struct warnings){0};
	lock_init(&w->lock);
}

void warnings_release(struct warnings *w)
{
	lock_release(&w->lock);
}

static void note_one(struct warnings *w, const char text[WARNING_TEXT_MAX])
{
	bool known = false;

	lock_take(&w->lock);
	for (size_t i = 0; i < w->n && !known; i++)
		known = strcmp(w->text[i], text) == 0;
	if (!known && w->n < WARNINGS_MAX)
		memcpy(w->text[w->n++], text, WARNING_TEXT_MAX);
	lock_drop(&w->lock);
}

void warnings_add(struct warnings *w, const char *text)
{
	char line[WARNING_TEXT_MAX];

	errors_clean(text, strlen(text), line, sizeof(line));
	if (line[0])
		note_one(w, line);
}

void warnings_note(struct warnings *w, const char *value)
{
	char text[WARNING_TEXT_MAX] = "";

	while (warnings_parse(&value, text))
		note_one(w, text);
}

bool warnings_take(struct warnings *w, char ret[WARNING_TEXT_MAX])
{
	bool any;

	lock_take(&w->lock);
	any = w->taken < w->n;
	if (any)
		memcpy(ret, w->text[w->taken++], WARNING_TEXT_MAX);
	lock_drop(&w->lock);
	return any;
}
