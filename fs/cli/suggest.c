/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/suggest.h"

#include <string.h>

#include "base/macros.h"

#define WORD_MAX 32 /* longer words are not compared */

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Optimal string alignment: insertions, deletions, replacements, swaps. */
static size_t distance(const char *a, size_t na, const char *b, size_t nb)
{
	size_t d[WORD_MAX + 1][WORD_MAX + 1];
	for (size_t i = 0; i <= na; i++)
		d[i][0] = i;
	for (size_t j = 0; j <= nb; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= na; i++) {
		for (size_t j = 1; j <= nb; j++) {
			size_t differ = a[i - 1] != b[j - 1];
			d[i][j] = min(d[i - 1][j - 1] + differ, 1 + min(d[i - 1][j], d[i][j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d[i][j] = min(d[i][j], d[i - 2][j - 2] + 1);
		}
	}
	return d[na][nb];
}

void suggest_init(struct suggest *s, const char *written)
{
	*s = (struct suggest){.written = written, .distance = strlen(written) / 3 + 2};
}

/* Nearer than a third of the word, or the word is its beginning. */
void suggest_add(struct suggest *s, const char *candidate)
{
	size_t na = strlen(s->written);
	size_t nb = strlen(candidate);
	if (na == 0 || na > WORD_MAX || nb > WORD_MAX)
		return;
	size_t d = distance(s->written, na, candidate, nb);
	if (na >= 2 && strncmp(s->written, candidate, na) == 0)
		d = 1;
	if (d < s->distance) {
		s->distance = d;
		s->best = candidate;
	}
}

const char *suggest_found(const struct suggest *s)
{
	return s->best;
}
