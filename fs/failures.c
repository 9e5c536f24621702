/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/failures.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "fs/flight.h"
#include "fs/memo.h"

struct failures {
	struct memo *table; /* struct failure */
};

int failures_new(struct failures **ret)
{
	static const struct memo_type type = {.max = FAILURES_MAX,
					      .value_size = sizeof(struct failure)};
	struct failures *f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	if (memo_new(&type, &f->table)) {
		free(f);
		return -ENOMEM;
	}
	*ret = f;
	return 0;
}

void failures_free(struct failures *f)
{
	if (!f)
		return;
	memo_free(f->table);
	free(f);
}

/* Wherever it is to come from, and whatever size somebody said, it is the same that is
 * missing. */
static struct want key_of(const struct want *w)
{
	struct want key = *w;
	key.local = false;
	key.size = 0;
	return key;
}

void failures_put(struct failures *f, const struct want *w, int code, const struct err *err)
{
	struct want key = key_of(w);
	struct failure v = {.code = code, .wall_ms = clock_wall_ms(), .err = *err};
	memo_put(f->table, &key, sizeof(key), &v);
}

void failures_drop(struct failures *f, const struct want *w)
{
	struct want key = key_of(w);
	memo_drop(f->table, &key, sizeof(key));
}

bool failures_find(struct failures *f, const struct want *w, struct failure *ret)
{
	struct want key = key_of(w);
	return memo_get(f->table, &key, sizeof(key), ret);
}
