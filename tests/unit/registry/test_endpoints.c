/* SPDX-License-Identifier: Apache-2.0 */
/* A registry with two mirrors, each a scripted server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "tests/unit/registry/http_server.h"

#define MANIFEST "{\"schemaVersion\":2}"
#define BLOB     "0123456789"

static char manifest_digest[DIGEST_STRING_MAX];
static struct digest blob_digest;

static int make_digests(void **state)
{
	struct digest d;

	(void)state;
	assert_int_equal(digest_of(DIGEST_SHA256, MANIFEST, strlen(MANIFEST), &d), 0);
	digest_string(&d, manifest_digest);
	return digest_of(DIGEST_SHA256, BLOB, strlen(BLOB), &blob_digest);
}

/* What one host does. */
struct host {
	int status;           /* 0: it is as it should be */
	const char *bytes;    /* NULL: the right ones */
	const char *location; /* with a status of 307 */
	size_t cut;           /* a blob ends after these bytes; 0: whole */
	bool no_blobs, no_head, silent;
};

enum { FIRST, SECOND, ORIGIN, HOSTS };

struct net {
	struct host host[HOSTS];
	struct server *server[HOSTS];
	struct source *source;
	struct call call;
	struct err err;
	char dir[64];
};

static void give_blob(const struct host *h, struct connection *c, const struct seen *q)
{
	const char *bytes = h->bytes ? h->bytes : BLOB;
	const char *range = seen_field(q, "Range");
	size_t from = range ? strtoul(range + strlen("bytes="), NULL, 10) : 0;
	char fields[200] = "", head[200];

	if (range)
		snprintf(fields, sizeof(fields), "Content-Range: bytes %zu-%zu/%zu\r\n", from,
			 strlen(bytes) - 1, strlen(bytes));
	if (h->cut) {
		snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
			 strlen(bytes));
		send_text(c, head);
		send_raw(c, bytes, h->cut);
		close_now(c);
		return;
	}
	reply_text(c, range ? 206 : 200, fields, bytes + from);
}

static void give(void *ctx, struct connection *c, const struct seen *q)
{
	const struct host *h = ctx;
	char fields[400] = "";

	if (h->location)
		snprintf(fields, sizeof(fields), "Location: %s\r\n", h->location);
	if (h->silent) {
		hang(c);
	} else if (h->no_head && strcmp(q->method, "HEAD") == 0) {
		reply_text(c, 405, "", "");
	} else if (h->status || (h->no_blobs && strstr(q->target, "/blobs/"))) {
		reply_text(c, h->status ? h->status : 404, fields, "");
	} else if (strstr(q->target, "/manifests/")) {
		snprintf(fields, sizeof(fields),
			 "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n"
			 "Docker-Content-Digest: %s\r\n",
			 manifest_digest);
		reply_text(c, 200, fields, h->bytes ? h->bytes : MANIFEST);
	} else if (strstr(q->target, "/blobs/")) {
		give_blob(h, c, q);
	} else {
		reply_text(c, 200, "", "{\"tags\":[\"v1\"]}");
	}
}

/* format: hosts.toml, with %u for the ports of FIRST, SECOND, ORIGIN. */
static void net_open(struct net *n, const char *format)
{
	const struct client_tuning t = {.retry_base_ms = 1, .skew_ms = 1};
	struct source_options o = {.hosts_dir = n->dir, .timeout_ms = 20000};
	struct source_spec spec = {0};
	char text[100];
	FILE *f;

	for (int i = 0; i < HOSTS; i++)
		n->server[i] = server_start(give, &n->host[i]);
	snprintf(n->dir, sizeof(n->dir), "/tmp/endpoints-XXXXXX");
	assert_non_null(mkdtemp(n->dir));
	snprintf(text, sizeof(text), "%s/_default", n->dir);
	assert_int_equal(mkdir(text, 0700), 0);
	snprintf(text, sizeof(text), "%s/_default/hosts.toml", n->dir);
	f = fopen(text, "we");
	assert_non_null(f);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	fprintf(f, format, server_port(n->server[FIRST]), server_port(n->server[SECOND]),
		server_port(n->server[ORIGIN]));
#pragma GCC diagnostic pop
	fclose(f);
	snprintf(text, sizeof(text), "http://127.0.0.1:%u", server_port(n->server[ORIGIN]));
	o.spec = text;
	setenv("DOCKER_CONFIG", "/nonexistent", 1);
	setenv("HOME", "/nonexistent", 1);
	assert_int_equal(reference_parse_source(text, &spec, &n->err), 0);
	if (http_source_open_tuned(&o, &spec, &t, &n->source, &n->err) < 0)
		fail_msg("%s", n->err.text);
	call_init(&n->call, clock_ms() + 20000);
}

static void net_close(struct net *n)
{
	char path[100];

	source_free(n->source);
	for (int i = 0; i < HOSTS; i++)
		server_stop(n->server[i]);
	call_release(&n->call);
	snprintf(path, sizeof(path), "%s/_default/hosts.toml", n->dir);
	assert_int_equal(remove(path), 0);
	snprintf(path, sizeof(path), "%s/_default", n->dir);
	assert_int_equal(remove(path), 0);
	assert_int_equal(remove(n->dir), 0);
}

static void assert_counts(struct net *n, size_t first, size_t second, size_t origin)
{
	assert_int_equal(server_count(n->server[FIRST]), first);
	assert_int_equal(server_count(n->server[SECOND]), second);
	assert_int_equal(server_count(n->server[ORIGIN]), origin);
}

static int document(struct net *n, const char *reference)
{
	struct document d = {0};
	int r = source_document(n->source, "a/b", reference, &n->call, &d, &n->err);

	document_release(&d);
	return r;
}

static int tag(struct net *n)
{
	struct descriptor d;

	return source_resolve(n->source, "a/b", "v1", NULL, &n->call, &d, &n->err);
}

struct bucket {
	char bytes[64];
	size_t at;
	unsigned begins;
	int fail_with;
};

static int begin(void *ctx, uint64_t offset, struct err *err)
{
	struct bucket *b = ctx;

	(void)err;
	b->begins++;
	b->at = (size_t)offset;
	return 0;
}

static int take(void *ctx, const void *data, size_t len, struct err *err)
{
	struct bucket *b = ctx;

	assert_true(b->at + len < sizeof(b->bytes));
	memcpy(b->bytes + b->at, data, len);
	b->at += len;
	return b->fail_with ? err_set(err, b->fail_with, "the sink") : 0;
}

static int blob(struct net *n, struct bucket *b)
{
	struct sink sink = {begin, take, b};

	return source_blob(n->source, "a/b", &blob_digest, strlen(BLOB), 0, &sink, &n->call, NULL,
			   &n->err);
}

static const char both[] = "[host.\"http://127.0.0.1:%u\"]\n[host.\"http://127.0.0.1:%u\"]\n#%u\n";

static void mirrors_are_asked_in_order(void **state)
{
	struct bucket b = {0};
	struct net n = {0};
	struct seen q;
	char want[200];

	(void)state;
	net_open(&n, both);
	assert_int_equal(document(&n, "v1"), 0);
	assert_int_equal(document(&n, manifest_digest), 0);
	assert_int_equal(tag(&n), 0);
	assert_int_equal(blob(&n, &b), 0);
	assert_memory_equal(b.bytes, BLOB, strlen(BLOB));
	assert_counts(&n, 4, 0, 0);
	q = server_seen(n.server[FIRST], 0);
	snprintf(want, sizeof(want), "/v2/a/b/manifests/v1?ns=127.0.0.1%%3A%u",
		 server_port(n.server[ORIGIN]));
	assert_string_equal(q.target, want);
	/* What one does not have, or refuses, is asked of the next. */
	n.host[FIRST].status = 404;
	assert_int_equal(document(&n, "v1"), 0);
	assert_counts(&n, 5, 1, 0);
	n.host[SECOND].status = 403;
	assert_int_equal(document(&n, "v1"), 0);
	assert_counts(&n, 6, 2, 1);
	q = server_seen(n.server[ORIGIN], 0);
	assert_string_equal(q.target, "/v2/a/b/manifests/v1");
	net_close(&n);
}

static void listings_are_the_origins(void **state)
{
	struct names names = {0};
	struct net n = {0};

	(void)state;
	net_open(&n, both);
	assert_int_equal(source_tags(n.source, "a/b", false, &n.call, &names, NULL, &n.err), 0);
	assert_int_equal(names.n, 1);
	names_release(&names);
	assert_counts(&n, 0, 0, 1);
	net_close(&n);
}

static void what_each_may_be_asked_for(void **state)
{
	struct descriptor d;
	struct net n = {0};

	(void)state;
	net_open(&n, "[host.\"http://127.0.0.1:%u\"]\ncapabilities = [\"pull\"]\n"
		     "[host.\"http://127.0.0.1:%u\"]\ncapabilities = [\"resolve\"]\n#%u\n");
	assert_int_equal(tag(&n), 0);
	assert_counts(&n, 0, 1, 0);
	assert_int_equal(document(&n, manifest_digest), 0);
	assert_counts(&n, 1, 1, 0);
	assert_int_equal(
	    source_stat(n.source, "a/b", &blob_digest, false, &n.call, &d, NULL, &n.err), 0);
	/* Nobody has declared its size, so the origin's word on it is heard too. */
	assert_counts(&n, 2, 1, 1);
	net_close(&n);
	n = (struct net){0};
	net_open(&n, "capabilities = [\"pull\"]\n#%u%u%u\n");
	assert_int_equal(tag(&n), -EACCES);
	assert_non_null(strstr(n.err.text, "no host may be asked for that"));
	assert_counts(&n, 0, 0, 0);
	net_close(&n);
}

static uint64_t told_size(struct net *n, const struct digest *d, bool doubted)
{
	struct descriptor desc = {0};
	int r = source_stat(n->source, "a/b", d, doubted, &n->call, &desc, NULL, &n->err);

	if (r < 0)
		fail_msg("%d: %s", r, n->err.text);
	return desc.size;
}

static void a_size_is_not_a_mirrors_word(void **state)
{
	struct net n = {.host = {[FIRST] = {.bytes = "012"}}};

	(void)state;
	net_open(&n, both);
	assert_int_equal(told_size(&n, &blob_digest, false), strlen(BLOB));
	assert_counts(&n, 1, 0, 1);
	assert_int_equal(told_size(&n, &blob_digest, true), strlen(BLOB));
	assert_counts(&n, 1, 0, 2);
	/* Nor where nobody answers a HEAD. */
	for (int i = 0; i < HOSTS; i++)
		n.host[i].no_head = true;
	assert_int_equal(told_size(&n, &blob_digest, false), strlen(BLOB));
	/* Without the origin's there is no other. */
	n.host[ORIGIN].status = 403;
	n.host[FIRST].no_head = false;
	assert_int_equal(told_size(&n, &blob_digest, false), 3);
	assert_int_equal(told_size(&n, &blob_digest, true), 3);
	net_close(&n);
}

static void silence_about_a_size_is_no_fault(void **state)
{
	struct net n = {.host = {[FIRST] = {.bytes = "012"}, [ORIGIN] = {.silent = true}}};
	struct source_health health;

	(void)state;
	net_open(&n, both);
	assert_int_equal(told_size(&n, &blob_digest, false), 3);
	assert_counts(&n, 1, 0, 1);
	source_health(n.source, &health);
	assert_int_equal(health.last_errno, 0);
	net_close(&n);
}

static void a_manifests_size_is_that_of_its_bytes(void **state)
{
	struct net n = {.host = {[FIRST] = {.bytes = "other"}}};
	struct digest d;

	(void)state;
	net_open(&n, both);
	assert_int_equal(digest_parse(manifest_digest, strlen(manifest_digest), &d), 0);
	for (int i = 0; i < HOSTS; i++)
		n.host[i].no_blobs = true;
	assert_int_equal(told_size(&n, &d, false), strlen(MANIFEST));
	assert_int_equal(told_size(&n, &d, true), strlen(MANIFEST));
	net_close(&n);
}

static void absence_is_the_origins_word(void **state)
{
	struct net n = {.host = {[FIRST] = {.status = 404}, [SECOND] = {.status = 410}}};

	(void)state;
	net_open(&n, both);
	n.host[ORIGIN].status = 404;
	assert_int_equal(document(&n, "v1"), -ENOENT);
	assert_counts(&n, 1, 1, 1);
	server_stop(n.server[ORIGIN]);
	n.server[ORIGIN] = server_start(give, &n.host[ORIGIN]); /* at another port */
	assert_int_equal(document(&n, "v1"), -EHOSTUNREACH);
	assert_non_null(strstr(n.err.text, "410"));
	/* It is known to be down now; a mirror may answer all the same. */
	assert_int_equal(source_down(n.source, NULL), 0);
	n.host[SECOND].status = 0;
	assert_int_equal(document(&n, "v1"), 0);
	net_close(&n);
}

static void the_error_is_of_who_got_furthest(void **state)
{
	struct net n = {.host = {[FIRST] = {.status = 403}, [SECOND] = {.status = 404}}};

	(void)state;
	net_open(&n, both);
	server_stop(n.server[ORIGIN]);
	n.server[ORIGIN] = server_start(give, &n.host[ORIGIN]);
	assert_int_equal(document(&n, "v1"), -EACCES);
	assert_non_null(strstr(n.err.text, "403"));
	net_close(&n);
}

static void a_mirror_that_is_down_is_passed_over(void **state)
{
	struct net n = {.host = {[FIRST] = {.status = 503}}};
	struct source_health health;

	(void)state;
	net_open(&n, both);
	assert_int_equal(document(&n, "v1"), 0);
	assert_counts(&n, 1, 1, 0);
	n.host[FIRST].status = 0;
	assert_int_equal(document(&n, "v1"), 0);
	assert_counts(&n, 1, 2, 0);
	n.host[SECOND].status = 500;
	assert_int_equal(document(&n, "v1"), 0);
	assert_counts(&n, 1, 3, 1);
	source_health(n.source, &health);
	assert_int_equal(health.last_errno, 0);
	assert_int_equal(health.requests, 5);
	net_close(&n);
}

/* A digest that is wrong, in the right size. */
static void wrong_bytes_of_a_mirror(void **state)
{
	struct net n = {.host = {[FIRST] = {.bytes = "9876543210"}}};
	struct bucket b = {0};

	(void)state;
	net_open(&n, both);
	assert_int_equal(blob(&n, &b), 0);
	assert_memory_equal(b.bytes, BLOB, strlen(BLOB));
	assert_int_equal(b.begins, 2);
	assert_counts(&n, 1, 1, 0);
	/* It is not asked again, for nothing. */
	assert_int_equal(blob(&n, &b), 0);
	assert_int_equal(tag(&n), 0);
	assert_counts(&n, 1, 3, 0);
	net_close(&n);
}

static void wrong_bytes_of_all(void **state)
{
	struct net n = {0};
	struct bucket b = {0};

	(void)state;
	for (int i = 0; i < HOSTS; i++)
		n.host[i].bytes = "9876543210";
	net_open(&n, both);
	/* Those of the origin are the caller's to judge. */
	assert_int_equal(blob(&n, &b), 0);
	assert_memory_equal(b.bytes, "9876543210", strlen(BLOB));
	assert_counts(&n, 1, 1, 1);
	net_close(&n);
}

static void a_document_that_is_another(void **state)
{
	struct net n = {.host = {[FIRST] = {.bytes = "{}"}, [SECOND] = {.bytes = "{ }"}}};

	(void)state;
	net_open(&n, both);
	assert_int_equal(document(&n, manifest_digest), 0);
	assert_counts(&n, 1, 1, 1);
	n.host[ORIGIN].bytes = "{}";
	assert_int_equal(document(&n, manifest_digest), -EBADMSG);
	assert_counts(&n, 1, 1, 2);
	net_close(&n);
}

static void the_next_host_goes_on_where_one_stopped(void **state)
{
	struct net n = {.host = {[FIRST] = {.cut = 4}}};
	struct bucket b = {0};
	struct seen q;

	(void)state;
	net_open(&n, both);
	assert_int_equal(blob(&n, &b), 0);
	assert_memory_equal(b.bytes, BLOB, strlen(BLOB));
	assert_int_equal(b.begins, 1);
	assert_counts(&n, 1, 1, 0);
	q = server_seen(n.server[SECOND], 0);
	assert_string_equal(seen_field(&q, "Range"), "bytes=4-9");
	net_close(&n);
	/* What stopped was wrong already: both are left, the origin gives all. */
	n = (struct net){.host = {[FIRST] = {.cut = 4, .bytes = "9999999999"}}};
	b = (struct bucket){0};
	net_open(&n, both);
	assert_int_equal(blob(&n, &b), 0);
	assert_memory_equal(b.bytes, BLOB, strlen(BLOB));
	assert_counts(&n, 1, 1, 1);
	net_close(&n);
}

static void a_sink_that_fails_is_no_mirrors_fault(void **state)
{
	struct bucket b = {.fail_with = -ENOSPC};
	struct net n = {0};

	(void)state;
	net_open(&n, both);
	assert_int_equal(blob(&n, &b), -ENOSPC);
	assert_counts(&n, 1, 0, 0);
	net_close(&n);
}

static void a_mirror_of_another_size(void **state)
{
	struct net n = {.host = {[FIRST] = {.bytes = "short"}}};
	struct bucket b = {0};

	(void)state;
	net_open(&n, both);
	assert_int_equal(blob(&n, &b), 0);
	assert_memory_equal(b.bytes, BLOB, strlen(BLOB));
	assert_counts(&n, 1, 1, 0);
	net_close(&n);
}

static void headers_are_for_one_host(void **state)
{
	struct net n = {.host = {[FIRST] = {.status = 307}}};
	char location[100];
	struct seen q;

	(void)state;
	net_open(&n, "[host.\"http://127.0.0.1:%u\"]\n"
		     "header = {x-key = [\"a\", \"b\"], accept = \"x/y\"}\n#%u%u\n");
	snprintf(location, sizeof(location), "http://127.0.0.1:%u/x/manifests/y",
		 server_port(n.server[SECOND]));
	n.host[FIRST].location = location;
	assert_int_equal(document(&n, "v1"), 0);
	assert_counts(&n, 1, 1, 0);
	q = server_seen(n.server[FIRST], 0);
	assert_int_equal(seen_fields(&q, "x-key"), 2);
	/* The request's own goes before. */
	assert_int_equal(seen_fields(&q, "Accept"), 1);
	assert_null(strstr(seen_field(&q, "Accept"), "x/y"));
	q = server_seen(n.server[SECOND], 0);
	assert_int_equal(seen_fields(&q, "x-key"), 0);
	net_close(&n);
}

static void where_the_api_is(void **state)
{
	struct names names = {0};
	struct net n = {0};
	struct seen q;

	(void)state;
	net_open(&n, "server = \"http://127.0.0.1:%2$u/up/\"\n"
		     "[host.\"http://127.0.0.1:%1$u/v2/proj\"]\noverride_path = true\n#%3$u\n");
	assert_int_equal(document(&n, "v1"), 0);
	q = server_seen(n.server[FIRST], 0);
	assert_int_equal(strncmp(q.target, "/v2/proj/a/b/manifests/v1?ns=", 29), 0);
	assert_int_equal(source_tags(n.source, "a/b", false, &n.call, &names, NULL, &n.err), 0);
	names_release(&names);
	q = server_seen(n.server[SECOND], 0);
	assert_int_equal(strncmp(q.target, "/up/v2/a/b/tags/list?n=1000&ns=", 31), 0);
	assert_counts(&n, 1, 1, 0);
	net_close(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(mirrors_are_asked_in_order),
	    cmocka_unit_test(listings_are_the_origins),
	    cmocka_unit_test(what_each_may_be_asked_for),
	    cmocka_unit_test(a_size_is_not_a_mirrors_word),
	    cmocka_unit_test(silence_about_a_size_is_no_fault),
	    cmocka_unit_test(a_manifests_size_is_that_of_its_bytes),
	    cmocka_unit_test(absence_is_the_origins_word),
	    cmocka_unit_test(the_error_is_of_who_got_furthest),
	    cmocka_unit_test(a_mirror_that_is_down_is_passed_over),
	    cmocka_unit_test(wrong_bytes_of_a_mirror),
	    cmocka_unit_test(wrong_bytes_of_all),
	    cmocka_unit_test(a_document_that_is_another),
	    cmocka_unit_test(the_next_host_goes_on_where_one_stopped),
	    cmocka_unit_test(a_sink_that_fails_is_no_mirrors_fault),
	    cmocka_unit_test(a_mirror_of_another_size),
	    cmocka_unit_test(headers_are_for_one_host),
	    cmocka_unit_test(where_the_api_is),
	};

	return cmocka_run_group_tests(tests, make_digests, NULL);
}
