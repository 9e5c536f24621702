/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/named.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define FIRST_ROOM 16

struct named_entry {
	uint64_t size;
	struct digest digest;
	uint16_t type; /* index of types + 1; 0: "" */
};

__extension__ typedef unsigned __int128 wide;

static uint64_t fold(uint64_t a, uint64_t b)
{
	wide product = (wide)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* A repository may name whatever it likes, without having it: digests that all
 * fell into one slot would cost the square of their number. So it must not
 * know where one falls. */
static size_t first_slot(const struct named *set, const struct digest *d)
{
	uint64_t h = set->secret[0];
	for (size_t i = 0; i < DIGEST_BYTES_MAX; i += sizeof(h)) {
		uint64_t word;
		memcpy(&word, d->bytes + i, sizeof(word));
		h = fold(h ^ word, set->secret[1]);
	}
	return (size_t)h & (set->n_slots - 1);
}

static void make_secret(struct named *set)
{
	if (getrandom(set->secret, sizeof(set->secret), GRND_NONBLOCK) < 0)
		set->secret[0] = (uintptr_t)set;
	set->secret[1] |= 1;
}

/* Where d stands, or the free slot where it would. */
static uint32_t *find_slot(const struct named *set, const struct digest *d)
{
	size_t i = first_slot(set, d);
	while (set->slots[i] != 0 && !digest_equal(&set->entries[set->slots[i] - 1].digest, d))
		i = (i + 1) & (set->n_slots - 1);
	return &set->slots[i];
}

static int grow(struct named *set)
{
	if (set->n < set->room)
		return 0;
	size_t room = set->room == 0 ? FIRST_ROOM : set->room * 2;
	struct named_entry *entries = reallocarray(set->entries, room, sizeof(*entries));
	if (entries == NULL)
		return -ENOMEM;
	set->entries = entries;
	if (set->room == 0)
		make_secret(set);
	uint32_t *slots = calloc(2 * room, sizeof(*slots));
	if (slots == NULL)
		return -ENOMEM;
	free(set->slots);
	set->slots = slots;
	set->n_slots = 2 * room;
	set->room = room;
	for (size_t i = 0; i < set->n; i++)
		*find_slot(set, &entries[i].digest) = (uint32_t)i + 1;
	return 0;
}

static int find_type(struct named *set, const char *type, uint16_t *ret)
{
	*ret = 0;
	if (type[0] == '\0')
		return 0;
	for (size_t i = 0; i < set->n_types; i++) {
		if (strcmp(set->types[i], type) == 0) {
			*ret = (uint16_t)(i + 1);
			return 0;
		}
	}
	if (set->n_types == NAMED_TYPES_MAX)
		return 0;
	char **types = reallocarray(set->types, set->n_types + 1, sizeof(*types));
	if (types == NULL)
		return -ENOMEM;
	set->types = types;
	types[set->n_types] = strdup(type);
	if (types[set->n_types] == NULL)
		return -ENOMEM;
	*ret = (uint16_t)++set->n_types;
	return 0;
}

int named_add(struct named *set, const struct descriptor *d, size_t max)
{
	if (set->n > 0 && *find_slot(set, &d->digest) != 0)
		return 0;
	if (set->n >= max)
		return -E2BIG;
	uint16_t type;
	if (grow(set) < 0 || find_type(set, d->media_type, &type) < 0)
		return -ENOMEM;
	set->entries[set->n++] =
	    (struct named_entry){.size = d->size, .digest = d->digest, .type = type};
	*find_slot(set, &d->digest) = (uint32_t)set->n;
	return 1;
}

void named_get(const struct named *set, size_t i, struct descriptor *ret)
{
	ASSERT(i < set->n);
	const struct named_entry *e = &set->entries[i];
	*ret = (struct descriptor){.digest = e->digest, .size = e->size};
	if (e->type > 0) {
		const char *type = set->types[e->type - 1];
		memcpy(ret->media_type, type, strlen(type) + 1);
	}
}

bool named_find(const struct named *set, const struct digest *d, struct descriptor *ret)
{
	uint32_t at = set->n > 0 ? *find_slot(set, d) : 0;
	if (at == 0)
		return false;
	named_get(set, at - 1, ret);
	return true;
}

void named_release(struct named *set)
{
	for (size_t i = 0; i < set->n_types; i++)
		free(set->types[i]);
	free(set->types);
	free(set->entries);
	free(set->slots);
	*set = (struct named){0};
}
