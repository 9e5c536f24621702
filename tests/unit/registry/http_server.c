/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/registry/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define CONNECTIONS_MAX 256
#define SEEN_MAX        16384

struct connection {
	struct server *server;
	pthread_t thread;
	int fd;
	bool head;   /* the request is a HEAD */
	bool closed; /* by the script */
};

struct server {
	script_fn script;
	void *ctx;
	int fd, stop[2];
	unsigned port;
	pthread_t thread;
	pthread_mutex_t lock;
	/* guarded by lock */
	struct connection *connections[CONNECTIONS_MAX];
	size_t connection_count;
	struct seen *seen;
	size_t seen_count;
};

static void check(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	abort();
}

/* ---- requests ---- */

static const char *find_line(const char *head, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = head; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
		if (strncasecmp(p, name, n) == 0 && p[n] == ':')
			return p + n + 1;
	return NULL;
}

const char *seen_field(const struct seen *q, const char *name)
{
	static _Thread_local char value[4096];
	const char *p = find_line(q->head, name);
	size_t n;

	if (!p)
		return NULL;
	p += strspn(p, " ");
	n = strcspn(p, "\r\n");
	memcpy(value, p, n);
	value[n] = '\0';
	return value;
}

size_t seen_fields(const struct seen *q, const char *name)
{
	size_t n = 0;

	for (const char *p = find_line(q->head, name); p; p = find_line(p, name)) {
		n++;
		p = strchr(p, '\n');
		if (!p)
			break;
		p++;
	}
	return n;
}

/* Up to the end of the header; false at the end of the connection, or for
 * what is no HTTP. */
static bool read_request(struct connection *c, struct seen *q)
{
	char buf[sizeof(q->head)];
	size_t len = 0, body_len = 0;
	const char *field;
	char *end;

	memset(q, 0, sizeof(*q));
	do {
		if (len + 1 >= sizeof(buf) || recv(c->fd, buf + len, 1, 0) != 1)
			return false;
		buf[++len] = '\0';
		if (buf[0] == 0x16) /* a TLS handshake */
			return false;
	} while (len < 4 || memcmp(buf + len - 4, "\r\n\r\n", 4) != 0);
	if (sscanf(buf, "%7s %511s", q->method, q->target) != 2)
		return false;
	end = strchr(buf, '\n');
	strcpy(q->head, end + 1);
	field = seen_field(q, "Content-Length");
	body_len = field ? strtoul(field, NULL, 10) : 0;
	check(body_len < sizeof(q->body), "request body");
	if (body_len && recv(c->fd, q->body, body_len, MSG_WAITALL) != (ssize_t)body_len)
		return false;
	c->head = strcmp(q->method, "HEAD") == 0;
	return true;
}

static void *serve(void *arg)
{
	struct connection *c = arg;
	struct server *s = c->server;
	struct seen q;

	while (!c->closed && read_request(c, &q)) {
		pthread_mutex_lock(&s->lock);
		check(s->seen_count < SEEN_MAX, "too many requests");
		s->seen[s->seen_count++] = q;
		pthread_mutex_unlock(&s->lock);
		s->script(s->ctx, c, &q);
	}
	shutdown(c->fd, SHUT_RDWR);
	return NULL;
}

static void *accept_all(void *arg)
{
	struct server *s = arg;
	struct pollfd p[2] = {{.fd = s->fd, .events = POLLIN},
			      {.fd = s->stop[0], .events = POLLIN}};
	int one = 1;

	for (;;) {
		struct connection *c;
		int fd;

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (p[1].revents)
			return NULL;
		fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		c = calloc(1, sizeof(*c));
		check(c != NULL, "calloc");
		c->server = s;
		c->fd = fd;
		pthread_mutex_lock(&s->lock);
		check(s->connection_count < CONNECTIONS_MAX, "too many connections");
		s->connections[s->connection_count++] = c;
		pthread_mutex_unlock(&s->lock);
		check(pthread_create(&c->thread, NULL, serve, c) == 0, "pthread_create");
	}
}

/* ---- life ---- */

struct server *server_start(script_fn script, void *ctx)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t len = sizeof(at);
	struct server *s = calloc(1, sizeof(*s));

	check(s != NULL, "calloc");
	s->script = script;
	s->ctx = ctx;
	s->seen = calloc(SEEN_MAX, sizeof(*s->seen));
	check(s->seen != NULL, "calloc");
	pthread_mutex_init(&s->lock, NULL);
	check(pipe2(s->stop, O_CLOEXEC) == 0, "pipe");
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	check(s->fd >= 0 && bind(s->fd, (struct sockaddr *)&at, sizeof(at)) == 0, "bind");
	check(listen(s->fd, 128) == 0, "listen");
	check(getsockname(s->fd, (struct sockaddr *)&at, &len) == 0, "getsockname");
	s->port = ntohs(at.sin_port);
	check(pthread_create(&s->thread, NULL, accept_all, s) == 0, "pthread_create");
	return s;
}

void server_stop(struct server *s)
{
	check(write(s->stop[1], "x", 1) == 1, "write");
	pthread_join(s->thread, NULL);
	for (size_t i = 0; i < s->connection_count; i++)
		shutdown(s->connections[i]->fd, SHUT_RDWR);
	for (size_t i = 0; i < s->connection_count; i++) {
		pthread_join(s->connections[i]->thread, NULL);
		close(s->connections[i]->fd);
		free(s->connections[i]);
	}
	close(s->fd);
	close(s->stop[0]);
	close(s->stop[1]);
	pthread_mutex_destroy(&s->lock);
	free(s->seen);
	free(s);
}

unsigned server_port(const struct server *s)
{
	return s->port;
}

size_t server_connections(struct server *s)
{
	size_t n;

	pthread_mutex_lock(&s->lock);
	n = s->connection_count;
	pthread_mutex_unlock(&s->lock);
	return n;
}

size_t server_count_of(struct server *s, const char *method, const char *part)
{
	size_t n = 0;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->seen_count; i++)
		n += (!method || strcmp(s->seen[i].method, method) == 0) &&
		     strstr(s->seen[i].target, part) != NULL;
	pthread_mutex_unlock(&s->lock);
	return n;
}

size_t server_count(struct server *s)
{
	return server_count_of(s, NULL, "");
}

struct seen server_seen(struct server *s, size_t i)
{
	struct seen q;

	pthread_mutex_lock(&s->lock);
	check(i < s->seen_count, "no such request");
	q = s->seen[i];
	pthread_mutex_unlock(&s->lock);
	return q;
}

/* ---- replies ---- */

void send_raw(struct connection *c, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		p += n;
		len -= (size_t)n;
	}
}

void send_text(struct connection *c, const char *text)
{
	send_raw(c, text, strlen(text));
}

void reply(struct connection *c, int status, const char *fields, const void *body, size_t len)
{
	char head[2048];
	size_t n =
	    (size_t)snprintf(head, sizeof(head), "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s\r\n",
			     status, len, fields);
	char *all;

	check(n < sizeof(head), "too many fields");
	all = malloc(n + len);
	check(all != NULL, "malloc");
	memcpy(all, head, n);
	if (len && !c->head)
		memcpy(all + n, body, len);
	send_raw(c, all, c->head ? n : n + len);
	free(all);
}

void reply_text(struct connection *c, int status, const char *fields, const char *body)
{
	reply(c, status, fields, body, strlen(body));
}

void close_now(struct connection *c)
{
	shutdown(c->fd, SHUT_RDWR);
	c->closed = true;
}

void hang(struct connection *c)
{
	char byte;

	while (recv(c->fd, &byte, 1, 0) > 0)
		;
	c->closed = true;
}

/* ---- the rig ---- */

void rig_call(struct rig *r, int64_t timeout_ms)
{
	call_release(&r->call);
	call_init(&r->call, clock_ms() + timeout_ms);
	r->err.text[0] = '\0';
}

static void forget_environment(void)
{
	unsetenv("REGISTRY_AUTH_FILE");
	unsetenv("DOCKER_AUTH_CONFIG");
	unsetenv("XDG_CONFIG_HOME");
	setenv("XDG_RUNTIME_DIR", "/nonexistent", 1);
	setenv("DOCKER_CONFIG", "/nonexistent", 1);
	setenv("HOME", "/nonexistent", 1);
}

void rig_open(struct rig *r, script_fn script, void *ctx, const char *prefix, const char *namespace,
	      const char *auth_file, const struct client_tuning *tuning)
{
	struct client_tuning t = tuning ? *tuning : (struct client_tuning){0};
	struct source_options o = {.auth_file = auth_file, .timeout_ms = 20000};
	struct source_spec spec = {0};
	char text[300];
	struct err err = {""};

	*r = (struct rig){.server = server_start(script, ctx)};
	snprintf(text, sizeof(text), "%s127.0.0.1:%u%s%s", prefix, r->server->port,
		 *namespace ? "/" : "", namespace);
	o.spec = text;
	if (!t.retry_base_ms)
		t.retry_base_ms = 1;
	if (!t.skew_ms)
		t.skew_ms = 1;
	if (!auth_file)
		forget_environment();
	if (reference_parse_source(text, &spec, &err) < 0 ||
	    http_source_open_tuned(&o, &spec, &t, &r->source, &err) < 0) {
		fprintf(stderr, "%s: %s\n", text, err.text);
		abort();
	}
	call_init(&r->call, clock_ms() + 20000);
}

void rig_close(struct rig *r)
{
	source_free(r->source);
	server_stop(r->server);
	call_release(&r->call);
}
