/* SPDX-License-Identifier: Apache-2.0 */
/* pages — how a listing goes on: the Link of each page, and whether it leads
 * in a circle (OCI distribution spec, "Listing Tags"). Layer: registry/,
 * internal. Asks nobody.
 *
 * Calling sequence: set the first target, then for each page: pages_begin, ask
 * for p->target, pages_follow (or another target, by pages_turn); at last
 * pages_release. One thread.
 */
#pragma once

#include <stdbool.h>

#include "registry/client.h"

struct pages {
	char *target;   /* of the page to ask for; owned */
	unsigned count; /* pages that were begun */
	/* pages.c's own */
	char *mark; /* a page from before */
	unsigned next_mark;
};

/* To the page of this target. Takes it over; NULL is -ENOMEM. */
NODISCARD int pages_turn(struct pages *p, char *target);
/* Counts the page. *circle: its target was asked for before. -ENOMEM. */
NODISCARD int pages_begin(struct pages *p, bool *circle);
/* Turns to the page that the Link of this answer names, at our own origin. 1: it
 * did. 0: there is none, or it leads nowhere. -ENOMEM. */
NODISCARD int pages_follow(struct pages *p, const struct answer *a);
void pages_release(struct pages *p);
