/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/metrics_text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/histogram.h"
#include "base/macros.h"

#define LABELS_MAX 7 /* the last is NULL */

struct label {
	const char *name, *value; /* value NULL: there is no such label */
};

/* One metric, as it is being written. */
struct family {
	FILE *f;
	const char *name, *type, *help;
	bool begun;
};

/* ---- the format ---- */

static void put_escaped(FILE *f, const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s == '\\' || *s == '"')
			fputc('\\', f);
		if (*s == '\n')
			fputs("\\n", f);
		else
			fputc(*s, f);
	}
}

static void put_labels(FILE *f, const struct label *labels)
{
	const char *before = "{";
	for (size_t i = 0; i < LABELS_MAX && labels[i].value != NULL; i++) {
		fprintf(f, "%s%s=\"", before, labels[i].name);
		put_escaped(f, labels[i].value);
		fputc('"', f);
		before = ",";
	}
	fputs("} ", f);
}

/* HELP and TYPE go before the first sample, and not where there is none. */
static void begin(struct family *m)
{
	if (!m->begun)
		fprintf(m->f, "# HELP wasmocifs_%s %s\n# TYPE wasmocifs_%s %s\n", m->name, m->help,
			m->name, m->type);
	m->begun = true;
}

static void put_integer(struct family *m, const struct label *labels, int64_t value)
{
	begin(m);
	fprintf(m->f, "wasmocifs_%s", m->name);
	put_labels(m->f, labels);
	fprintf(m->f, "%" PRId64 "\n", value);
}

static void put_bucket(const struct family *m, const struct label *labels, size_t n,
		       const char *bound, uint64_t value)
{
	struct label more[LABELS_MAX];
	memcpy(more, labels, sizeof(more));
	more[n] = (struct label){"le", bound};
	fprintf(m->f, "wasmocifs_%s_bucket", m->name);
	put_labels(m->f, more);
	fprintf(m->f, "%" PRIu64 "\n", value);
}

/* n labels, and room for one more. */
static void put_histogram(struct family *m, const struct label labels[LABELS_MAX], size_t n,
			  const struct histogram_view *v)
{
	uint64_t sum = 0;
	char bound[32];
	ASSERT(n + 1 < LABELS_MAX);
	begin(m);
	for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
		sum += v->buckets[i];
		snprintf(bound, sizeof(bound), "%g", histogram_bounds_us[i] / 1e6);
		put_bucket(m, labels, n, bound, sum);
	}
	sum += v->buckets[HISTOGRAM_BOUNDS];
	put_bucket(m, labels, n, "+Inf", sum);
	fprintf(m->f, "wasmocifs_%s_sum", m->name);
	put_labels(m->f, labels);
	fprintf(m->f, "%" PRIu64 ".%06u\n", v->sum_us / 1000000, (unsigned)(v->sum_us % 1000000));
	fprintf(m->f, "wasmocifs_%s_count", m->name);
	put_labels(m->f, labels);
	fprintf(m->f, "%" PRIu64 "\n", sum);
}

/* ---- what a mount says ---- */

static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static uint64_t number(const json_t *object, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(object, key));
	return n > 0 ? (uint64_t)n : 0;
}

/* "cache.bytes" */
static const json_t *find(const json_t *object, const char *path)
{
	const char *dot = strchr(path, '.');
	char first[32];
	if (dot == NULL)
		return json_object_get(object, path);
	snprintf(first, sizeof(first), "%.*s", (int)(dot - path), path);
	return json_object_get(json_object_get(object, first), dot + 1);
}

/* One whose buckets are others than ours is another version's. */
static bool add_histogram(const json_t *object, struct histogram_view *v)
{
	const json_t *buckets = json_object_get(object, "buckets");
	double seconds = json_number_value(json_object_get(object, "seconds"));
	if (json_array_size(buckets) != HISTOGRAM_BUCKETS)
		return false;
	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		json_int_t n = json_integer_value(json_array_get(buckets, i));
		v->buckets[i] += n > 0 ? (uint64_t)n : 0;
	}
	if (seconds > 0 && seconds < 1e12)
		v->sum_us += (uint64_t)(seconds * 1e6 + 0.5);
	return true;
}

/* One on whose path there is another one before it in the list is not seen. */
static const json_t *seen_at(const json_t *mounts, size_t i)
{
	const json_t *mount = json_array_get(mounts, i);
	const char *point = text(mount, "mountpoint");
	for (size_t k = 0; k < i && point != NULL; k++) {
		const char *other = text(json_array_get(mounts, k), "mountpoint");
		if (other != NULL && strcmp(point, other) == 0)
			return NULL;
	}
	return point != NULL ? mount : NULL;
}

/* ---- the simple ones ---- */

#define GAUGE   "gauge"
#define COUNTER "counter"

static const struct {
	const char *name, *type, *path, *help;
} simple[] = {
    {"worker_generation", GAUGE, "generation", "How many processes have served this mount."},
    {"cache_bytes", GAUGE, "cache.bytes", "What the cache directory holds."},
    {"cache_limit_bytes", GAUGE, "cache.limit", "What the cache directory may hold."},
    {"cache_floor_bytes", GAUGE, "cache.floor", "What must stay free on its file system."},
    {"cache_blobs", GAUGE, "cache.blobs", "Complete blobs in the cache."},
    {"cache_memory_bytes", GAUGE, "cache.memory_bytes", "Blobs in memory, for want of disk."},
    {"cache_open_blobs", GAUGE, "cache.open_blobs",
     "Blobs that are open: each takes a descriptor."},
    {"cache_open_blobs_limit", GAUGE, "cache.open_blobs_limit", "How many may be open."},
    {"cache_hits_total", COUNTER, "cache.hits", "Opens of files whose bytes were in the cache."},
    {"cache_misses_total", COUNTER, "cache.misses",
     "Opens of files whose bytes had to be fetched, in vain perhaps."},
    {"cache_evictions_total", COUNTER, "cache.evictions", "Files removed to make room."},
    {"cache_evicted_bytes_total", COUNTER, "cache.evicted_bytes", "Bytes removed to make room."},
    {"cache_verifications_total", COUNTER, "cache.verifications",
     "Blobs in the cache that were hashed before they were served."},
    {"cache_verification_failures_total", COUNTER, "cache.mismatches",
     "Bytes, cached or arriving, that did not match their digest."},
    {"cache_publish_failures_total", COUNTER, "cache.publish_failures",
     "Blobs that were served and could not be kept."},
    {"parked_requests", GAUGE, "parked", "File system requests that wait."},
    {"parked_requests_limit", GAUGE, "parked_limit", "How many of them may wait."},
    {"fetches", GAUGE, "fetches", "What is being fetched, asked for or hashed."},
    {"open_files", GAUGE, "open_files", "Open files."},
    {"nodes", GAUGE, "nodes", "Files and directories that the kernel knows."},
    {"passthrough", GAUGE, "passthrough", "Whether large files are read past the daemon."},
    {"offline", GAUGE, "offline", "Whether no registry is asked."},
};

static void put_simple(FILE *f, const json_t *mounts, size_t which)
{
	struct family m = {f, simple[which].name, simple[which].type, simple[which].help, false};
	for (size_t i = 0; i < json_array_size(mounts); i++) {
		const json_t *mount = seen_at(mounts, i);
		const json_t *value = find(mount, simple[which].path);
		struct label labels[LABELS_MAX] = {{"mountpoint", text(mount, "mountpoint")}};
		if (json_is_integer(value))
			put_integer(&m, labels, json_integer_value(value));
		else if (json_is_boolean(value))
			put_integer(&m, labels, json_is_true(value));
	}
}

/* ---- those of the process ---- */

static void put_process(FILE *f, const json_t *mounts)
{
	struct family up = {f, "mount_up", GAUGE, "Whether a process serves the mount.", false};
	struct family build = {f, "build_info", GAUGE, "Which version serves the mount.", false};
	struct family restarts = {f, "worker_restarts_total", COUNTER,
				  "Processes that have followed another one, after a crash or an "
				  "upgrade.",
				  false};
	struct family start = {f, "worker_start_time_seconds", GAUGE,
			       "When the process that serves began, since the epoch.", false};
	struct family *const all[] = {&up, &build, &restarts, &start};
	for (size_t which = 0; which < ARRAY_LEN(all); which++) {
		for (size_t i = 0; i < json_array_size(mounts); i++) {
			const json_t *mount = seen_at(mounts, i);
			const char *state = text(mount, "state");
			struct label labels[LABELS_MAX] = {
			    {"mountpoint", text(mount, "mountpoint")}};
			bool serving = state != NULL && strcmp(state, "serving") == 0;
			if (mount != NULL && all[which] == &up)
				put_integer(&up, labels, serving);
			labels[1] = (struct label){"version", text(mount, "version")};
			if (all[which] == &build && labels[1].value != NULL)
				put_integer(&build, labels, 1);
			labels[1].value = NULL;
			uint64_t generation = number(mount, "generation");
			if (all[which] == &restarts && generation > 0)
				put_integer(&restarts, labels, (int64_t)generation - 1);
			if (all[which] == &start && number(mount, "started_ms") > 0)
				put_integer(&start, labels,
					    (int64_t)(number(mount, "started_ms") / 1000));
		}
	}
}

static void put_operations(FILE *f, const json_t *mounts)
{
	struct family m = {f, "operation_duration_seconds", "histogram",
			   "File system requests of the kernel, by how they ended.", false};
	for (size_t i = 0; i < json_array_size(mounts); i++) {
		const json_t *mount = seen_at(mounts, i);
		const json_t *all = json_object_get(mount, "operations");
		for (size_t k = 0; k < json_array_size(all); k++) {
			const json_t *one = json_array_get(all, k);
			struct histogram_view v = {0};
			struct label labels[LABELS_MAX] = {
			    {"mountpoint", text(mount, "mountpoint")},
			    {"operation", text(one, "operation")},
			    {"outcome", text(one, "outcome")}};
			if (labels[1].value && labels[2].value && add_histogram(one, &v))
				put_histogram(&m, labels, 3, &v);
		}
	}
}

/* ---- those of hosts ---- */

/* A host of a mount. One that is named for several namespaces is in the list several times, and
 * is one here. */
struct host {
	const json_t *mount, *hosts;
	size_t first, end;  /* those of its source are in the list from here on, up to there */
	size_t at;          /* the first of its entries */
	const char *source; /* the registry's name; a mirror's is its own */
	const char *name, *role;
};

static bool same_host(const struct host *h, size_t i)
{
	const json_t *a = json_array_get(h->hosts, h->at), *b = json_array_get(h->hosts, i);
	const char *x = text(a, "host"), *y = text(b, "host");
	return x && y && strcmp(x, y) == 0 &&
	       json_is_true(json_object_get(a, "mirror")) ==
		   json_is_true(json_object_get(b, "mirror"));
}

static void host_labels(const struct host *h, struct label labels[LABELS_MAX])
{
	memset(labels, 0, LABELS_MAX * sizeof(*labels));
	labels[0] = (struct label){"mountpoint", text(h->mount, "mountpoint")};
	labels[1] = (struct label){"source", h->source};
	labels[2] = (struct label){"host", h->name};
	labels[3] = (struct label){"role", h->role};
}

static void put_up(struct family *m, const struct host *h)
{
	static const char *const bad[] = {"down", "refused", "stale", "gated", "demoted"};
	const char *state = text(json_array_get(h->hosts, h->at), "state");
	struct label labels[LABELS_MAX];
	bool up = true;
	host_labels(h, labels);
	for (size_t i = 0; i < ARRAY_LEN(bad) && state != NULL; i++)
		up = up && strcmp(state, bad[i]) != 0;
	if (state != NULL)
		put_integer(m, labels, up);
}

static void put_received(struct family *m, const struct host *h)
{
	struct label labels[LABELS_MAX];
	uint64_t sum = 0;
	host_labels(h, labels);
	for (size_t i = h->at; i < h->end; i++)
		sum += same_host(h, i) ? number(json_array_get(h->hosts, i), "host_bytes") : 0;
	if (json_object_get(json_array_get(h->hosts, h->at), "host_bytes"))
		put_integer(m, labels, (int64_t)sum);
}

/* Those of entry i that ended so. False: there are none. */
static bool add_outcome(const struct host *h, size_t i, const char *outcome,
			struct histogram_view *v)
{
	const json_t *all = json_object_get(json_array_get(h->hosts, i), "outcomes");
	for (size_t k = 0; k < json_array_size(all); k++) {
		const json_t *one = json_array_get(all, k);
		const char *name = text(one, "outcome");
		if (name && strcmp(name, outcome) == 0)
			return add_histogram(one, v);
	}
	return false;
}

static bool was_before(const struct host *h, size_t i, const char *outcome)
{
	struct histogram_view ignored = {0};
	for (size_t k = h->at; k < i; k++) {
		if (same_host(h, k) && add_outcome(h, k, outcome, &ignored))
			return true;
	}
	return false;
}

static void put_requests(struct family *m, const struct host *h)
{
	struct label labels[LABELS_MAX];
	host_labels(h, labels);
	for (size_t i = h->at; i < h->end; i++) {
		const json_t *all = json_object_get(json_array_get(h->hosts, i), "outcomes");
		for (size_t k = 0; same_host(h, i) && k < json_array_size(all); k++) {
			struct histogram_view v = {0};
			const char *outcome = text(json_array_get(all, k), "outcome");
			if (outcome == NULL || was_before(h, i, outcome))
				continue;
			for (size_t e = i; e < h->end; e++) {
				if (same_host(h, e))
					(void)add_outcome(h, e, outcome, &v);
			}
			labels[4] = (struct label){"outcome", outcome};
			put_histogram(m, labels, 5, &v);
		}
	}
}

typedef void (*host_fn)(struct family *m, const struct host *h);

static void each_host_in(struct family *m, const json_t *mount, const char *member,
			 const char *role, host_fn fn)
{
	struct host h = {.mount = mount, .hosts = json_object_get(mount, member)};
	size_t n = json_array_size(h.hosts);
	for (h.first = 0; h.first < n; h.first = h.end) {
		h.end = h.first + 1;
		while (h.end < n &&
		       json_is_true(json_object_get(json_array_get(h.hosts, h.end), "mirror")))
			h.end++;
		h.source = text(json_array_get(h.hosts, h.first), "host");
		for (h.at = h.first; h.source && h.at < h.end; h.at++) {
			size_t k = h.first;
			while (k < h.at && !same_host(&h, k))
				k++;
			h.name = text(json_array_get(h.hosts, h.at), "host");
			h.role = h.at > h.first ? "mirror" : role;
			if (k == h.at && h.name)
				fn(m, &h);
		}
	}
}

static void put_hosts(FILE *f, const json_t *mounts)
{
	struct family families[] = {
	    {f, "host_up", GAUGE, "Whether the host gave its last answer, and not a refusal.",
	     false},
	    {f, "host_received_bytes_total", COUNTER, "Received in bodies from this host.", false},
	    {f, "host_request_duration_seconds", "histogram",
	     "Requests on behalf of this host, to the header of the answer, by how they ended.",
	     false},
	};
	static const host_fn fns[] = {put_up, put_received, put_requests};
	for (size_t which = 0; which < ARRAY_LEN(fns); which++) {
		for (size_t i = 0; i < json_array_size(mounts); i++) {
			const json_t *mount = seen_at(mounts, i);
			if (mount == NULL)
				continue;
			each_host_in(&families[which], mount, "hosts", "registry", fns[which]);
			each_host_in(&families[which], mount, "package_hosts", "packages",
				     fns[which]);
		}
	}
}

void metrics_text(FILE *f, const json_t *mounts)
{
	put_process(f, mounts);
	for (size_t i = 0; i < ARRAY_LEN(simple); i++)
		put_simple(f, mounts, i);
	put_operations(f, mounts);
	put_hosts(f, mounts);
}
