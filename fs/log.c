/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/lock.h"
#include "fs/throttle.h"

/* Every byte of the text doubled by JSON's escapes, and the rest of the line. */
#define LINE_MAX_BYTES (2 * ERR_TEXT_MAX + 256)

static struct {
	enum log_level level;
	enum log_format format;
	int syslog_fd; /* -1: stderr */
} out = {.level = LOG_LEVEL_INFO, .format = LOG_FORMAT_TEXT, .syslog_fd = -1};

static pthread_once_t failures_once = PTHREAD_ONCE_INIT;
static struct lock failures_lock; /* a leaf in the lock order */
static struct throttle failures;  /* guarded by failures_lock */

static const struct {
	const char *name;
	int priority; /* of syslog */
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", LOG_ERR},
    [LOG_LEVEL_WARNING] = {"warning", LOG_WARNING},
    [LOG_LEVEL_INFO] = {"info", LOG_INFO},
    [LOG_LEVEL_DEBUG] = {"debug", LOG_DEBUG},
};

void log_open(enum log_level level, enum log_format format, bool to_syslog)
{
	out.level = level;
	out.format = format;
	if (to_syslog && out.syslog_fd < 0)
		out.syslog_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

int log_level_parse(const char *s, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		if (strcmp(s, levels[i].name) == 0) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

static size_t escape_json(const char *s, char *to)
{
	char *p = to;
	for (; *s != '\0'; s++) {
		if (*s == '"' || *s == '\\')
			*p++ = '\\';
		*p++ = *s;
	}
	*p = '\0';
	return (size_t)(p - to);
}

/* The text holds no control character: err_set sees to that. */
static int format_line(enum log_level level, const char *component, const struct err *text,
		       char line[LINE_MAX_BYTES])
{
	if (out.format == LOG_FORMAT_TEXT)
		return snprintf(line, LINE_MAX_BYTES, "%s %s: %s", levels[level].name, component,
				text->text);
	char escaped[2 * ERR_TEXT_MAX];
	escape_json(text->text, escaped);
	int64_t now_ms = clock_wall_ms();
	time_t now = (time_t)(now_ms / 1000);
	struct tm tm;
	char stamp[32] = "";
	if (gmtime_r(&now, &tm) != NULL)
		strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	return snprintf(line, LINE_MAX_BYTES,
			"{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"component\":\"%s\","
			"\"message\":\"%s\"}",
			stamp, (int)(now_ms % 1000), levels[level].name, component, escaped);
}

/* Our own datagram: syslog(3) waits for a daemon that does not read. */
static void write_syslog(enum log_level level, const char *line)
{
	char packet[LINE_MAX_BYTES + 64];
	time_t now = time(NULL);
	struct tm tm;
	char stamp[32] = "";
	if (localtime_r(&now, &tm) != NULL)
		strftime(stamp, sizeof(stamp), "%b %e %H:%M:%S", &tm);
	int n = snprintf(packet, sizeof(packet), "<%d>%s wasmocifs[%d]: %s",
			 LOG_DAEMON | levels[level].priority, stamp, (int)getpid(), line);
	static const struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
	(void)sendto(out.syslog_fd, packet, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL,
		     (const struct sockaddr *)&to, sizeof(to));
}

/* A pipe that polls as writable takes a line whole (PIPE_BUF). */
static void write_stderr(char *line, int len)
{
	struct pollfd pfd = {.fd = STDERR_FILENO, .events = POLLOUT};
	if (poll(&pfd, 1, 0) != 1 || (pfd.revents & POLLOUT) == 0)
		return;
	line[len] = '\n';
	ssize_t n = write(STDERR_FILENO, line, (size_t)len + 1);
	(void)n;
}

static void put(enum log_level level, const char *component, const struct err *text)
{
	char line[LINE_MAX_BYTES];
	int len = format_line(level, component, text, line);
	if (len < 0)
		return;
	if (len > LINE_MAX_BYTES - 1)
		len = LINE_MAX_BYTES - 1;
	if (out.syslog_fd >= 0)
		write_syslog(level, line);
	else
		write_stderr(line, len);
}

static void format_text(struct err *text, const char *fmt, va_list args) PRINTF(2, 0);
static void format_text(struct err *text, const char *fmt, va_list args)
{
	char raw[ERR_TEXT_MAX];
	if (vsnprintf(raw, sizeof(raw), fmt, args) < 0)
		raw[0] = '\0';
	(void)err_set(text, 0, "%s", raw);
}

static void log_at(enum log_level level, const char *component, const char *fmt, va_list args)
    PRINTF(3, 0);
static void log_at(enum log_level level, const char *component, const char *fmt, va_list args)
{
	if (level > out.level)
		return;
	int saved = errno;
	struct err text;
	format_text(&text, fmt, args);
	put(level, component, &text);
	errno = saved;
}

void log_error(const char *component, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	log_at(LOG_LEVEL_ERROR, component, fmt, args);
	va_end(args);
}

void log_warning(const char *component, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	log_at(LOG_LEVEL_WARNING, component, fmt, args);
	va_end(args);
}

void log_info(const char *component, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	log_at(LOG_LEVEL_INFO, component, fmt, args);
	va_end(args);
}

void log_debug(const char *component, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	log_at(LOG_LEVEL_DEBUG, component, fmt, args);
	va_end(args);
}

static void failures_init(void)
{
	lock_init(&failures_lock);
}

static void put_failure(const char *component, const struct err *text, uint64_t times)
{
	struct err counted = *text;
	if (times > 1)
		(void)err_set(&counted, 0, "(%" PRIu64 " times in a minute) %s", times, text->text);
	put(LOG_LEVEL_WARNING, component, &counted);
}

void log_failure(const char *component, const char *key, const char *fmt, ...)
{
	if (out.level < LOG_LEVEL_WARNING)
		return;
	int saved = errno;
	struct err text;
	va_list args;
	va_start(args, fmt);
	format_text(&text, fmt, args);
	va_end(args);

	uint64_t held = 0;
	int64_t now_ms = clock_ms();
	(void)pthread_once(&failures_once, failures_init);
	lock_take(&failures_lock);
	bool pass = throttle_pass(&failures, component, key, &text, now_ms, &held);
	lock_drop(&failures_lock);
	if (pass)
		put_failure(component, &text, held + 1);
	errno = saved;
}

void log_tick(void)
{
	struct throttle_entry due;
	bool more;
	(void)pthread_once(&failures_once, failures_init);
	do {
		int64_t now_ms = clock_ms();
		lock_take(&failures_lock);
		more = throttle_due(&failures, now_ms, &due);
		lock_drop(&failures_lock);
		if (more)
			put_failure(due.component, &due.text, due.held);
	} while (more);
}
