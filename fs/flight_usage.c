/* SPDX-License-Identifier: Apache-2.0 */
/* What is under way, as status shows it. */
#include <string.h>

#include "fs/flight_impl.h"

static bool is_transfer(const struct flights *f, const struct flight *fl, bool begun)
    REQUIRES(f->lock)
{
	(void)f;
	return fl->want.kind == WANT_BLOB && !fl->want.local && !fl->cancelled &&
	       fl->begun == begun;
}

static struct flight_transfer look(const struct flights *f, const struct flight *fl)
    REQUIRES(f->lock)
{
	struct flight_transfer t = {.digest = fl->want.digest,
				    .size = fl->want.size,
				    .have = atomic_load(&fl->have),
				    .received = atomic_load(&fl->progress),
				    .begun_ms = fl->begun_ms};
	const struct waiter *w;
	(void)f;
	memcpy(t.repo, fl->repo, sizeof(t.repo));
	TAILQ_FOREACH (w, &fl->waiters, in_flight)
		t.waiters++;
	return t;
}

size_t flights_transfers(struct flights *f, struct flight_transfer *ret, size_t max)
{
	size_t n = 0;
	lock_take(&f->lock);
	for (int begun = 1; begun >= 0; begun--) {
		for (const struct flight *fl = f->table; fl && n < max; fl = fl->hh.next) {
			if (is_transfer(f, fl, begun))
				ret[n++] = look(f, fl);
		}
	}
	lock_drop(&f->lock);
	return n;
}

void flights_usage(struct flights *f, struct flights_usage *ret)
{
	lock_take(&f->lock);
	ret->flights = HASH_COUNT(f->table);
	ret->parked = f->parked;
	lock_drop(&f->lock);
}

bool flight_find(struct flights *f, const struct want *want, struct flight_state *ret)
{
	struct flight *fl;
	lock_take(&f->lock);
	HASH_FIND(hh, f->table, want, sizeof(*want), fl);
	bool found = fl && !fl->cancelled;
	if (found)
		*ret = (struct flight_state){fl->started_ms, fl->begun, atomic_load(&fl->have)};
	lock_drop(&f->lock);
	return found;
}
