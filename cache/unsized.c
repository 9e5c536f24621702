/* SPDX-License-Identifier: Apache-2.0 */
/* A partial of bytes whose size is not known before their end: its reservation
 * grows with it. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "cache/partial_impl.h"

/* What is reserved ahead of the bytes: a quarter of them, within these bounds,
 * so that a large one asks for room a few dozen times only. */
#define AHEAD_LEAST (4ull << 20)
#define AHEAD_MOST  (256ull << 20)

int store_unsized(struct store *s, const struct digest *d, struct partial **ret, struct err *err)
{
	struct partial *p = calloc(1, sizeof(*p));
	if (p == NULL)
		return err_errno(err, -ENOMEM, "partial");
	*p = (struct partial){
	    .store = s, .digest = *d, .fd = -1, .unsized = true, .is_private = true, .name = "new"};
	int rc = hasher_new(d->alg, &p->hasher);
	if (rc < 0) {
		free(p);
		return err_errno(err, rc, "cannot hash");
	}
	p->fd = open_private(s, p->name, err);
	if (p->fd < 0) {
		rc = p->fd;
		partial_drop(p);
		return store_errno(rc);
	}
	*ret = p;
	return 0;
}

static int reserve(struct partial *p, uint64_t size, struct err *err)
{
	int rc;
	if (p->in_memory) {
		rc = memory_take(p->store, size - p->size, err);
		if (rc == 0)
			p->charged += size - p->size;
	} else {
		rc = space_reserve(p->store, p->fd, size, &p->charged, NULL, err);
	}
	if (rc == 0)
		p->size = size;
	return rc;
}

static uint64_t ahead(const struct partial *p, uint64_t need)
{
	if (p->in_memory)
		return 0;
	uint64_t part = need / 4;
	return part < AHEAD_LEAST ? AHEAD_LEAST : part > AHEAD_MOST ? AHEAD_MOST : part;
}

/* No room: where the bytes so far are most of what the cache may hold, their number is to
 * blame, and not the moment. */
static int no_room(const struct partial *p, int rc, struct err *err)
{
	struct store_usage usage;
	store_usage(p->store, &usage);
	if (rc != -ENOSPC || usage.limit == 0 || p->have <= usage.limit / 4 * 3)
		return rc;
	char cap[UNITS_SIZE_MAX];
	units_format_size(usage.limit, cap);
	return err_set(err, -EFBIG, "it unpacks to more than the cache can hold (%s)", cap);
}

int partial_grow(struct partial *p, uint64_t len, struct err *err)
{
	uint64_t need = p->have + len;
	if (need <= p->size)
		return 0;
	/* Where there is no room for more than it needs, that must do. */
	if (reserve(p, need + ahead(p, need), NULL) == 0)
		return 0;
	int rc = reserve(p, need, err);
	if (rc == -ENOSPC && !p->in_memory) {
		rc = partial_to_memory(p, err);
		if (rc == 0)
			rc = reserve(p, need, err);
	}
	return rc == 0 ? 0 : no_room(p, rc, err);
}

int partial_trim(struct partial *p, struct err *err)
{
	if (p->in_memory) {
		memory_return(p->store, p->charged - p->have);
		p->charged = p->have;
	} else if (ftruncate(p->fd, (off_t)p->have) < 0) {
		return err_errno(err, -EIO, "%s", p->name);
	}
	p->size = p->have;
	return 0;
}
