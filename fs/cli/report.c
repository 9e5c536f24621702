/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/cli/link.h"
#include "fs/cli/path.h"
#include "fs/cli/report_counts.h"
#include "fs/refresh.h"
#include "fs/why.h"

static void format_time(int64_t wall_ms, char out[32])
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;
	out[0] = '\0';
	if (gmtime_r(&t, &tm) != NULL)
		strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void report_init(struct report *r, struct fs *fs, const char *mountpoint)
{
	*r = (struct report){.fs = fs, .mountpoint = mountpoint, .keeper = getpid(), .link = -1};
	r->started_ms = clock_wall_ms();
	format_time(r->started_ms, r->started);
}

static const char *errno_name(int code)
{
	const char *name = strerrorname_np(code < 0 ? -code : code);
	return name != NULL ? name : "EIO";
}

/* After the time for which a host counts as down, it still is the last that is
 * known of it. A refusal is an answer: that host is there. */
static bool is_down(const struct source_health *h, int down_errno)
{
	int last = h->last_errno < 0 ? -h->last_errno : h->last_errno;
	return down_errno != 0 || last == EHOSTUNREACH || last == ETIMEDOUT || last == EBUSY;
}

/* What one host of a site is shown by. */
struct host {
	const char *name, *origin; /* origin: NULL of a mirror */
	const struct source_health *health;
	int down_errno;
	const char *down_text;
	int64_t stale_ms, slow_ms;
};

static const char *host_state(const struct host *v)
{
	const struct source_health *h = v->health;
	bool bad = is_down(h, v->down_errno) || h->last_errno == EACCES;
	if (h->distrusted_ms > 0)
		return "demoted";
	if (h->held_ms > 0)
		return "gated";
	if (bad && v->stale_ms != 0 && v->stale_ms >= h->good_ms)
		return "stale";
	if (is_down(h, v->down_errno))
		return "down";
	if (h->last_errno == EACCES)
		return "refused";
	return v->slow_ms > 0 ? "slow" : h->since_ms == 0 ? "unknown" : "ok";
}

static const char *host_reason(const struct host *v, int *ret_code)
{
	const struct source_health *h = v->health;
	*ret_code = v->down_errno != 0 ? v->down_errno : h->last_errno;
	if (h->distrusted_ms > 0) {
		*ret_code = EBADMSG;
		return "it gave bytes that do not match their digest";
	}
	if (*ret_code == 0)
		return v->slow_ms > 0 ? "it sent little of a blob, or nothing, that another has too"
				      : NULL;
	return v->down_errno != 0 ? v->down_text : h->text;
}

static json_t *make_host(const struct host *v, const struct source_requests *requests)
{
	const struct source_health *h = v->health;
	int64_t wait_ms = h->distrusted_ms > 0 ? h->distrusted_ms
			  : h->held_ms > 0     ? h->held_ms
					       : v->slow_ms;
	int code;
	const char *reason = host_reason(v, &code);
	char since[32], until[32];
	format_time(h->since_ms, since);
	format_time(clock_wall_ms() + wait_ms, until);
	return json_pack("{s:s, s:s?, s:b, s:s, s:s?, s:s?, s:s?, s:s?, s:I, s:I, s:I, s:o}",
			 "host", v->name, "origin", v->origin, "mirror", v->origin == NULL, "state",
			 host_state(v), "until", wait_ms > 0 ? until : NULL, "errno",
			 code != 0 ? errno_name(code) : NULL, "reason", reason, "since",
			 h->since_ms != 0 ? since : NULL, "requests", (json_int_t)h->requests,
			 "bytes", (json_int_t)h->bytes, "host_bytes", (json_int_t)requests->bytes,
			 "outcomes", report_outcomes(requests));
}

static json_t *make_cache(const struct fs_status *s)
{
	const struct store_usage *u = &s->cache;
	return json_pack(
	    "{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
	    "directory", path_json(u->dir), "bytes", (json_int_t)u->bytes, "limit",
	    (json_int_t)u->limit, "floor", (json_int_t)u->floor, "blobs", (json_int_t)u->blobs,
	    "memory_bytes", (json_int_t)u->memory_bytes, "open_blobs", (json_int_t)u->open,
	    "open_blobs_limit", (json_int_t)u->open_max, "hits", (json_int_t)s->hits, "misses",
	    (json_int_t)s->misses, "evictions", (json_int_t)u->evictions, "evicted_bytes",
	    (json_int_t)u->evicted_bytes, "verifications", (json_int_t)u->verifications,
	    "mismatches", (json_int_t)u->mismatches, "publish_failures",
	    (json_int_t)u->publish_failures);
}

/* The registry, then its mirrors in the order in which they are asked. */
static void add_hosts(struct fs *fs, unsigned site, json_t *hosts, const struct fs_site_status *s)
{
	struct source_requests requests;
	struct host origin = {s->source,    s->origin,   &s->health, s->down_errno,
			      s->down_text, s->stale_ms, s->slow_ms};
	(void)fs_site_requests(fs, site, 0, &requests);
	(void)json_array_append_new(hosts, make_host(&origin, &requests));
	for (size_t i = 0; i < s->mirror_count; i++) {
		struct host mirror = {.name = s->mirrors[i].host, .health = &s->mirrors[i].health};
		(void)fs_site_requests(fs, site, i + 1, &requests);
		(void)json_array_append_new(hosts, make_host(&mirror, &requests));
	}
}

static void add_sites(struct fs *fs, json_t *sources, json_t *hosts)
{
	struct fs_site_status s;
	for (unsigned i = 0; fs_site_status(fs, i, &s); i++) {
		if (s.given)
			(void)json_array_append_new(sources, path_json(s.written));
		if (!s.local)
			add_hosts(fs, i, hosts, &s);
	}
}

/* What the keeper has said since, if it is there. */
static void hear_keeper(struct report *r)
{
	struct link_message m;
	int rc;
	while ((rc = link_receive(r->link, false, &m, NULL)) == 0) {
		char *newline = m.kind == LINK_REFUSED ? strchr(m.text, '\n') : NULL;
		if (newline == NULL)
			continue;
		*newline = '\0';
		snprintf(r->refused, sizeof(r->refused), "%s", m.text);
		(void)err_set(&r->refusal, 0, "%s", newline + 1);
	}
	if (rc == -EPIPE)
		r->keeper = getpid();
}

void report_forget_refusal(struct report *r)
{
	hear_keeper(r);
	r->refusal.text[0] = '\0';
}

json_t *report_measure(const struct report *r)
{
	struct fs_status s;
	json_t *sources = json_array(), *hosts = json_array();
	fs_status(r->fs, &s);
	add_sites(r->fs, sources, hosts);
	return json_pack("{s:o, s:o, s:b, s:s, s:s, s:I, s:s, s:i, s:i, s:o, s:o, s:b, s:b, s:I, "
			 "s:I, s:I, s:I, s:I,"
			 " s:o, s:o, s:o, s:o}",
			 "mountpoint", path_json(r->mountpoint), "sources", sources, "all",
			 (int)s.all, "version", WASMOCIFS_VERSION, "started", r->started,
			 "started_ms", (json_int_t)r->started_ms, "state", "serving", "worker_pid",
			 (int)getpid(), "generation", (int)r->generation, "cache", make_cache(&s),
			 "hosts", hosts, "passthrough", (int)s.passthrough, "offline",
			 (int)s.offline, "parked", (json_int_t)s.parked, "parked_limit",
			 (json_int_t)s.parked_max, "fetches", (json_int_t)s.fetches, "nodes",
			 (json_int_t)s.nodes, "open_files", (json_int_t)s.open_files, "transfers",
			 report_transfers(r->fs), "latency_bounds", report_latency_bounds(),
			 "operations", report_operations(r->fs), "package_hosts",
			 report_package_hosts(r->fs));
}

json_t *report_make(struct report *r)
{
	json_t *all = report_measure(r);
	hear_keeper(r);
	bool refused = r->refusal.text[0] != '\0';
	json_t *more = json_pack("{s:i, s:s?, s:s?}", "pid", (int)r->keeper, "upgrade_program",
				 refused ? r->refused : NULL, "upgrade_error",
				 refused ? r->refusal.text : NULL);
	int rc = all && more ? json_object_update(all, more) : -1;
	json_decref(more);
	if (rc == 0)
		return all;
	json_decref(all);
	return NULL;
}

json_t *report_why(const struct report *r, const char *path)
{
	static const char *const states[] = {"fine", "failed", "unasked", "coming"};
	struct why w;
	char since[32];
	fs_why(r->fs, path != NULL ? path : "", &w);
	format_time(w.wall_ms, since);
	return json_pack("{s:s, s:s, s:s?, s:s?, s:s?, s:s, s:s?}", "path", w.at, "state",
			 states[w.state], "errno", w.code ? errno_name(w.code) : NULL, "since",
			 w.wall_ms ? since : NULL, "asked", w.asked[0] ? w.asked : NULL, "text",
			 w.text, "hint", w.hint);
}

json_t *report_refresh(const struct report *r, const char *path, struct err *err)
{
	static const char *const states[] = {"forgotten", "nothing", "immutable"};
	struct refresh f;
	if (fs_refresh(r->fs, path, &f, err) < 0)
		return NULL;
	json_t *reply =
	    json_pack("{s:s, s:i, s:s, s:I}", "state", states[f.what], "count", (int)f.count, "of",
		      f.of, "lingers_ms", (json_int_t)(f.lingers ? fs_tag_ttl_ms(r->fs) : 0));
	if (reply == NULL)
		(void)err_set(err, -ENOMEM, "what was forgotten cannot be put into words");
	return reply;
}
