/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/absences.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"

void absences_init(struct absences *a)
{
	*a = (struct absences){0};
	lock_init(&a->lock);
}

void absences_release(struct absences *a)
{
	for (size_t i = 0; i < ARRAY_LEN(a->v); i++)
		free(a->v[i].repo);
	lock_release(&a->lock);
}

static struct absence *find(struct absences *a, const char *repo) REQUIRES(a->lock)
{
	for (size_t i = 0; i < ARRAY_LEN(a->v); i++)
		if (a->v[i].repo && strcmp(a->v[i].repo, repo) == 0)
			return &a->v[i];
	return NULL;
}

/* A place that is free, or else of what ends first. */
static struct absence *place(struct absences *a) REQUIRES(a->lock)
{
	struct absence *best = &a->v[0];

	for (size_t i = 0; i < ARRAY_LEN(a->v); i++) {
		if (!a->v[i].repo)
			return &a->v[i];
		if (a->v[i].until_ms < best->until_ms)
			best = &a->v[i];
	}
	return best;
}

void absences_note(struct absences *a, const char *repo, int64_t until_ms)
{
	struct absence *one;
	char *copy = strdup(repo);

	if (!copy)
		return;
	lock_take(&a->lock);
	one = find(a, repo);
	if (!one)
		one = place(a);
	free(one->repo);
	*one = (struct absence){copy, until_ms};
	lock_drop(&a->lock);
}

void absences_forget(struct absences *a, const char *repo)
{
	struct absence *one;

	lock_take(&a->lock);
	one = find(a, repo);
	if (one) {
		free(one->repo);
		*one = (struct absence){0};
	}
	lock_drop(&a->lock);
}

bool absences_has(struct absences *a, const char *repo)
{
	const struct absence *one;
	bool has;

	lock_take(&a->lock);
	one = find(a, repo);
	has = one && clock_ms() < one->until_ms;
	lock_drop(&a->lock);
	return has;
}
