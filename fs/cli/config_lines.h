/* SPDX-License-Identifier: Apache-2.0 */
/* config_lines — a configuration file, cut into its lines of "option = value".
 * Layer: fs/cli; a leaf without I/O, and fuzzed: what an option or a value
 * means is somebody else's (fs/cli/config.h).
 *
 *	# a comment, also after a value: a '#' that follows a blank
 *	cache = /srv/cache
 *	offline                  an option alone
 *	cache = "/srv/a # b"     a '"' is at both ends of a value, or at neither
 *
 * Lines without an option are passed over. Errors are -EINVAL with what is
 * wrong; `number` is that of the line then too.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"

struct config_lines {
	char *rest, *end; /* borrowed text that is written to, and its NUL */
	unsigned number;  /* of the line that was read last; from 1 */
	char *key;        /* never empty */
	char *value;      /* NULL: an option alone. May be empty */
};

/* text[len] is a NUL. */
void config_lines_init(struct config_lines *l, char *text, size_t len);
/* 1: key and value are set; 0: that was all. */
NODISCARD int config_lines_next(struct config_lines *l, struct err *err);
