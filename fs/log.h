/* SPDX-License-Identifier: Apache-2.0 */
/* log — the one place that writes log lines. Layer: fs/ only; libraries below
 * return errors instead. One event is one line: "level component: message".
 * To stderr in the foreground, else to syslog; as text or as one JSON object a
 * line. The same failure of a host is one line, then a count per minute
 * (log_failure). Never a secret: texts come from struct err, which holds none.
 *
 * A line that cannot be written at once is lost: a full pipe or a stuck syslog
 * daemon must not stop a file system. A line is cut at ERR_TEXT_MAX bytes.
 *
 * Threads: any; log_open before there are any. Before log_open: stderr, text,
 * level info. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

void log_open(enum log_level level, enum log_format format, bool to_syslog);
NODISCARD int log_level_parse(const char *s, enum log_level *ret); /* -EINVAL */

void log_error(const char *component, const char *fmt, ...) PRINTF(2, 3);
void log_warning(const char *component, const char *fmt, ...) PRINTF(2, 3);
void log_info(const char *component, const char *fmt, ...) PRINTF(2, 3);
void log_debug(const char *component, const char *fmt, ...) PRINTF(2, 3);

/* A failure that may come a thousand times: `key` (host and errno) is logged at
 * once, then at most once a minute with how often it came. */
void log_failure(const char *component, const char *key, const char *fmt, ...) PRINTF(3, 4);
/* Once a minute or so: says what log_failure held back and nothing has said since. */
void log_tick(void);
