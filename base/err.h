/* SPDX-License-Identifier: Apache-2.0 */
/* err — what went wrong, in words. Layer: base/; includes only libc.
 *
 * Every function that can fail returns 0 or more, or -errno. Those whose
 * failure a person may have to understand also take a last `struct err *err`,
 * which the caller keeps on its stack; NULL means nobody wants the words.
 *
 * The text is set once, where the cause is known (err_set), and given context
 * on the way up (err_wrap: "context: text"). Callers propagate; only the
 * program's edge (fs/) logs it. On success it is untouched.
 *
 * A text is one line of printable characters: control characters of what a
 * registry said become '?'. It is cut at ERR_TEXT_MAX - 1 bytes. It must
 * never hold a secret, nor the query of a URL.
 */
#pragma once

#include "base/macros.h"

#define ERR_TEXT_MAX 512

struct err {
	char text[ERR_TEXT_MAX];
};

/* Both return `code`, so that a failure is one line:
 *	return err_set(err, -EPROTO, "%s: no digest in the reply", host);
 */
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF(3, 4);
int err_wrap(struct err *err, int code, const char *fmt, ...) PRINTF(3, 4);

/* err_set with ": " and strerror(-code) after the text. */
int err_errno(struct err *err, int code, const char *fmt, ...) PRINTF(3, 4);
