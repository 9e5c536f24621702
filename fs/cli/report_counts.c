/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/report_counts.h"

#include "base/clock.h"
#include "fs/cli/path.h"

/* A rate over less than this says nothing. */
#define RATE_MS_MIN 200

json_t *report_latency_bounds(void)
{
	json_t *all = json_array();
	for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++)
		(void)json_array_append_new(all, json_real(histogram_bounds_us[i] / 1e6));
	return all;
}

static int add_histogram(json_t *to, const struct histogram_view *v)
{
	json_t *buckets = json_array();
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		(void)json_array_append_new(buckets, json_integer((json_int_t)v->buckets[i]));
	int r = json_object_set_new(to, "count", json_integer((json_int_t)v->count));
	if (r == 0)
		r = json_object_set_new(to, "seconds", json_real((double)v->sum_us / 1e6));
	return r | json_object_set_new(to, "buckets", buckets);
}

json_t *report_operations(struct fs *fs)
{
	struct histogram_view v;
	json_t *all = json_array();
	for (unsigned o = 0; o < OPERATIONS; o++) {
		for (unsigned k = 0; metrics_outcome_name(k); k++) {
			fs_operation(fs, o, k, &v);
			if (v.count == 0)
				continue;
			json_t *one = json_pack("{s:s, s:s}", "operation", operation_name(o),
						"outcome", metrics_outcome_name(k));
			(void)add_histogram(one, &v);
			(void)json_array_append_new(all, one);
		}
	}
	return all;
}

json_t *report_outcomes(const struct source_requests *r)
{
	json_t *all = json_array();
	for (unsigned o = 0; o < SOURCE_OUTCOMES; o++) {
		if (r->by_outcome[o].count == 0)
			continue;
		json_t *one = json_pack("{s:s}", "outcome", source_outcome_name(o));
		(void)add_histogram(one, &r->by_outcome[o]);
		(void)json_array_append_new(all, one);
	}
	return all;
}

json_t *report_package_hosts(struct fs *fs)
{
	struct source_requests requests;
	char title[FS_TITLE_MAX];
	json_t *all = json_array();
	for (unsigned i = 0; fs_package_requests(fs, i, title, &requests); i++)
		(void)json_array_append_new(all, json_pack("{s:s, s:I, s:o}", "host", title,
							   "host_bytes", (json_int_t)requests.bytes,
							   "outcomes", report_outcomes(&requests)));
	return all;
}

static json_t *make_transfer(const struct fs_transfer *t)
{
	const struct flight_transfer *f = &t->flight;
	char digest[DIGEST_STRING_MAX];
	int64_t ms = f->begun_ms ? clock_ms() - f->begun_ms : 0;
	uint64_t have = f->have < f->size ? f->have : f->size;
	digest_string(&f->digest, digest);
	json_t *rate = ms >= RATE_MS_MIN
			   ? json_integer((json_int_t)(f->received * 1000 / (uint64_t)ms))
			   : json_null();
	return json_pack("{s:o, s:s, s:s, s:I, s:I, s:o, s:i, s:b}", "source", path_json(t->source),
			 "repository", f->repo, "digest", digest, "size", (json_int_t)f->size,
			 "bytes", (json_int_t)have, "rate", rate, "waiting", (int)f->waiters,
			 "queued", f->begun_ms == 0);
}

json_t *report_transfers(struct fs *fs)
{
	struct fs_transfer *v = calloc(FS_TRANSFERS_MAX, sizeof(*v));
	json_t *all = v ? json_array() : NULL;
	size_t n = v ? fs_transfers(fs, v, FS_TRANSFERS_MAX) : 0;
	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(all, make_transfer(&v[i]));
	free(v);
	return all;
}
