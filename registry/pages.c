/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "registry/link.h"

int pages_turn(struct pages *p, char *target)
{
	if (!target)
		return -ENOMEM;
	free(p->target);
	p->target = target;
	return 0;
}

/* A circle of any length is noticed by comparing with one page, which moves
 * on at growing distances. */
int pages_begin(struct pages *p, bool *circle)
{
	p->count++;
	*circle = p->mark && strcmp(p->mark, p->target) == 0;
	if (p->count < p->next_mark)
		return 0;
	p->next_mark = p->count * 2;
	free(p->mark);
	p->mark = strdup(p->target);
	return p->mark ? 0 : -ENOMEM;
}

int pages_follow(struct pages *p, const struct answer *a)
{
	AUTO_FREE char *link = NULL;
	struct url page = {0}, next = {0};
	int r = a->link ? link_next(a->link, strlen(a->link), &link) : 0;

	if (r <= 0)
		return r;
	/* Seen from our own origin, whoever answered. */
	r = url_resolve(&a->url, p->target, &page);
	if (r == 0)
		r = link_resolve(&page, link, &next);
	if (r == 0)
		r = pages_turn(p, client_target(a->from, &next));
	url_release(&page);
	url_release(&next);
	if (r == -EINVAL)
		return 0; /* a link to nowhere is none */
	return r < 0 ? r : 1;
}

void pages_release(struct pages *p)
{
	free(p->target);
	free(p->mark);
	*p = (struct pages){0};
}
