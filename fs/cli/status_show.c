/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/status.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "base/units.h"

enum { COLUMN_MOUNTPOINT, COLUMN_SOURCE, COLUMN_STATE, COLUMN_CACHE, COLUMN_PID, COLUMNS };

#define GAP       2
#define WIDTH_MIN 12 /* what a mountpoint or source keeps, however wide the rest is */

struct row {
	struct err cell[COLUMNS]; /* printable text */
};

static void get(const json_t *object, const char *key, struct err *ret)
{
	const char *s = json_string_value(json_object_get(object, key));
	(void)err_set(ret, 0, "%s", s != NULL ? s : "-");
}

static uint64_t number(const json_t *object, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(object, key));
	return n > 0 ? (uint64_t)n : 0;
}

static bool is_serving(const json_t *mount)
{
	const char *state = json_string_value(json_object_get(mount, "state"));
	return state != NULL && strcmp(state, "serving") == 0;
}

static bool is_well(const char *state)
{
	return strcmp(state, "ok") == 0 || strcmp(state, "unknown") == 0;
}

/* Of a mount that serves, what matters is its registries: the state of all, or how many
 * are not well. */
static void get_hosts_state(const json_t *hosts, struct err *ret)
{
	struct err state;
	size_t i, n = 0, bad = 0;
	const json_t *host;
	json_array_foreach ((json_t *)(uintptr_t)hosts, i, host) {
		if (json_is_true(json_object_get(host, "mirror")))
			continue;
		get(host, "state", &state);
		bad += !is_well(state.text);
		if (n++ == 0)
			*ret = state;
		else if (strcmp(ret->text, state.text) != 0)
			(void)err_set(ret, 0, "ok");
	}
	if (n == 0)
		(void)err_set(ret, 0, "local");
	else if (n > 1 && bad > 0)
		(void)err_set(ret, 0, "%zu of %zu not well", bad, n);
}

static void get_state(const json_t *mount, struct err *ret)
{
	const json_t *hosts = json_object_get(mount, "hosts");
	if (!is_serving(mount))
		get(mount, "state", ret);
	else if (json_is_true(json_object_get(mount, "offline")))
		(void)err_set(ret, 0, "offline");
	else if (json_is_true(json_object_get(mount, "all")) && json_array_size(hosts) == 0)
		(void)err_set(ret, 0, "unknown");
	else
		get_hosts_state(hosts, ret);
}

/* "ghcr.io, docker.io and all others" */
static void get_source(const json_t *mount, struct err *ret)
{
	const json_t *sources = json_object_get(mount, "sources");
	bool all = json_is_true(json_object_get(mount, "all"));
	size_t n = json_array_size(sources);
	(void)err_set(ret, 0, "%s", n > 0 ? "" : all ? "all registries" : "-");
	for (size_t i = 0; i < n; i++) {
		const char *title = json_string_value(json_array_get(sources, i));
		char before[ERR_TEXT_MAX];
		memcpy(before, ret->text, sizeof(before));
		(void)err_set(ret, 0, "%s%s%s", before, i ? ", " : "", title ? title : "-");
	}
	if (n > 0 && all) {
		char before[ERR_TEXT_MAX];
		memcpy(before, ret->text, sizeof(before));
		(void)err_set(ret, 0, "%s and all others", before);
	}
}

static void fill(struct row *row, const json_t *mount)
{
	const json_t *cache = json_object_get(mount, "cache");
	char used[UNITS_SIZE_MAX], limit[UNITS_SIZE_MAX];
	get(mount, "mountpoint", &row->cell[COLUMN_MOUNTPOINT]);
	get_source(mount, &row->cell[COLUMN_SOURCE]);
	get_state(mount, &row->cell[COLUMN_STATE]);
	(void)err_set(&row->cell[COLUMN_CACHE], 0, "-");
	(void)err_set(&row->cell[COLUMN_PID], 0, "-");
	if (json_is_object(cache)) {
		units_format_size(number(cache, "bytes"), used);
		units_format_size(number(cache, "limit"), limit);
		(void)err_set(&row->cell[COLUMN_CACHE], 0, "%s/%s", used, limit);
	}
	if (number(mount, "pid") != 0)
		(void)err_set(&row->cell[COLUMN_PID], 0, "%" PRIu64, number(mount, "pid"));
}

/* Code points; what is written is mostly one column each. */
static size_t width(const char *s)
{
	size_t n = 0;
	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xC0) != 0x80;
	return n;
}

static const char *skip(const char *s, size_t columns)
{
	while (*s != '\0' && columns > 0) {
		s++;
		while (((unsigned char)*s & 0xC0) == 0x80)
			s++;
		columns--;
	}
	return s;
}

/* Cut in the middle: both ends of a path tell something. */
static void show_cell(FILE *f, const char *s, size_t columns, bool last)
{
	size_t have = width(s);
	if (have > columns) {
		size_t head = (columns - 1) / 2;
		fwrite(s, 1, (size_t)(skip(s, head) - s), f);
		fputs("…", f);
		fputs(skip(s, have - (columns - 1 - head)), f);
		have = columns;
	} else {
		fputs(s, f);
	}
	if (!last)
		fprintf(f, "%*s", (int)(columns - have + GAP), "");
}

static void show_row(FILE *f, const struct row *row, const size_t widths[COLUMNS])
{
	for (size_t i = 0; i < COLUMNS; i++)
		show_cell(f, row->cell[i].text, widths[i], i + 1 == COLUMNS);
	fputc('\n', f);
}

/* The wider of mountpoint and source gives way, one column at a time. */
static void fit(size_t widths[COLUMNS], size_t limit)
{
	for (;;) {
		size_t sum = GAP * (COLUMNS - 1);
		for (size_t i = 0; i < COLUMNS; i++)
			sum += widths[i];
		size_t *wider = widths[COLUMN_MOUNTPOINT] >= widths[COLUMN_SOURCE]
				    ? &widths[COLUMN_MOUNTPOINT]
				    : &widths[COLUMN_SOURCE];
		if (sum <= limit || *wider <= WIDTH_MIN)
			return;
		(*wider)--;
	}
}

void status_show_table(FILE *f, const json_t *mounts, size_t columns)
{
	static const struct row head = {
	    .cell = {{"MOUNTPOINT"}, {"SOURCE"}, {"STATE"}, {"CACHE"}, {"PID"}}};
	size_t n = json_array_size(mounts);
	size_t widths[COLUMNS];
	struct row row;
	for (size_t i = 0; i < COLUMNS; i++)
		widths[i] = width(head.cell[i].text);
	for (size_t r = 0; r < n; r++) {
		fill(&row, json_array_get(mounts, r));
		for (size_t i = 0; i < COLUMNS; i++) {
			size_t w = width(row.cell[i].text);
			widths[i] = w > widths[i] ? w : widths[i];
		}
	}
	if (columns > 0)
		fit(widths, columns);
	show_row(f, &head, widths);
	for (size_t r = 0; r < n; r++) {
		fill(&row, json_array_get(mounts, r));
		show_row(f, &row, widths);
	}
}

static void show_host(FILE *f, const json_t *host)
{
	struct err name, state, since, until, reason;
	char bytes[UNITS_SIZE_MAX];
	get(host, "host", &name);
	get(host, "state", &state);
	get(host, "since", &since);
	get(host, "until", &until);
	get(host, "reason", &reason);
	bool gated = json_is_string(json_object_get(host, "until"));
	const char *what = json_is_true(json_object_get(host, "mirror")) ? "mirror  " : "registry";
	units_format_size(number(host, "bytes"), bytes);
	if (strcmp(state.text, "unknown") == 0)
		fprintf(f, "  %s  %s: not asked yet\n", what, name.text);
	else
		fprintf(f, "  %s  %s: %s%s%s (last answer or failure: %s)\n", what, name.text,
			state.text, gated ? " until " : "", gated ? until.text : "", since.text);
	if (json_is_string(json_object_get(host, "reason")))
		fprintf(f, "            %s\n", reason.text);
	fprintf(f, "  traffic   %" PRIu64 " requests, %s received\n", number(host, "requests"),
		bytes);
}

static void show_cache(FILE *f, const json_t *cache)
{
	struct err dir;
	char used[UNITS_SIZE_MAX], limit[UNITS_SIZE_MAX];
	get(cache, "directory", &dir);
	units_format_size(number(cache, "bytes"), used);
	units_format_size(number(cache, "limit"), limit);
	fprintf(f, "  cache     %s of %s in %" PRIu64 " blobs, %s\n", used, limit,
		number(cache, "blobs"), dir.text);
}

void status_show_one(FILE *f, const json_t *mount)
{
	struct row row;
	struct err version, started;
	fill(&row, mount);
	get(mount, "version", &version);
	get(mount, "started", &started);
	fprintf(f, "%s\n", row.cell[COLUMN_MOUNTPOINT].text);
	fprintf(f, "  source    %s\n", row.cell[COLUMN_SOURCE].text);
	fprintf(f, "  state     %s\n", row.cell[COLUMN_STATE].text);
	if (!json_is_object(json_object_get(mount, "cache")))
		return;
	fprintf(f, "  process   %s, version %s, since %s\n", row.cell[COLUMN_PID].text,
		version.text, started.text);
	size_t i;
	json_t *host;
	json_array_foreach (json_object_get(mount, "hosts"), i, host) {
		show_host(f, host);
	}
	show_cache(f, json_object_get(mount, "cache"));
	fprintf(f, "  reads     %s\n",
		json_is_true(json_object_get(mount, "passthrough"))
		    ? "large files straight from the cache (passthrough)"
		    : "through the daemon");
	fprintf(
	    f, "  work      %" PRIu64 " requests waiting, %" PRIu64 " fetches, %" PRIu64 " nodes\n",
	    number(mount, "parked"), number(mount, "fetches"), number(mount, "nodes"));
}
