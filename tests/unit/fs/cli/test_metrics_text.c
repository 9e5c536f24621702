/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/histogram.h"
#include "fs/cli/metrics_text.h"

static char *render(json_t *mounts)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	assert_non_null(f);
	assert_non_null(mounts);
	metrics_text(f, mounts);
	fclose(f);
	json_decref(mounts);
	return text;
}

static int count(const char *text, const char *what)
{
	int n = 0;
	for (const char *at = strstr(text, what); at; at = strstr(at + 1, what))
		n++;
	return n;
}

/* One in the first bucket and two beyond all. */
static json_t *outcome(const char *key, const char *value, const char *name)
{
	json_t *buckets = json_array();
	for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		int n = i == 0 ? 1 : i == HISTOGRAM_BUCKETS - 1 ? 2 : 0;
		(void)json_array_append_new(buckets, json_integer(n));
	}
	json_t *o = json_pack("{s:s, s:i, s:f, s:o}", "outcome", name, "count", 3, "seconds",
			      123.000004, "buckets", buckets);
	if (key)
		(void)json_object_set_new(o, key, json_string(value));
	return o;
}

static json_t *host(const char *name, int mirror, int bytes)
{
	return json_pack("{s:s, s:b, s:s, s:i, s:[o]}", "host", name, "mirror", mirror, "state",
			 mirror ? "demoted" : "ok", "host_bytes", bytes, "outcomes",
			 outcome(NULL, NULL, "2xx"));
}

static json_t *mount(const char *point)
{
	return json_pack(
	    "{s:s, s:s, s:s, s:i, s:I, s:b, s:{s:i, s:i}, s:[o], s:[o, o, o, o], s:[o]}",
	    "mountpoint", point, "state", "serving", "version", "0.1.0", "generation", 3,
	    "started_ms", (json_int_t)1700000000123, "offline", 0, "cache", "bytes", 4096, "hits",
	    7, "operations", outcome("operation", "open", "ok"), "hosts", host("ghcr.io", 0, 10),
	    host("m:1", 1, 20), host("m:1", 1, 5), host("docker.io", 0, 1), "package_hosts",
	    json_pack("{s:s, s:i, s:[]}", "host", "ghcr.io", "host_bytes", 9, "outcomes"));
}

#define LABEL "{mountpoint=\"/mnt/a\\\\b\\\"c\\nd\""

static void test_all(void **state)
{
	(void)state;
	char *t = render(json_pack("[o]", mount("/mnt/a\\b\"c\nd")));
	assert_non_null(
	    strstr(t, "# TYPE wasmocifs_mount_up gauge\nwasmocifs_mount_up" LABEL "} 1\n"));
	assert_non_null(strstr(t, "wasmocifs_build_info" LABEL ",version=\"0.1.0\"} 1\n"));
	assert_non_null(strstr(t, "wasmocifs_worker_restarts_total" LABEL "} 2\n"));
	assert_non_null(strstr(t, "wasmocifs_worker_start_time_seconds" LABEL "} 1700000000\n"));
	assert_non_null(strstr(t, "wasmocifs_offline" LABEL "} 0\n"));
	assert_non_null(strstr(t, "wasmocifs_cache_hits_total" LABEL "} 7\n"));
	/* What it does not say is not made up. */
	assert_null(strstr(t, "wasmocifs_cache_misses_total"));
	const char *open = LABEL ",operation=\"open\",outcome=\"ok\"";
	char line[512];
	snprintf(line, sizeof(line), "_bucket%s,le=\"1e-05\"} 1\n", open);
	assert_non_null(strstr(t, line));
	snprintf(line, sizeof(line), "_bucket%s,le=\"60\"} 1\n", open);
	assert_non_null(strstr(t, line));
	snprintf(line, sizeof(line), "_bucket%s,le=\"+Inf\"} 3\n", open);
	assert_non_null(strstr(t, line));
	snprintf(line, sizeof(line), "_sum%s} 123.000004\n", open);
	assert_non_null(strstr(t, line));
	snprintf(line, sizeof(line), "_count%s} 3\n", open);
	assert_non_null(strstr(t, line));
	free(t);
}

/* A mirror that is named for several namespaces is one host; the same one elsewhere another. */
static void test_hosts(void **state)
{
	(void)state;
	char *t = render(json_pack("[o]", mount("/m")));
	const char *mirror = "{mountpoint=\"/m\",source=\"ghcr.io\",host=\"m:1\",role=\"mirror\"";
	char line[512];
	snprintf(line, sizeof(line), "wasmocifs_host_received_bytes_total%s} 25\n", mirror);
	assert_non_null(strstr(t, line));
	snprintf(line, sizeof(line), "_seconds_count%s,outcome=\"2xx\"} 6\n", mirror);
	assert_non_null(strstr(t, line));
	snprintf(line, sizeof(line), "wasmocifs_host_up%s} 0\n", mirror);
	assert_non_null(strstr(t, line));
	assert_int_equal(count(t, "wasmocifs_host_request_duration_seconds_count"), 3);
	assert_non_null(strstr(t, "wasmocifs_host_received_bytes_total{mountpoint=\"/m\",source="
				  "\"ghcr.io\",host=\"ghcr.io\",role=\"packages\"} 9\n"));
	free(t);
}

/* Of several mounts all samples of a metric stand together, under one head. */
static void test_several(void **state)
{
	(void)state;
	json_t *stub =
	    json_pack("{s:s, s:s, s:n}", "mountpoint", "/dead", "state", "stale", "cache");
	char *t = render(json_pack("[o, o, o, o]", mount("/a"), stub, mount("/b"), mount("/a")));
	assert_int_equal(count(t, "# TYPE wasmocifs_cache_bytes "), 1);
	assert_int_equal(count(t, "\nwasmocifs_cache_bytes{"), 2);
	assert_non_null(strstr(t, "wasmocifs_mount_up{mountpoint=\"/a\"} 1\n"
				  "wasmocifs_mount_up{mountpoint=\"/dead\"} 0\n"
				  "wasmocifs_mount_up{mountpoint=\"/b\"} 1\n#"));
	free(t);
	t = render(json_array());
	assert_string_equal(t, "");
	free(t);
}

/* Whatever a process of somebody else says, what comes out is the format. */
static void test_hostile(void **state)
{
	(void)state;
	json_t *m = mount("/m");
	json_t *odd = json_pack("[{s:s, s:s, s:[i]}, {}, i]", "operation", "open", "outcome", "ok",
				"buckets", 1, 5);
	(void)json_object_set_new(m, "operations", odd);
	(void)json_object_set_new(m, "hosts",
				  json_pack("[{}, i, {s:b}, {s:i}]", 3, "mirror", 1, "host", 5));
	(void)json_object_set_new(m, "cache", json_string("none"));
	(void)json_object_set_new(m, "generation", json_integer(-7));
	char *t = render(json_pack("[{}, i, o, n]", 4, m));
	assert_int_equal(count(t, "wasmocifs_operation_duration"), 0);
	assert_int_equal(count(t, "restarts_total"), 0);
	assert_non_null(strstr(t, "wasmocifs_mount_up{mountpoint=\"/m\"} 1\n"));
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_all), cmocka_unit_test(test_hosts),
					   cmocka_unit_test(test_several),
					   cmocka_unit_test(test_hostile)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
