/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/throttle.h"

#include <stdio.h>
#include <string.h>

static struct throttle_entry *find(struct throttle *t, const char *key)
{
	for (size_t i = 0; i < THROTTLE_KEYS; i++) {
		if (strncmp(t->v[i].key, key, THROTTLE_KEY_MAX - 1) == 0)
			return &t->v[i];
	}
	return NULL;
}

/* A free entry, else the one that passed longest ago. */
static struct throttle_entry *take(struct throttle *t, const char *key)
{
	struct throttle_entry *oldest = &t->v[0];
	for (size_t i = 0; i < THROTTLE_KEYS && oldest->key[0] != '\0'; i++) {
		if (t->v[i].key[0] == '\0' || t->v[i].passed_ms < oldest->passed_ms)
			oldest = &t->v[i];
	}
	snprintf(oldest->key, sizeof(oldest->key), "%s", key);
	oldest->held = 0;
	return oldest;
}

bool throttle_pass(struct throttle *t, const char *component, const char *key,
		   const struct err *text, int64_t now_ms, uint64_t *ret_held)
{
	if (key[0] == '\0')
		key = "?";
	struct throttle_entry *e = find(t, key);
	if (e != NULL && now_ms - e->passed_ms < THROTTLE_MS) {
		e->held++;
		e->text = *text;
		snprintf(e->component, sizeof(e->component), "%s", component);
		return false;
	}
	if (e == NULL)
		e = take(t, key);
	*ret_held = e->held;
	e->held = 0;
	e->passed_ms = now_ms;
	return true;
}

bool throttle_due(struct throttle *t, int64_t now_ms, struct throttle_entry *ret)
{
	for (size_t i = 0; i < THROTTLE_KEYS; i++) {
		struct throttle_entry *e = &t->v[i];
		if (e->key[0] == '\0' || now_ms - e->passed_ms < THROTTLE_MS)
			continue;
		if (e->held == 0) {
			e->key[0] = '\0';
			continue;
		}
		*ret = *e;
		e->held = 0;
		e->passed_ms = now_ms;
		return true;
	}
	return false;
}
