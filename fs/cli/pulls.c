/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/pulls.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/clock.h"
#include "fs/pull.h"

static void drop(struct pulls *p, size_t i)
{
	pull_free(p->v[i].pull);
	p->v[i].pull = NULL;
}

/* -1: there is none. */
static int find(const struct pulls *p, json_int_t id)
{
	for (size_t i = 0; i < PULLS_MAX; i++) {
		if (p->v[i].pull != NULL && p->v[i].id == id)
			return (int)i;
	}
	return -1;
}

static int make(struct pulls *p, const json_t *request, struct err *err)
{
	struct pull_options o = {.platform =
				     json_string_value(json_object_get(request, "platform")),
				 .pin = json_is_true(json_object_get(request, "pin")),
				 .idle_ms = PULLS_IDLE_MS};
	int at = -1;
	for (int i = 0; i < PULLS_MAX; i++) {
		if (p->v[i].pull != NULL && clock_ms() - p->v[i].asked_ms > PULLS_IDLE_MS)
			drop(p, (size_t)i);
		if (p->v[i].pull == NULL && at < 0)
			at = i;
	}
	if (at < 0)
		return err_set(err, -EBUSY, "this mount does %d pulls already", PULLS_MAX);
	if (o.platform != NULL && !pull_is_platform(o.platform))
		return err_set(err, -EINVAL, "'%s' is no platform", o.platform);
	int rc = pull_new(p->fs, &o, &p->v[at].pull, err);
	if (rc < 0)
		return rc;
	p->last_id = p->last_id < INT_MAX ? p->last_id + 1 : 1;
	p->v[at].id = p->last_id;
	return at;
}

static void add(struct pull *pull, const char *reference, json_t *refused)
{
	struct err err = {""};
	if (reference != NULL && pull_add(pull, reference, &err) < 0)
		(void)json_array_append_new(
		    refused, json_pack("{s:s, s:s}", "reference", reference, "text", err.text));
}

json_t *pulls_start(struct pulls *p, const json_t *request, struct err *err)
{
	const json_t *id = json_object_get(request, "id");
	const json_t *references = json_object_get(request, "references");
	json_t *refused = json_array();
	int at = json_is_integer(id) ? find(p, json_integer_value(id)) : make(p, request, err);
	if (at < 0 && json_is_integer(id))
		(void)err_set(err, -ENOENT, "there is no such pull (any more)");
	if (at < 0) {
		json_decref(refused);
		return NULL;
	}
	p->v[at].asked_ms = clock_ms();
	for (size_t i = 0; i < json_array_size(references); i++)
		add(p->v[at].pull, json_string_value(json_array_get(references, i)), refused);
	if (json_is_true(json_object_get(request, "last")))
		pull_seal(p->v[at].pull);
	return json_pack("{s:i, s:o}", "id", p->v[at].id, "refused", refused);
}

json_t *pulls_progress(struct pulls *p, const json_t *request, struct err *err)
{
	int at = find(p, json_integer_value(json_object_get(request, "id")));
	json_int_t since = json_integer_value(json_object_get(request, "since"));
	if (at < 0) {
		(void)err_set(err, -ENOENT, "there is no such pull (any more)");
		return NULL;
	}
	p->v[at].asked_ms = clock_ms();
	json_t *reply = pull_report(p->v[at].pull, since > 0 ? (uint64_t)since : 0);
	const char *state = json_string_value(json_object_get(reply, "state"));
	if (state != NULL && strcmp(state, "done") == 0)
		drop(p, (size_t)at);
	if (reply == NULL)
		(void)err_set(err, -ENOMEM, "out of memory");
	return reply;
}

void pulls_release(struct pulls *p)
{
	for (size_t i = 0; i < PULLS_MAX; i++)
		drop(p, i);
	pulls_wait();
}
