/* SPDX-License-Identifier: Apache-2.0 */
/* http_server — a scripted HTTP server on loopback, inside the test's process.
 *
 * Each connection has a thread; each request is recorded, then handed to the
 * script, which answers as it likes: with a whole reply, with bytes, with
 * nothing. The connection stays open until the script closes it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "registry/http_source.h"

struct server;
struct connection;

struct seen {
	char method[8];
	char target[512];
	char head[4096]; /* the header fields, as they came */
	char body[512];
};

typedef void (*script_fn)(void *ctx, struct connection *c, const struct seen *q);

struct server *server_start(script_fn script, void *ctx);
/* Ends all connections, and with them all that hang. */
void server_stop(struct server *s);
unsigned server_port(const struct server *s);
/* Connections that were made, and requests that came so far. */
size_t server_connections(struct server *s);
size_t server_count(struct server *s);
/* Of those, how many have `method` (NULL: any) and `part` in their target. */
size_t server_count_of(struct server *s, const char *method, const char *part);
/* A copy of request number i. */
struct seen server_seen(struct server *s, size_t i);

/* A field's value in q->head, in a static buffer of the thread; NULL if none. */
const char *seen_field(const struct seen *q, const char *name);
/* How often a field stands there. */
size_t seen_fields(const struct seen *q, const char *name);

/* Status line, Content-Length and the fields ("A: b\r\n…", may be ""), then the
 * body unless it was a HEAD. */
void reply(struct connection *c, int status, const char *fields, const void *body, size_t len);
void reply_text(struct connection *c, int status, const char *fields, const char *body);
void send_raw(struct connection *c, const void *data, size_t len);
void send_text(struct connection *c, const char *text);
void close_now(struct connection *c);
/* Until server_stop. */
void hang(struct connection *c);

/* A source on that server, and a call to ask it with. */
struct rig {
	struct server *server;
	struct source *source;
	struct call call;
	struct err err;
};

/* Retries at once, unless the tuning says otherwise. prefix: "http://" or "". auth_file may be
 * NULL: none is looked for. */
void rig_open(struct rig *r, script_fn script, void *ctx, const char *prefix, const char *namespace,
	      const char *auth_file, const struct client_tuning *tuning);
void rig_close(struct rig *r);
/* A new call with this time. */
void rig_call(struct rig *r, int64_t timeout_ms);
