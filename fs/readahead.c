/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/readahead.h"

#include <stddef.h>

/* Who would go on here, or has just been here; else whose place a new one takes. */
static unsigned find(const struct readahead *ra, uint64_t off, bool *ret_known)
{
	unsigned oldest = 0;
	for (unsigned i = 0; i < READAHEAD_READERS; i++) {
		uint64_t next = ra->readers[i].next;
		uint64_t away = off > next ? off - next : next - off;
		/* Without a streak only what follows exactly is a sign. */
		uint64_t slack = ra->readers[i].streak > 0 ? READAHEAD_SLACK : 0;
		*ret_known = ra->readers[i].used != 0 && away <= slack;
		if (*ret_known)
			return i;
		if (ra->readers[i].used < ra->readers[oldest].used)
			oldest = i;
	}
	return oldest;
}

bool readahead_note(struct readahead *ra, uint64_t off, uint64_t len, uint64_t *ret_from,
		    uint64_t *ret_to)
{
	bool known;
	uint64_t end = off + len;
	unsigned i = find(ra, off, &known);
	ra->readers[i].used = ++ra->clock;
	if (!known) {
		ra->readers[i].next = ra->readers[i].ahead = end;
		ra->readers[i].window = 0;
		ra->readers[i].streak = 0;
		return false;
	}
	/* He may be a little behind what another thread has read for him. */
	if (end > ra->readers[i].next) {
		ra->readers[i].next = end;
		ra->readers[i].streak++;
	}
	if (ra->readers[i].ahead < end)
		ra->readers[i].ahead = end;
	uint64_t window = ra->readers[i].window;
	if (ra->readers[i].streak < READAHEAD_STREAK ||
	    ra->readers[i].ahead - ra->readers[i].next > window / 2)
		return false;
	window = window == 0 ? READAHEAD_LEAST : 2 * window;
	window = window < READAHEAD_MOST ? window : READAHEAD_MOST;
	*ret_from = ra->readers[i].ahead;
	*ret_to = ra->readers[i].ahead + window;
	ra->readers[i].window = window;
	ra->readers[i].ahead = *ret_to;
	return true;
}
