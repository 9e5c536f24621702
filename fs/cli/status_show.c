/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/status.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/units.h"
#include "fs/cli/table.h"

#define DIGEST_SHORT 12 /* characters of it that a person compares */
#define NUMBER_MAX   32

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

/* "97%", or nothing where nobody opened anything yet. */
static const char *get_hits(const json_t *cache, char out[NUMBER_MAX])
{
	uint64_t hits = number(cache, "hits"), all = hits + number(cache, "misses");
	if (all == 0)
		return NULL;
	snprintf(out, NUMBER_MAX, "%u%%", (unsigned)((double)hits * 100 / (double)all));
	return out;
}

static const char *get_number(const json_t *object, const char *key, char out[NUMBER_MAX])
{
	if (number(object, key) == 0)
		return NULL;
	snprintf(out, NUMBER_MAX, "%" PRIu64, number(object, key));
	return out;
}

/* "1.2G", as options are written: where there is little room. */
static void format_short(uint64_t bytes, char out[UNITS_SIZE_MAX])
{
	units_format_size(bytes, out);
	char *space = strchr(out, ' ');
	if (space != NULL) {
		space[0] = space[1];
		space[1] = '\0';
	}
}

static void add_mount(struct table *t, const json_t *mount)
{
	const json_t *cache = json_object_get(mount, "cache");
	struct err mountpoint, source, state;
	char used[UNITS_SIZE_MAX], limit[UNITS_SIZE_MAX], of[2 * UNITS_SIZE_MAX + 1];
	char hits[NUMBER_MAX], generation[NUMBER_MAX], pid[NUMBER_MAX];
	get(mount, "mountpoint", &mountpoint);
	get_source(mount, &source);
	get_state(mount, &state);
	format_short(number(cache, "bytes"), used);
	format_short(number(cache, "limit"), limit);
	snprintf(of, sizeof(of), "%s/%s", used, limit);
	const char *cells[] = {mountpoint.text,
			       source.text,
			       state.text,
			       json_is_object(cache) ? of : NULL,
			       get_hits(cache, hits),
			       get_number(mount, "generation", generation),
			       get_number(mount, "pid", pid)};
	(void)table_add(t, cells);
}

/* "until …: the reason" */
static void get_reason(const json_t *host, struct err *ret)
{
	struct err reason, until;
	bool waits = json_is_string(json_object_get(host, "until"));
	get(host, "reason", &reason);
	get(host, "until", &until);
	(void)err_set(ret, 0, "%s%s%s%s", waits ? "until " : "", waits ? until.text : "",
		      waits ? ": " : "", reason.text);
}

static struct table *make_hosts(const json_t *mount)
{
	static const char *const heads[] = {"HOST", "STATE", "RECEIVED", "REASON"};
	struct table *t = table_new(heads, ARRAY_LEN(heads), 1u << 0 | 1u << 3);
	size_t i;
	json_t *host;
	json_array_foreach (json_object_get(mount, "hosts"), i, host) {
		struct err name, title, state, reason;
		char bytes[UNITS_SIZE_MAX];
		bool own = json_is_integer(json_object_get(host, "host_bytes"));
		get(host, "host", &name);
		get(host, "state", &state);
		get_reason(host, &reason);
		units_format_size(number(host, own ? "host_bytes" : "bytes"), bytes);
		(void)err_set(&title, 0, "%s%s", name.text,
			      json_is_true(json_object_get(host, "mirror")) ? " (mirror)" : "");
		const char *cells[] = {title.text, state.text, bytes, reason.text};
		if (t != NULL)
			(void)table_add(t, cells);
	}
	return t;
}

/* The start of what tells it from others. */
static void shorten(const char *digest, char out[DIGEST_SHORT + 1])
{
	const char *colon = strchr(digest, ':');
	const char *hex = colon != NULL ? colon + 1 : digest;
	size_t len = strnlen(hex, DIGEST_SHORT);
	memcpy(out, hex, len);
	out[len] = '\0';
}

static void add_transfer(struct table *t, const json_t *transfer, bool several)
{
	struct err source, repo, digest, of;
	char shortened[DIGEST_SHORT + 1], have[UNITS_SIZE_MAX], all[UNITS_SIZE_MAX];
	char amount[2 * UNITS_SIZE_MAX + 4], part[NUMBER_MAX], rate[UNITS_SIZE_MAX + 2] = "-";
	uint64_t size = number(transfer, "size"), bytes = number(transfer, "bytes");
	get(transfer, "source", &source);
	get(transfer, "repository", &repo);
	get(transfer, "digest", &digest);
	shorten(digest.text, shortened);
	units_format_size(bytes, have);
	units_format_size(size, all);
	snprintf(amount, sizeof(amount), "%s of %s", have, all);
	double done = size > 0 ? (double)bytes * 100 / (double)size : 0;
	snprintf(part, sizeof(part), "%u%%", (unsigned)(done < 100 ? done : 100));
	if (json_is_true(json_object_get(transfer, "queued")))
		snprintf(rate, sizeof(rate), "queued");
	else if (json_is_integer(json_object_get(transfer, "rate"))) {
		units_format_size(number(transfer, "rate"), rate);
		strncat(rate, "/s", sizeof(rate) - strlen(rate) - 1);
	}
	(void)err_set(&of, 0, "%s%s%s", several ? source.text : "", several ? "/" : "", repo.text);
	const char *cells[] = {shortened, of.text, amount, part, rate};
	(void)table_add(t, cells);
}

static struct table *make_transfers(const json_t *mount)
{
	static const char *const heads[] = {"TRANSFER", "OF", "BYTES", "DONE", "RATE"};
	struct table *t = table_new(heads, ARRAY_LEN(heads), 1u << 1);
	bool several = json_array_size(json_object_get(mount, "sources")) > 1 ||
		       json_is_true(json_object_get(mount, "all"));
	size_t i;
	json_t *transfer;
	json_array_foreach (json_object_get(mount, "transfers"), i, transfer) {
		if (t != NULL)
			add_transfer(t, transfer, several);
	}
	return t;
}

static void show_if_any(FILE *f, const json_t *mount, const char *member,
			struct table *(*make)(const json_t *mount), size_t columns)
{
	struct table *t = NULL;
	if (json_array_size(json_object_get(mount, member)) > 0)
		t = make(mount);
	if (t != NULL)
		table_show(f, t, 2, columns);
	table_free(t);
}

/* Of several mounts each is named again. */
static void show_parts(FILE *f, const json_t *mount, bool named, size_t columns)
{
	struct err mountpoint;
	if (json_array_size(json_object_get(mount, "hosts")) == 0 &&
	    json_array_size(json_object_get(mount, "transfers")) == 0)
		return;
	fputc('\n', f);
	get(mount, "mountpoint", &mountpoint);
	if (named)
		fprintf(f, "%s\n", mountpoint.text);
	show_if_any(f, mount, "hosts", make_hosts, columns);
	show_if_any(f, mount, "transfers", make_transfers, columns);
}

/* Where a line is still too wide it is cut. */
static void show_cut(FILE *f, const char *text, size_t columns)
{
	while (*text != '\0') {
		size_t len = strcspn(text, "\n");
		table_put_line(f, text, len, columns);
		text += len + (text[len] == '\n');
	}
}

static void write_table(FILE *f, const json_t *mounts, size_t columns)
{
	static const char *const heads[] = {"MOUNTPOINT", "SOURCE", "STATE", "CACHE",
					    "HITS",       "GEN",    "PID"};
	struct table *t = table_new(heads, ARRAY_LEN(heads), 1u << 0 | 1u << 1);
	size_t n = json_array_size(mounts);
	for (size_t i = 0; i < n && t != NULL; i++)
		add_mount(t, json_array_get(mounts, i));
	if (t != NULL)
		table_show(f, t, 0, columns);
	table_free(t);
	for (size_t i = 0; i < n; i++)
		show_parts(f, json_array_get(mounts, i), n > 1, columns);
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
	char used[UNITS_SIZE_MAX], limit[UNITS_SIZE_MAX], hits[NUMBER_MAX];
	get(cache, "directory", &dir);
	units_format_size(number(cache, "bytes"), used);
	units_format_size(number(cache, "limit"), limit);
	fprintf(f, "  cache     %s of %s in %" PRIu64 " blobs, %s\n", used, limit,
		number(cache, "blobs"), dir.text);
	if (get_hits(cache, hits) != NULL)
		fprintf(f, "  opens     %s from the cache: %" PRIu64 " hits, %" PRIu64 " misses\n",
			hits, number(cache, "hits"), number(cache, "misses"));
}

static void write_one(FILE *f, const json_t *mount, size_t columns)
{
	struct err mountpoint, source, state, version, started;
	get(mount, "mountpoint", &mountpoint);
	get_source(mount, &source);
	get_state(mount, &state);
	get(mount, "version", &version);
	get(mount, "started", &started);
	fprintf(f, "%s\n", mountpoint.text);
	fprintf(f, "  source    %s\n", source.text);
	fprintf(f, "  state     %s\n", state.text);
	if (!json_is_object(json_object_get(mount, "cache")))
		return;
	fprintf(f, "  process   %" PRIu64 ", version %s, since %s\n", number(mount, "pid"),
		version.text, started.text);
	if (number(mount, "generation") > 0)
		fprintf(f, "  worker    %" PRIu64 ", generation %" PRIu64 "\n",
			number(mount, "worker_pid"), number(mount, "generation"));
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
	show_if_any(f, mount, "transfers", make_transfers, columns);
}

static void show(FILE *to, const json_t *what, size_t columns,
		 void (*write)(FILE *f, const json_t *what, size_t columns))
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	if (f == NULL)
		return;
	write(f, what, columns);
	if (fclose(f) == 0)
		show_cut(to, text, columns);
}

void status_show_table(FILE *f, const json_t *mounts, size_t columns)
{
	show(f, mounts, columns, write_table);
}

void status_show_one(FILE *f, const json_t *mount, size_t columns)
{
	show(f, mount, columns, write_one);
}
